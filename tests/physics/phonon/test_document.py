from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.document import born_of, on_mesh, phonopy_of
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges, PhononDocument
from tests.physics.conftest import HARMONIC, emt

GAS_CONSTANT = 8.314462618
"""J/K/mol."""

CHARGES = BornCharges(
    charges=np.array([np.eye(3), -np.eye(3)]), dielectric=2.5 * np.eye(3), factor=14.4
)


def test_phonons_on_another_mesh_are_those_computed_on_it(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    plan = plan_displacements(rocksalt, small_settings)
    answers = HARMONIC(plan.structures)
    coarse = analyse_forces(plan, answers, source)
    fine_plan = plan_displacements(
        rocksalt, small_settings.model_copy(update={"mesh_density": 30.0})
    )
    fine = analyse_forces(fine_plan, answers, source)
    assert coarse.mesh != fine.mesh
    moved = on_mesh(coarse, fine.mesh)
    ours, theirs = moved.data.arrays(), fine.data.arrays()
    assert set(ours) == set(theirs)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, atol=1e-8, err_msg=name)
    assert moved.thermal_300 == fine.thermal_300
    assert moved.mesh_error == pytest.approx(fine.mesh_error)
    assert moved.lowest_frequency == pytest.approx(fine.lowest_frequency)


def test_a_document_on_its_own_mesh_is_itself(harmonic_phonons: PhononDocument) -> None:
    assert on_mesh(harmonic_phonons, harmonic_phonons.mesh) is harmonic_phonons


@pytest.mark.parametrize("mesh", [(3, 4, 4), (0, 2, 2)])
def test_a_mesh_of_odd_numbers_is_refused(
    harmonic_phonons: PhononDocument, mesh: tuple[int, int, int]
) -> None:
    with pytest.raises(InputError, match="even numbers"):
        on_mesh(harmonic_phonons, mesh)


def test_born_charges_come_back_with_their_factor(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    plan = plan_displacements(rocksalt, small_settings, CHARGES)
    polar = analyse_forces(plan, HARMONIC(plan.structures), source, CHARGES)
    assert born_of(polar) == CHARGES
    assert phonopy_of(polar).nac_params["factor"] == 14.4
    assert polar.data.arrays()["mesh_frequencies"].shape == (
        on_mesh(polar, polar.mesh).data.arrays()["mesh_frequencies"].shape
    )


def test_no_born_charges_come_back_where_there_were_none(harmonic_phonons: PhononDocument) -> None:
    assert born_of(harmonic_phonons) is None


def test_the_heat_capacity_reaches_the_law_of_dulong_and_petit(
    copper: Structure, small_settings: PhononSettings, source: Source
) -> None:
    settings = small_settings.model_copy(update={"max_temperature": 3000.0})
    plan = plan_displacements(copper, settings)
    arrays = analyse_forces(plan, emt()(plan.structures), source).data.arrays()
    n_modes = arrays["mesh_frequencies"].shape[1]
    counted = n_modes - 3 / arrays["mesh_weights"].sum()  # acoustic modes at Γ are left out
    assert arrays["heat_capacity"][-1] == pytest.approx(counted * GAS_CONSTANT, rel=1e-3)
    assert arrays["heat_capacity"][-1] < counted * GAS_CONSTANT
