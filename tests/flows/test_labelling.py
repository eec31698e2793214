"""Frames labelled here one by one, with EMT, by the jobs that a flow would run."""

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

from phonotune.flows.labelling import label_frames
from phonotune.jobs.label import LabelMaker
from phonotune.schemas.dataset import Frame


def crystal(*species: str) -> Structure:
    rng = np.random.default_rng(len(species))
    positions = rng.normal(scale=0.01, size=(len(species), 3))
    positions += np.arange(len(species))[:, None] * 0.5
    return Structure(Lattice.cubic(3.4), species, positions)


@pytest.fixture
def maker() -> LabelMaker:
    return LabelMaker(labeller="emt")


def test_labels_are_the_calculator_s_and_name_who_gave_them(
    maker: LabelMaker, tmp_path: Path
) -> None:
    asked = Frame(crystal("Cu", "Au"), energy=99.0, group="g", origin="o", magmoms=np.ones(2))
    (result,) = label_frames([asked], maker, tmp_path)
    frame = result.frame
    assert frame is not None
    atoms = asked.structure.to_ase_atoms(msonable=False)
    atoms.calc = EMT()
    assert frame.energy == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-12)
    assert (frame.group, frame.origin, frame.labeller) == ("g", "o", "emt")
    assert frame.protocol == maker.protocol()
    assert frame.magmoms is None


def test_a_frame_that_fails_tells_why_and_does_not_stop_the_others(
    maker: LabelMaker, tmp_path: Path
) -> None:
    frames = [Frame(crystal("Cu")), Frame(crystal("Na", "Cl")), Frame(crystal("Au"))]
    started: list[int] = []
    results = list(label_frames(frames, maker, tmp_path, started.append))
    assert [result.frame is not None for result in results] == [True, False, True]
    assert "No EMT-potential for Na" in results[1].reason
    assert results[1].asked is frames[1]
    assert started == [0, 1, 2]


def test_frames_come_as_they_are_finished(maker: LabelMaker, tmp_path: Path) -> None:
    started: list[int] = []
    results = label_frames([Frame(crystal("Cu"))] * 3, maker, tmp_path, started.append)
    next(results)
    assert started == [0]


def test_too_large_forces_are_no_label(tmp_path: Path) -> None:
    maker = LabelMaker(labeller="emt", max_force=1e-6)
    (result,) = label_frames([Frame(crystal("Cu", "Au"))], maker, tmp_path)
    assert result.frame is None
    assert "above the limit" in result.reason
