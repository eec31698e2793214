"""Anharmonic forces of bonds: nothing linear, symmetric, and the ones that a stiffer bond makes."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.physics.residual.bonds import bond_forces

CELL = Structure(
    Lattice.orthorhombic(4.1, 4.6, 5.2),
    ["Na", "Cl", "Cl"],
    [[0, 0, 0], [0.5, 0.4, 0.5], [0, 0.5, 0]],
)
LENGTHS = (3.0, 0.5)


def moves(length: float) -> np.ndarray:
    return length * np.random.default_rng(0).normal(size=(1, 3, 3))


def test_nothing_is_linear_in_the_displacements() -> None:
    large, small = (bond_forces(CELL, moves(a), *LENGTHS) for a in (1e-3, 1e-4))
    assert np.abs(large).max() > 0.0
    np.testing.assert_allclose(small, 1e-2 * large, atol=1e-2 * 1e-2 * np.abs(large).max())


def test_opposite_displacements_have_the_same_forces() -> None:
    """Of second order and nothing else, so that mirrored frames cancel them."""
    there, back = (bond_forces(CELL, sign * moves(0.3), *LENGTHS) for sign in (1, -1))
    np.testing.assert_array_equal(there, back)


def test_the_forces_of_every_term_sum_to_zero() -> None:
    found = bond_forces(CELL, moves(0.1), *LENGTHS)
    np.testing.assert_allclose(found.sum(axis=1), 0.0, atol=1e-12)


def test_a_shift_of_all_atoms_makes_no_force() -> None:
    shift = np.ones((1, 3, 3)) * [0.1, -0.2, 0.3]
    np.testing.assert_allclose(bond_forces(CELL, shift, *LENGTHS), 0.0, atol=1e-12)


def test_bonds_of_one_kind_have_equal_elements_and_lengths() -> None:
    """In rock salt of 64 atoms: Na-Cl at a/2 and a·√3/2, Na-Na and Cl-Cl at a/√2."""
    cell = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    cell.make_supercell(2)
    found = bond_forces(cell, np.zeros((1, 64, 3)), *LENGTHS)
    assert found.shape == (1, 64, 3, 2 * 4)


def test_a_crystal_without_near_pairs_has_no_bonds() -> None:
    far = Structure(Lattice.cubic(9.0), ["Xe"], [[0, 0, 0]])
    assert bond_forces(far, np.zeros((2, 1, 3)), *LENGTHS).shape == (2, 1, 3, 0)


def test_a_stiffer_bond_is_found() -> None:
    """Tension and cubic term of the bonds Cl-Cl, 3.34 Å, are a combination of the terms, up to third order."""

    def stiff(displacements: np.ndarray) -> np.ndarray:
        forces = np.zeros_like(displacements)
        first, second, images, rest = CELL.get_neighbor_list(5.0)
        for i, j, image, r0 in zip(first, second, images, rest, strict=True):
            if abs(r0 - 3.343) > 1e-3:
                continue
            still = CELL.cart_coords[j] + image @ CELL.lattice.matrix - CELL.cart_coords[i]
            apart = displacements[:, j] - displacements[:, i]
            r = np.linalg.norm(still + apart, axis=1, keepdims=True)
            along = still / r0
            linear = along + (apart - (apart @ along)[:, None] * along) / r0
            unit = (still + apart) / r
            forces[:, i] += 7.0 * (r - r0) ** 2 * unit + 3.0 * (unit - linear)
        return forces

    drawn = np.random.default_rng(1).normal(size=(40, 3, 3))
    missed = []
    for length in (0.01, 0.001):
        terms = bond_forces(CELL, length * drawn, *LENGTHS)
        columns = terms.reshape(-1, terms.shape[-1])
        wanted = stiff(length * drawn).ravel()
        found = columns @ np.linalg.lstsq(columns, wanted, rcond=None)[0]
        missed.append(np.abs(found - wanted).max() / np.abs(wanted).max())
    assert missed[1] < 0.01
    assert missed[0] == pytest.approx(10.0 * missed[1], rel=0.1)
