from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.data.checks import check_frame, check_same_cell
from phonotune.errors import FramesError
from phonotune.physics.supercell import as_matrix, make_supercell
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]


def test_a_sound_frame_passes_with_and_without_labels(make_frame: MakeFrame) -> None:
    check_frame(make_frame(), "here")
    check_frame(make_frame(energy=None, forces=None, stress=None), "here")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": np.inf}, "energy is inf"),
        ({"forces": np.zeros((7, 3))}, r"shape \(7, 3\); \(8, 3\)"),
        ({"forces": np.full((8, 3), np.nan)}, "24 of 24 numbers"),
        ({"stress": np.zeros(6)}, r"shape \(6,\); \(3, 3\)"),
        ({"stress": np.full((3, 3), np.inf)}, "stress hold NaN"),
        ({"stress": np.arange(9.0).reshape(3, 3)}, "not symmetric"),
    ],
)
def test_a_bad_label_is_named_with_its_place(
    make_frame: MakeFrame, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(FramesError, match=f"here: .*{message}"):
        check_frame(make_frame(**changes), "here")


def _supercell_frame(structure: Structure, matrix: object) -> Frame:
    displaced = make_supercell(structure, as_matrix(matrix))
    displaced.perturb(0.03, seed=1)
    return Frame(displaced, origin="run 1")


@pytest.mark.parametrize("matrix", [(2, 2, 2), (0, 1, 1, 1, 0, 1, 1, 1, 0), (1, 1, 2)])
def test_displaced_supercells_have_the_cell_asked_for(
    rocksalt: Structure, matrix: tuple[int, ...]
) -> None:
    frames = [_supercell_frame(rocksalt, matrix)] * 2
    check_same_cell(frames, rocksalt, as_matrix(matrix))


def test_the_order_of_atoms_does_not_matter(rocksalt: Structure) -> None:
    frame = _supercell_frame(rocksalt, (2, 2, 2))
    shuffled = Structure.from_sites(frame.structure[::-1])
    check_same_cell([replace(frame, structure=shuffled)], rocksalt, as_matrix((2, 2, 2)))


def test_frames_of_another_size_are_refused(rocksalt: Structure) -> None:
    frames = [_supercell_frame(rocksalt, (2, 2, 2)), _supercell_frame(rocksalt, (2, 2, 1))]
    with pytest.raises(FramesError, match=r"Frame 2 of 2 \(run 1\) holds Na16 Cl16"):
        check_same_cell(frames, rocksalt, as_matrix((2, 2, 2)))


def test_strained_frames_are_refused(rocksalt: Structure) -> None:
    frame = _supercell_frame(rocksalt, (2, 2, 2))
    strained = frame.structure.copy()
    strained.apply_strain(0.01)
    with pytest.raises(FramesError, match=r"differ by up to 0\.114 Å"):
        check_same_cell([replace(frame, structure=strained)], rocksalt, as_matrix((2, 2, 2)))
