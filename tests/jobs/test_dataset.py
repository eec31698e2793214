"""DatasetMaker: the split, why it is so, the protocol of every frame, versions."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.data.isolated import IsolatedAtoms
from phonotune.errors import FramesError
from phonotune.jobs.dataset import DatasetMaker
from phonotune.schemas.dataset import DatasetDocument, Frame, LabelledSet, pack_frames


def labels(groups, protocol="p1", seed=0):
    """Return labelled frames, one of each group named."""
    rng = np.random.default_rng(seed)
    cell = Lattice.cubic(3.4)
    frames = [
        Frame(
            Structure(cell, ["Cs", "Cl"], [[0, 0, 0], 0.5 + rng.normal(scale=0.01, size=3)]),
            energy=-6.0,
            forces=rng.normal(size=(2, 3)),
            group=group,
        )
        for group in groups
    ]
    return LabelledSet(
        labeller="vasp",
        protocol=protocol,
        requested=len(frames),
        rejected=[],
        data=pack_frames(frames),
    )


def make(*arguments, **settings):
    return DatasetMaker.make.original(DatasetMaker(**settings), *arguments)


def test_the_unchanged_volume_validates_and_every_frame_names_its_protocol():
    dataset = make(labels(["volume -5.0 %", "volume +0.0 %", "volume +5.0 %"]))
    assert [frame.group for frame in dataset.valid_frames()] == ["volume +0.0 %"]
    assert {(f.labeller, f.protocol) for f in dataset.frames()} == {("vasp", "p1")}
    assert dataset.split.how == "named"


def test_groups_that_were_drawn_for_want_of_the_unchanged_volume_are_recorded_as_such():
    dataset = make(labels(["volume -5.0 %", "volume +2.5 %", "volume +5.0 %"]), seed=3)
    assert dataset.split.how == "drawn"
    assert "no labelled frame belongs to 'volume +0.0 %'" in dataset.split.reason
    assert "seed 3" in dataset.split.reason
    assert dataset.split.valid_fraction == 0.2
    assert dataset.split.valid_groups == 1


def test_more_labels_make_a_version_of_the_parent():
    parent = make(labels(["a", "volume +0.0 %"]))
    new = make(labels(["b"], seed=1), parent)
    assert (new.version, new.parent_hash) == (2, parent.dataset_hash)
    assert len(new.frames()) == 3


def test_labels_of_another_protocol_need_to_be_allowed():
    parent = make(labels(["a", "volume +0.0 %"]))
    other = labels(["b"], protocol="p2", seed=1)
    with pytest.raises(FramesError, match=r"'vasp p1'.*'vasp p2'"):
        make(other, parent)
    assert make(other, parent, allow_mixed=True).mixed


def test_isolated_atoms_among_the_labels_are_kept_beside_the_frames():
    given = labels(["a", "volume +0.0 %"])
    energies = {"Cs": -0.1, "Cl": -0.25}
    frames = [*IsolatedAtoms(energies).frames(), *given.frames()]
    dataset = make(given.model_copy(update={"data": pack_frames(frames)}))
    assert dataset.isolated_atoms == energies
    assert [len(frame.structure) for frame in dataset.frames()] == [2, 2]
    again = DatasetDocument.model_validate(dataset.model_dump())
    assert again.isolated_atoms == energies
    new = make(labels(["b"], seed=1), dataset)
    assert new.isolated_atoms == energies
