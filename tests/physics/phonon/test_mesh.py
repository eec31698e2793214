from __future__ import annotations

import numpy as np
import pytest
from phonopy.phonon.spectrum import TetrahedronDOSAccumulator
from pymatgen.core import Lattice, Structure

from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.document import phonopy_of
from phonotune.physics.phonon.mesh import (
    MOST_DOUBLINGS,
    converged_mesh,
    densities_of_states,
    mesh_numbers,
)
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import as_matrix
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument
from tests.physics.conftest import emt


def mean_frequency(phonon, numbers) -> float:
    """The zone's mean frequency by phonopy over all points, no symmetry."""
    mesh = phonon.run_mesh(list(numbers), is_gamma_center=True, is_mesh_symmetry=False)
    return float(mesh.frequencies.mean())


@pytest.fixture(scope="module")
def alloy_phonons(small_settings: PhononSettings, source: Source) -> PhononDocument:
    """Cu3Au: two elements, three equivalent atoms of one of them."""
    sites = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    alloy = Structure(Lattice.cubic(3.75), ["Au", "Cu", "Cu", "Cu"], sites)
    plan = plan_displacements(alloy, small_settings)
    return analyse_forces(plan, emt()(plan.structures), source)


def test_a_mesh_that_has_settled_is_not_doubled(copper_phonons: PhononDocument) -> None:
    phonon = phonopy_of(copper_phonons)
    first = mesh_numbers(phonon, 20.0)
    found = converged_mesh(phonon, first, 1.0)
    assert found.numbers == first


def test_the_error_is_the_change_from_half_the_mesh(copper_phonons: PhononDocument) -> None:
    phonon = phonopy_of(copper_phonons)
    found = converged_mesh(phonon, (8, 8, 8), 1.0)
    change = abs(mean_frequency(phonon, (8, 8, 8)) - mean_frequency(phonon, (4, 4, 4)))
    assert found.error == pytest.approx(change, rel=1e-6)


def test_the_mesh_doubles_until_the_tolerance_is_met(copper_phonons: PhononDocument) -> None:
    phonon = phonopy_of(copper_phonons)
    coarse = converged_mesh(phonon, (4, 4, 4), np.inf).error
    found = converged_mesh(phonon, (4, 4, 4), coarse / 2)
    assert found.numbers == (8, 8, 8)
    assert found.error <= coarse / 2
    assert len(found.arrays["mesh_q"]) > 10


def test_a_tolerance_out_of_reach_ends_with_the_error_stated(
    copper_phonons: PhononDocument,
) -> None:
    found = converged_mesh(phonopy_of(copper_phonons), (2, 2, 2), 1e-12)
    assert found.numbers == (2 * 2**MOST_DOUBLINGS,) * 3
    assert found.error > 1e-12


def test_the_settings_reach_the_mesh_of_the_document(
    copper: Structure, small_settings: PhononSettings, source: Source
) -> None:
    plan = plan_displacements(
        copper, small_settings.model_copy(update={"mesh_density": 10.0, "mesh_tolerance": 0.01})
    )
    document = analyse_forces(plan, emt()(plan.structures), source)
    assert document.mesh_error is not None
    assert document.mesh_error <= 0.01
    assert document.mesh > mesh_numbers(phonopy_of(document), 10.0)
    assert document.settings["mesh_tolerance"] == 0.01


def test_the_dos_is_that_of_phonopy(alloy_phonons: PhononDocument) -> None:
    phonon = phonopy_of(alloy_phonons)
    arrays = alloy_phonons.data.arrays()
    grid = arrays["dos_frequencies"]
    phonon.run_mesh(list(alloy_phonons.mesh), is_gamma_center=True)
    dos = phonon.run_total_dos(
        freq_min=grid[0], freq_max=grid[-1], freq_pitch=(grid[-1] - grid[0]) / (len(grid) - 1)
    )
    np.testing.assert_allclose(dos.frequency_points[: len(grid)], grid, atol=1e-9)
    np.testing.assert_allclose(arrays["dos_total"], dos.dos[: len(grid)], atol=1e-6)


def test_the_projected_dos_is_the_weighted_dos_of_phonopy(alloy_phonons: PhononDocument) -> None:
    phonon = phonopy_of(alloy_phonons)
    mesh = phonon.run_mesh(list(alloy_phonons.mesh), is_gamma_center=True, with_eigenvectors=True)
    grid, _, projected = densities_of_states(mesh, phonon.primitive_symmetry)
    gold = (np.abs(mesh.eigenvectors[:, :3]) ** 2).sum(axis=1)
    theirs = TetrahedronDOSAccumulator(
        mesh.frequencies,
        mesh.bz_grid,
        mode_property=gold[None, :, :, None],
        ir_grid_points=mesh.ir_grid_points,
        ir_grid_weights=mesh.weights,
        ir_grid_map=mesh.grid_mapping_table,
        sampling_points=grid,
    ).result.density[0, :, 0]
    np.testing.assert_allclose(projected[0], theirs, atol=1e-9)


def test_irreducible_points_give_the_projected_dos_of_all_points(
    alloy_phonons: PhononDocument,
) -> None:
    phonon = phonopy_of(alloy_phonons)
    mesh = phonon.run_mesh([12] * 3, is_gamma_center=True, with_eigenvectors=True)
    grid, _, projected = densities_of_states(mesh, phonon.primitive_symmetry)
    phonon.run_mesh([12] * 3, is_gamma_center=True, is_mesh_symmetry=False, with_eigenvectors=True)
    step = grid[1] - grid[0]
    theirs = phonon.run_projected_dos(freq_min=grid[0], freq_max=grid[-1], freq_pitch=step)
    gap = np.abs(projected - theirs.projected_dos[:, : len(grid)]).sum(axis=1) * step
    assert gap.max() / 3 < 0.1  # of three modes an atom; phonopy's tetrahedra break the symmetry


def test_the_projected_dos_counts_three_modes_an_atom_and_sums_to_the_total(
    alloy_phonons: PhononDocument,
) -> None:
    arrays = alloy_phonons.data.arrays()
    assert arrays["dos_projected"].shape == (4, len(arrays["dos_frequencies"]))
    np.testing.assert_allclose(arrays["dos_projected"].sum(axis=0), arrays["dos_total"])
    areas = np.trapezoid(arrays["dos_projected"], arrays["dos_frequencies"])
    np.testing.assert_allclose(areas, 3.0, rtol=0.01)


def test_equivalent_atoms_have_equal_parts(alloy_phonons: PhononDocument) -> None:
    parts = alloy_phonons.data.arrays()["dos_projected"]
    np.testing.assert_array_equal(parts[1], parts[2])
    np.testing.assert_array_equal(parts[1], parts[3])
    assert np.abs(parts[0] - parts[1]).max() > 0.1


def test_the_dos_does_not_depend_on_how_many_points_are_held_at_a_time(
    alloy_phonons: PhononDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    phonon = phonopy_of(alloy_phonons)
    mesh = phonon.run_mesh([4, 4, 4], is_gamma_center=True, with_eigenvectors=True)
    whole = densities_of_states(mesh, phonon.primitive_symmetry)
    monkeypatch.setattr("phonotune.physics.phonon.mesh._DOS_CHUNK", 1)
    for one, other in zip(whole, densities_of_states(mesh, phonon.primitive_symmetry), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_atoms_in_another_order_have_the_same_phonons_and_their_own_parts(
    alloy_phonons: PhononDocument, small_settings: PhononSettings, source: Source
) -> None:
    alloy = alloy_phonons.unitcell
    other = Structure.from_sites([alloy[i] for i in (2, 0, 3, 1)])
    plan = plan_displacements(
        other, small_settings.model_copy(update={"supercell_matrix": as_matrix([2, 2, 2])})
    )
    document = analyse_forces(plan, emt()(plan.structures), source)
    ours, theirs = alloy_phonons.data.arrays(), document.data.arrays()
    np.testing.assert_allclose(ours["mesh_frequencies"], theirs["mesh_frequencies"], atol=1e-5)
    np.testing.assert_allclose(ours["dos_projected"][0], theirs["dos_projected"][1], atol=0.02)
