"""The first frames of a dataset: nested, from every group in turn, what validates untouched."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.data.assemble import assemble
from phonotune.data.subset import first_frames
from phonotune.errors import FramesError
from phonotune.schemas.dataset import Frame

GROUPS = ["valid", "valid", "volume +5.0 %", "volume +5.0 %", "volume -5.0 %", "small rattle"]


@pytest.fixture
def dataset():
    frames = []
    for number, group in enumerate(GROUPS):
        structure = Structure(Lattice.cubic(4.0 + 0.1 * number), ["Al"], [[0, 0, 0]])
        forces = np.full((1, 3), 0.1 * number)
        frames.append(Frame(structure=structure, energy=1.0, forces=forces, group=group))
    return assemble(frames, labeller="made up", valid_groups=["valid"])


def volumes(frames):
    return [round(frame.structure.lattice.a, 1) for frame in frames]


def test_groups_take_turns_and_small_rattles_come_first(dataset):
    taken = [volumes(first_frames(dataset, n).train_frames()) for n in (1, 2, 3, 4)]
    assert taken == [[4.5], [4.2, 4.5], [4.2, 4.4, 4.5], [4.2, 4.3, 4.4, 4.5]]


def test_what_validates_stays_and_the_split_says_how_many_train(dataset):
    small = first_frames(dataset, 2)
    assert volumes(small.valid_frames()) == volumes(dataset.valid_frames())
    assert small.split.reason == "the first 2 of 4 training frames"
    assert small.parent_hash == dataset.dataset_hash


def test_all_frames_are_the_same_training_data_as_the_dataset(dataset):
    assert first_frames(dataset, 4).dataset_hash == dataset.dataset_hash
    assert first_frames(dataset, 9).split.reason.endswith("training frames; 9 were asked for")


def test_no_frames_are_refused(dataset):
    with pytest.raises(FramesError, match="at least 1"):
        first_frames(dataset, 0)
