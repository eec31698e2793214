from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError
from phonotune.physics.phonon.cells import check_born, resolve_primitive, to_phonopy
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges
from tests.physics.conftest import HARMONIC

FACES = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
"""Primitive vectors of a face-centred cube."""


@pytest.fixture
def primitive() -> Structure:
    lattice = Lattice(np.array(FACES) @ (5.6 * np.eye(3)))
    return Structure(lattice, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def tensors(*charges: float) -> np.ndarray:
    return np.array([c * np.eye(3) for c in charges])


def test_a_primitive_matrix_given_is_the_one_used(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    found = analyse_forces(
        plan := plan_displacements(rocksalt, small_settings), HARMONIC(plan.structures), source
    )
    skewed = ((0.5, 0.5, 0.0), (0.0, 0.5, 0.5), (0.0, 0.5, -0.5))
    settings = small_settings.model_copy(update={"primitive_matrix": skewed[::-1]})
    plan = plan_displacements(rocksalt, settings)
    given = analyse_forces(plan, HARMONIC(plan.structures), source)
    assert given.primitive_matrix == skewed[::-1]
    assert given.primitive_matrix != found.primitive_matrix
    assert given.highest_frequency == pytest.approx(found.highest_frequency, abs=1e-4)


def test_thirds_are_taken_to_full_precision() -> None:
    crystal = Structure(
        Lattice.hexagonal(4.0, 9.0),
        ["Cu"] * 3,
        [[0, 0, 0], [2 / 3, 1 / 3, 1 / 3], [1 / 3, 2 / 3, 2 / 3]],
    )
    rows = ((0.667, 0.333, 0.333), (-0.333, 0.333, 0.333), (-0.333, -0.667, 0.333))
    found = np.array(resolve_primitive(crystal, rows, 1e-5))
    np.testing.assert_allclose(3 * found, np.rint(3 * np.array(rows)), atol=1e-10)


@pytest.mark.parametrize(
    "rows",
    [
        ((0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)),  # halves the cube: Na onto Cl
        ((0.0, 0.5, 0.4), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),  # no fraction of the cell
        ((0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)),  # left-handed
        ((0.5, 0.5, 0.0), (0.5, 0.5, 0.0), (0.0, 0.5, 0.5)),  # flat
        ((2.0, 0, 0), (0, 1, 0), (0, 0, 1)),  # larger than the cell
    ],
)
def test_a_primitive_matrix_that_does_not_fit_is_refused_before_anything_is_built(
    rocksalt: Structure, small_settings: PhononSettings, rows: tuple
) -> None:
    settings = small_settings.model_copy(update={"primitive_matrix": rows})
    with pytest.raises(InputError, match="does not fit NaCl: its rows"):
        plan_displacements(rocksalt, settings)


def test_charges_of_the_crystal_pass_unchanged(primitive: Structure) -> None:
    born = BornCharges(charges=tensors(1.087, -1.0867), dielectric=2.4 * np.eye(3))
    check_born(born, to_phonopy(primitive), 1e-5)
    assert born.charges[0][0][0] == 1.087


@pytest.mark.parametrize(
    ("charges", "dielectric", "words"),
    [
        (tensors(1.1, -1.1, 0.0), np.eye(3), "3 atoms do not fit a primitive cell of 2"),
        (np.array([np.diag([1.1, 1.1, 2.0]), -np.diag([1.1, 1.1, 2.0])]), np.eye(3), "0.60 e"),
        (tensors(2.0, -1.1), np.eye(3), "neutrality by 0.45 e"),
        (tensors(1.1, -1.1), np.diag([2.0, 2.0, 3.0]), "off by 29 %"),
        (tensors(1.1, -1.1), np.diag([-2.0, -2.0, -2.0]), "dielectric tensor is off"),
    ],
)
def test_charges_of_another_crystal_are_refused_before_anything_is_computed(
    rocksalt: Structure,
    small_settings: PhononSettings,
    charges: np.ndarray,
    dielectric: np.ndarray,
    words: str,
) -> None:
    born = BornCharges(charges=charges, dielectric=dielectric)
    with pytest.raises(InputError, match=words):
        plan_displacements(rocksalt, small_settings, born)


def test_charges_follow_the_atoms_that_symmetry_exchanges(small_settings: PhononSettings) -> None:
    """Perovskite oxygens: each has its own axis of large charge; turned ones are another crystal's."""
    cell = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(4.0), ["Ba", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
    )
    along = [np.argmin(np.abs(site.frac_coords - 0.5 * np.ones(3)) < 0.1) for site in cell[2:]]
    oxygens = [np.diag(np.where(np.arange(3) == axis, -5.7, -2.1)) for axis in along]
    metals = list(tensors(2.7, 7.2))
    right = BornCharges(charges=np.array(metals + oxygens), dielectric=6 * np.eye(3))
    check_born(right, to_phonopy(cell), 1e-5)
    turned = BornCharges(
        charges=np.array(metals + oxygens[1:] + oxygens[:1]), dielectric=6 * np.eye(3)
    )
    with pytest.raises(InputError, match="break its symmetry"):
        check_born(turned, to_phonopy(cell), 1e-5)


def test_born_charges_are_nested_numbers_of_the_right_shape() -> None:
    born = BornCharges(charges=tensors(1.0, -1.0), dielectric=np.eye(3))
    assert BornCharges.model_validate(born.model_dump()) == born
    with pytest.raises(ValidationError):
        BornCharges(charges=np.eye(3), dielectric=np.eye(3))
    with pytest.raises(ValidationError):
        BornCharges(charges=np.full((1, 3, 3), np.nan), dielectric=np.eye(3))
