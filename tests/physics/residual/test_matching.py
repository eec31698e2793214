"""Which frames are frames of the undeformed supercell."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import FramesError
from phonotune.physics.residual.matching import ResidualSettings, match_frames, require_matches
from phonotune.schemas.dataset import Frame

SETTINGS = ResidualSettings()


@pytest.fixture
def supercell() -> Structure:
    cell = Structure(Lattice.tetragonal(3.0, 3.6), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.52]])
    return cell.make_supercell([2, 2, 2], in_place=False)


def rattled(
    supercell: Structure, amplitude: float = 0.02, seed: int = 0
) -> tuple[Frame, np.ndarray]:
    rng = np.random.default_rng(seed)
    moves = rng.normal(scale=amplitude, size=(len(supercell), 3))
    structure = Structure(
        supercell.lattice,
        supercell.species,
        supercell.cart_coords + moves,
        coords_are_cartesian=True,
    )
    return Frame(structure, forces=-2.0 * moves), moves


def test_displacements_and_forces_come_in_the_order_of_the_supercell(supercell: Structure) -> None:
    frame, moves = rattled(supercell)
    order = np.random.default_rng(1).permutation(len(supercell))
    shuffled = Frame(
        Structure.from_sites([frame.structure[int(i)] for i in order]), forces=frame.forces[order]
    )
    for given in (frame, shuffled):
        matched = match_frames(supercell, [given], SETTINGS)
        np.testing.assert_allclose(matched.displacements[0], moves, atol=1e-10)
        np.testing.assert_allclose(matched.forces[0], -2.0 * moves, atol=1e-10)
        assert matched.structures[0].species == supercell.species


def test_other_vectors_of_the_same_lattice_are_the_same_cell(supercell: Structure) -> None:
    frame, moves = rattled(supercell)
    turned = Structure(
        Lattice(np.array([[0, 1, 0], [-1, 0, 0], [1, 0, 1]]) @ supercell.lattice.matrix),
        frame.structure.species,
        frame.structure.cart_coords,
        coords_are_cartesian=True,
    )
    matched = match_frames(supercell, [Frame(turned, forces=frame.forces)], SETTINGS)
    np.testing.assert_allclose(matched.displacements[0], moves, atol=1e-10)


def strained(frame: Frame) -> Frame:
    structure = frame.structure.copy()
    structure.apply_strain(0.01)
    return Frame(structure, forces=frame.forces)


def swapped(frame: Frame) -> Frame:
    structure = frame.structure.copy()
    copper, gold = structure.indices_from_symbol("Cu")[0], structure.indices_from_symbol("Au")[0]
    structure[copper], structure[gold] = "Au", "Cu"
    return Frame(structure, forces=frame.forces)


def far(frame: Frame) -> Frame:
    structure = frame.structure.copy()
    structure.translate_sites([3], [0.9, 0, 0], frac_coords=False)
    return Frame(structure, forces=frame.forces)


def unlabelled(frame: Frame) -> Frame:
    return Frame(frame.structure, energy=-1.0)


def smaller(frame: Frame) -> Frame:
    cell = Structure(Lattice.tetragonal(3.0, 3.6), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.52]])
    return Frame(cell, forces=np.zeros((2, 3)))


@pytest.mark.parametrize("change", [strained, swapped, far, unlabelled, smaller])
def test_frames_of_anything_else_are_counted_and_left_out(
    supercell: Structure, change: object
) -> None:
    frame, _ = rattled(supercell)
    matched = match_frames(supercell, [change(frame), frame], SETTINGS)
    assert (len(matched), matched.n_others) == (1, 1)


def test_no_frame_of_the_supercell_is_refused_with_its_size(supercell: Structure) -> None:
    matched = match_frames(supercell, [smaller(rattled(supercell)[0])], SETTINGS)
    with pytest.raises(FramesError, match=r"None of 1 .*16 atoms, edges 6\.000, 6\.000 and 7\.200"):
        require_matches(matched, supercell)


def test_a_frame_in_which_nothing_moved_says_nothing_and_is_left_out(supercell: Structure) -> None:
    still = Frame(supercell, forces=np.zeros((len(supercell), 3)))
    moved, _ = rattled(supercell)
    matched = match_frames(supercell, [still, moved], SETTINGS)
    assert (len(matched), matched.n_others) == (1, 1)
    alone = match_frames(supercell, [still], SETTINGS)
    with pytest.raises(FramesError, match="is a displaced one"):
        require_matches(alone, supercell)
