"""Error bars: planted committees whose deviations are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.committee_spread import deviation, spread_arrays, with_spread
from phonotune.physics.elastic import ElasticSettings, analyse_stresses, plan_strains
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.wells.double_well import WellSettings, analyse_well, plan_well
from phonotune.ports import Evaluation
from phonotune.schemas.base import PropertyDocument, Source
from phonotune.schemas.phonon import PhononDocument
from tests.physics.conftest import DOUBLE, emt

FACTORS = (0.81, 1.21)


def scaled(answers: list[Evaluation], factor: float) -> list[Evaluation]:
    return [
        Evaluation(
            factor * a.energy,
            factor * a.forces,
            None if a.stress is None else factor * a.stress,
        )
        for a in answers
    ]


@pytest.fixture(scope="module")
def committee(
    copper: Structure, small_settings: PhononSettings, source: Source
) -> list[PhononDocument]:
    """Phonons of copper by forces of 1, 0.81 and 1.21: frequencies of 1, 0.9 and 1.1."""
    plan = plan_displacements(copper, small_settings)
    answers = emt()(plan.structures)
    return [analyse_forces(plan, scaled(answers, f), source) for f in (1.0, *FACTORS)]


def test_identical_members_have_zero_spread(committee: list[PhononDocument]) -> None:
    mean = committee[0]
    document = with_spread(mean, [mean, mean, mean])
    assert document.spread.n_members == 3
    assert set(document.spread.numbers.values()) == {0.0}
    arrays = spread_arrays(document)
    assert {"band_frequencies", "mesh_frequencies", "dos_total", "heat_capacity"} <= set(arrays)
    assert not any(values.any() for values in arrays.values())


def test_scaled_forces_spread_every_frequency_by_the_known_share(
    committee: list[PhononDocument],
) -> None:
    """Frequencies of 0.9 and 1.1 deviate from each other by 0.2 / sqrt(2)."""
    mean, *members = committee
    document = with_spread(mean, members)
    own = mean.data.arrays()
    share = 0.2 / np.sqrt(2)
    for name in ("band_frequencies", "mesh_frequencies"):
        expected = share * np.abs(own[name])
        np.testing.assert_allclose(spread_arrays(document)[name], expected, atol=1e-5)
    numbers = document.spread.numbers
    assert numbers["highest_frequency"] == pytest.approx(share * mean.highest_frequency)
    capacities = [m.thermal_300.heat_capacity for m in members]
    expected = abs(capacities[0] - capacities[1]) / np.sqrt(2)
    assert numbers["thermal_300.heat_capacity"] == pytest.approx(expected)
    for name in ("helmholtz", "entropy", "heat_capacity"):
        curves = [m.data.arrays()[name] for m in members]
        expected = np.abs(curves[0] - curves[1]) / np.sqrt(2)
        np.testing.assert_allclose(spread_arrays(document)[name], expected, atol=1e-12)


def test_what_the_plan_decides_has_no_error_bar(committee: list[PhononDocument]) -> None:
    document = with_spread(committee[0], committee[1:])
    arrays = spread_arrays(document)
    given = {"mesh_q", "mesh_weights", "band_distances", "temperatures", "dos_frequencies"}
    assert not given & set(arrays)
    assert not [name for name in arrays if name.startswith(("force_constants", "displacement"))]
    assert "imaginary_threshold" not in document.spread.numbers


def test_densities_of_states_are_compared_at_equal_frequencies(
    committee: list[PhononDocument],
) -> None:
    mean, *members = committee
    own = mean.data.arrays()
    grid = own["dos_frequencies"]
    rows = [
        np.interp(grid, m["dos_frequencies"], m["dos_total"], left=0, right=0)
        for m in (member.data.arrays() for member in members)
    ]
    expected = np.abs(rows[0] - rows[1]) / np.sqrt(2)
    np.testing.assert_allclose(
        spread_arrays(with_spread(mean, members))["dos_total"], expected, atol=1e-12
    )


def test_arrays_on_other_meshes_are_left_out(
    copper: Structure,
    small_settings: PhononSettings,
    source: Source,
    committee: list[PhononDocument],
) -> None:
    other = small_settings.model_copy(update={"mesh_density": 26.0})
    plan = plan_displacements(copper, other)
    finer = analyse_forces(plan, emt()(plan.structures), source)
    arrays = spread_arrays(with_spread(committee[0], [committee[0], finer]))
    assert "mesh_frequencies" not in arrays
    assert "band_frequencies" in arrays


def test_elastic_constants_spread_as_their_stresses(copper: Structure, source: Source) -> None:
    plan = plan_strains(copper, ElasticSettings())
    answers = emt()(plan.structures)
    mean, *members = (analyse_stresses(plan, scaled(answers, f), source) for f in (1.01, *FACTORS))
    document = with_spread(mean, members)
    share = 0.4 / np.sqrt(2) / 1.01
    np.testing.assert_allclose(
        spread_arrays(document)["elastic_tensor"],
        share * np.abs(np.array(mean.elastic_tensor)),
        atol=1e-8,
    )
    assert document.spread.numbers["bulk_modulus"] == pytest.approx(share * mean.bulk_modulus)


def test_a_well_spreads_in_energy_and_depth_but_not_in_its_amplitudes(
    rocksalt: Structure, double_well_phonons: PhononDocument, source: Source
) -> None:
    """Energies of 0.81 and 1.21: one depth is 1.49 times the other, both minima at the same Q."""
    plan = plan_well(rocksalt, double_well_phonons, WellSettings())
    answers = DOUBLE(plan.structures)
    mean, *members = (analyse_well(plan, scaled(answers, f), source) for f in (1.01, *FACTORS))
    document = with_spread(mean, members)
    share = 0.4 / np.sqrt(2) / 1.01
    assert document.spread.numbers["depth"] == pytest.approx(share * mean.depth, rel=1e-6)
    assert document.spread.numbers["q0"] == pytest.approx(0, abs=1e-6)
    energies = mean.data.arrays()["energies"]
    np.testing.assert_allclose(
        spread_arrays(document)["energies"], share * np.abs(energies), atol=1e-8
    )
    assert "amplitudes" not in spread_arrays(document)


def test_the_deviation_is_that_of_a_sample_and_exactly_zero_where_all_are_equal() -> None:
    assert deviation([1.0, 2.0, 3.0]) == pytest.approx(1.0)
    assert deviation([0.1 + 0.2] * 3) == 0


def test_one_member_or_another_crystal_is_refused(committee: list[PropertyDocument]) -> None:
    mean = committee[0]
    with pytest.raises(InputError, match="at least two members, found 1"):
        with_spread(mean, committee[1:2])
    other = mean.model_copy(update={"material_id": "another"})
    with pytest.raises(InputError, match="analyse all by the same plan"):
        with_spread(mean, [mean, other])
