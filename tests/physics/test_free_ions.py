from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.physics.symmetry import free_displacements, keep_symmetry

ROCKSALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
)
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
PYRITE = Structure.from_spacegroup(
    "Pa-3", Lattice.cubic(5.42), ["Fe", "S"], [[0, 0, 0], [0.385, 0.385, 0.385]]
)
WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
)
QUARTZ = Structure.from_spacegroup(
    "P3_221",
    Lattice.hexagonal(4.913, 5.405),
    ["Si", "O"],
    [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]],
)


@pytest.mark.parametrize(
    ("structure", "free"),
    [(ROCKSALT, 0), (PEROVSKITE, 0), (RUTILE, 1), (PYRITE, 1), (WURTZITE, 1), (QUARTZ, 4)],
    ids=["rocksalt", "perovskite", "rutile", "pyrite", "wurtzite", "quartz"],
)
def test_free_displacements_are_as_many_as_the_free_wyckoff_coordinates(
    structure: Structure, free: int
) -> None:
    """A polar axis gives one fewer: its origin is a translation."""
    basis = free_displacements(structure, 1e-3)
    assert basis.shape == (free, 3 * len(structure))
    np.testing.assert_allclose(basis @ basis.T, np.eye(free), atol=1e-12)


def test_a_free_displacement_keeps_the_space_group() -> None:
    move = free_displacements(RUTILE, 1e-3)[0].reshape(-1, 3)
    moved = RUTILE.copy()
    for site, shift in enumerate(0.05 * move):
        moved.translate_sites([site], shift, frac_coords=False)
    assert moved.get_space_group_info()[0] == "P4_2/mnm"


def test_what_breaks_the_symmetry_is_taken_off_a_relaxation() -> None:
    free = free_displacements(RUTILE, 1e-3)
    wanted = 0.03 * free[0].reshape(-1, 3)
    noise = np.random.default_rng(2).normal(scale=1e-3, size=wanted.shape)
    noise -= (free.T @ (free @ noise.ravel())).reshape(-1, 3)
    relaxed = Structure(
        RUTILE.lattice,
        RUTILE.species,
        RUTILE.cart_coords + wanted + noise,
        coords_are_cartesian=True,
    )
    kept = keep_symmetry(RUTILE, relaxed, free)
    np.testing.assert_allclose(kept.cart_coords, RUTILE.cart_coords + wanted, atol=1e-12)
