"""The independent force constants of a supercell, and the forces that symmetry allows at its sites."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest
from phonopy import Phonopy
from phonopy.harmonic.force_constants import compact_fc_to_full_fc
from pymatgen.core import Lattice, Structure

from phonotune.physics.phonon.cells import to_structure
from phonotune.physics.phonon.displacements import fit_force_constants, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.residual.basis import ForceConstantBasis, site_forces
from phonotune.physics.residual.ridge import least_squares
from phonotune.physics.supercell import as_matrix
from tests.physics.conftest import emt


@pytest.fixture(scope="module")
def phonon() -> Phonopy:
    """A polar crystal in a supercell that is not diagonal, with force constants of EMT."""
    polar = Structure(Lattice.tetragonal(2.9, 3.4), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.54]])
    settings = PhononSettings(supercell_matrix=as_matrix([2, 2, 0, -2, 2, 0, 0, 0, 1]))
    plan = plan_displacements(polar, settings)
    return fit_force_constants(plan, np.array([a.forces for a in emt()(plan.structures)]))


def basis_of(phonon: Phonopy) -> ForceConstantBasis:
    return ForceConstantBasis.find(
        to_structure(phonon.supercell), phonon.symmetry.symmetry_operations, 1e-5
    )


@pytest.mark.parametrize("length", [None, 2.0])
def test_forces_of_any_force_constants_give_them_back(
    phonon: Phonopy, length: float | None
) -> None:
    basis = basis_of(phonon) if length is None else basis_of(phonon).decaying(length)
    full = compact_fc_to_full_fc(phonon.primitive, np.array(phonon.force_constants))
    moves = np.random.default_rng(0).normal(scale=0.02, size=(12, len(full), 3))
    forces = -np.einsum("ijab,njb->nia", full, moves)
    found = basis.expand(
        least_squares(basis.design(moves), forces.ravel()), phonon.primitive.p2s_map
    )
    np.testing.assert_allclose(found, phonon.force_constants, atol=1e-8)


@pytest.mark.parametrize("length", [None, 2.0])
def test_any_coefficients_obey_the_sum_rule_and_index_symmetry(
    phonon: Phonopy, length: float | None
) -> None:
    basis = basis_of(phonon) if length is None else basis_of(phonon).decaying(length)
    coefficients = np.random.default_rng(1).normal(size=len(basis.distances))
    full = basis.expand(coefficients, range(basis.n_atoms))
    assert np.abs(full).max() > 0.01
    np.testing.assert_allclose(full.sum(axis=1), 0.0, atol=1e-10)
    np.testing.assert_allclose(full, np.transpose(full, (1, 0, 3, 2)), atol=1e-10)


def test_a_plain_fit_is_that_of_symfc_in_phonopy(phonon: Phonopy) -> None:
    rng = np.random.default_rng(2)
    moves = rng.normal(scale=0.02, size=(8, len(phonon.supercell), 3))
    forces = rng.normal(scale=0.1, size=moves.shape)
    own = copy(phonon)
    own.dataset = {"displacements": moves, "forces": forces}
    own.produce_force_constants(calculate_full_force_constants=False, fc_calculator="symfc")
    basis = basis_of(phonon)
    found = basis.expand(
        least_squares(basis.design(moves), forces.ravel()), phonon.primitive.p2s_map
    )
    np.testing.assert_allclose(found, own.force_constants, atol=1e-8)


def test_the_number_of_parameters_is_the_rank_of_many_forces(phonon: Phonopy) -> None:
    basis = basis_of(phonon)
    moves = np.random.default_rng(3).normal(size=(12, basis.n_atoms, 3))
    assert np.linalg.matrix_rank(basis.design(moves), tol=1e-8) == basis.n_parameters
    assert basis.decaying(1.0).n_parameters == basis.n_parameters


def test_equal_coefficients_fall_off_with_the_distance_of_the_atoms(phonon: Phonopy) -> None:
    basis, near = basis_of(phonon), basis_of(phonon).decaying(0.8)
    rng, sizes = np.random.default_rng(4), []
    distances = to_structure(phonon.supercell).distance_matrix[0]
    for each in (basis, near):
        drawn = [each.expand(rng.normal(size=len(each.distances)), [0])[0] for _ in range(40)]
        size = np.sqrt(np.mean(np.square(drawn), axis=(0, 2, 3)))
        sizes.append(
            size[distances > 4.0].mean() / size[(distances > 0) & (distances < 3.0)].mean()
        )
    assert sizes[1] < 0.4 * sizes[0]


def test_images_of_an_atom_differ_in_translation_alone(phonon: Phonopy) -> None:
    images = basis_of(phonon).images
    assert np.bincount(images).tolist() == [2, 2, 2, 2, 2, 2, 2, 2]


def test_a_polar_crystal_has_one_force_between_its_sublattices() -> None:
    cell = Structure(Lattice.tetragonal(2.9, 3.4), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.54]])
    settings = PhononSettings(supercell_matrix=as_matrix([1, 1, 1]))
    symmetry = plan_displacements(cell, settings).phonon.primitive_symmetry
    operations = symmetry.symmetry_operations
    found = site_forces(cell, operations["rotations"], operations["translations"])
    assert found.shape == (2, 3, 1)
    np.testing.assert_allclose(np.abs(found[:, 2, 0]), np.sqrt(0.5), atol=1e-10)
    np.testing.assert_allclose(found.sum(axis=0), 0.0, atol=1e-10)


def test_sites_fixed_by_symmetry_carry_no_force(rocksalt: Structure) -> None:
    primitive = rocksalt.get_primitive_structure()
    settings = PhononSettings(supercell_matrix=as_matrix([1, 1, 1]))
    operations = plan_displacements(
        primitive, settings
    ).phonon.primitive_symmetry.symmetry_operations
    found = site_forces(primitive, operations["rotations"], operations["translations"])
    assert found.shape == (2, 3, 0)
