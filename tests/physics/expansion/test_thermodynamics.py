"""Laws of quasi-harmonic thermodynamics, on solids whose Grüneisen parameter is planted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import constants

from phonotune.errors import PhonotuneError
from phonotune.physics.expansion.thermodynamics import (
    ExpansionCurves,
    expansion_curves,
    mean_gruneisen,
    mode_heat_capacities,
    static_minimum,
)
from phonotune.physics.thermal import thermal_curves
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA
from tests.physics.expansion.test_equation_of_state import birch_murnaghan

V0, B0, GAMMA = 16.0, 0.5, 1.8
VOLUMES = V0 * (1 + np.linspace(-0.03, 0.05, 7))
WEIGHTS = np.array([1.0, 3.0, 2.0])
NU = np.array([[2.0, 2.5, 4.0], [3.0, 3.5, 5.0], [1.0, 5.5, 6.0]])
TEMPERATURES = np.arange(0.0, 501.0, 10.0)
ENERGIES = birch_murnaghan(VOLUMES, V0, B0, 4.5)


def planted(frequencies: NDArray[np.float64], gamma: float = GAMMA) -> NDArray[np.float64]:
    """Return the frequencies at each volume, ω ∝ V^-γ."""
    return frequencies[None] * (VOLUMES[:, None, None] / V0) ** -gamma


def curves_of(
    frequencies: NDArray[np.float64], temperatures: NDArray[np.float64] = TEMPERATURES
) -> ExpansionCurves:
    return expansion_curves(VOLUMES, ENERGIES, frequencies, WEIGHTS, temperatures, 1)


@pytest.mark.parametrize("frequencies", [NU, np.full_like(NU, 4.0)], ids=["spectrum", "einstein"])
def test_a_planted_gruneisen_parameter_comes_back(frequencies: NDArray[np.float64]) -> None:
    curves = curves_of(planted(frequencies))
    warm = curves.temperatures >= 30
    np.testing.assert_allclose(curves.gruneisen[warm], GAMMA, rtol=0.01)


def test_expansion_obeys_gruneisens_relation_with_independent_c_v() -> None:
    curves = curves_of(planted(NU))
    for n in (5, 15, 30):
        nu = NU * (curves.volumes[n] / V0) ** -GAMMA
        c_v = thermal_curves(nu, WEIGHTS, [curves.temperatures[n]], 1).heat_capacity[0]
        assert curves.heat_capacities[n] == pytest.approx(c_v, rel=1e-4)
        modulus = curves.bulk_moduli[n] * constants.giga
        volume = curves.volumes[n] * constants.angstrom**3 * constants.N_A
        assert curves.expansions[n] == pytest.approx(GAMMA * c_v / (modulus * volume), rel=0.01)


def test_a_negative_gruneisen_parameter_shrinks_the_crystal() -> None:
    curves = curves_of(planted(NU, -1.0))
    assert (np.diff(curves.volumes) <= 0).all()
    assert curves.expansions[-1] < 0
    assert curves.gruneisen[-1] == pytest.approx(-1.0, rel=0.01)


def test_expansion_is_the_slope_of_the_volume() -> None:
    curves = curves_of(planted(NU), np.array([299.9, 300.0, 300.1]))
    slope = (curves.volumes[2] - curves.volumes[0]) / 0.2 / curves.volumes[1]
    assert curves.expansions[1] == pytest.approx(slope, rel=1e-6)


def test_entropy_is_minus_the_slope_of_the_gibbs_energy() -> None:
    curves = curves_of(planted(NU), np.array([299.9, 300.0, 300.1]))
    slope = (curves.gibbs[2] - curves.gibbs[0]) / 0.2 * 1000
    assert curves.entropies[1] == pytest.approx(-slope, rel=1e-6)


def test_c_p_is_t_times_the_slope_of_the_entropy_at_zero_pressure() -> None:
    curves = curves_of(planted(NU), np.array([299.9, 300.0, 300.1]))
    slope = (curves.entropies[2] - curves.entropies[0]) / 0.2
    assert curves.heat_capacities_pressure[1] == pytest.approx(300 * slope, rel=1e-4)


def test_c_p_exceeds_c_v_by_alpha_squared_b_v_t() -> None:
    curves = curves_of(planted(NU))
    modulus = curves.bulk_moduli * constants.giga
    volume = curves.volumes * constants.angstrom**3 * constants.N_A
    work = curves.expansions**2 * modulus * volume * curves.temperatures
    difference = curves.heat_capacities_pressure - curves.heat_capacities
    np.testing.assert_allclose(difference, work, rtol=1e-7, atol=1e-12)
    assert difference[-1] > 0.1


def test_a_classical_static_crystal_has_the_volume_and_modulus_of_its_equation_of_state() -> None:
    curves = curves_of(planted(np.full_like(NU, 0.02)), np.array([0.0]))
    assert curves.volumes[0] == pytest.approx(V0, rel=1e-4)
    assert curves.bulk_moduli[0] == pytest.approx(B0 * EV_PER_CUBIC_ANGSTROM_IN_GPA, rel=1e-3)
    assert static_minimum(VOLUMES, ENERGIES).volume == pytest.approx(V0, rel=1e-8)


def test_zero_point_motion_expands_a_crystal_of_positive_gruneisen_parameter() -> None:
    assert curves_of(planted(NU)).volumes[0] > 1.0005 * V0


def test_the_order_of_the_volumes_changes_nothing() -> None:
    order = np.random.default_rng(0).permutation(len(VOLUMES))
    ours = curves_of(planted(NU))
    theirs = expansion_curves(
        VOLUMES[order], ENERGIES[order], planted(NU)[order], WEIGHTS, TEMPERATURES, 1
    )
    np.testing.assert_allclose(theirs.volumes, ours.volumes, rtol=1e-12)
    np.testing.assert_allclose(theirs.expansions, ours.expansions, rtol=1e-9)
    np.testing.assert_allclose(
        theirs.heat_capacities_pressure, ours.heat_capacities_pressure, rtol=1e-10
    )


def test_quantities_are_per_formula_unit() -> None:
    one, two = curves_of(planted(NU)), planted(NU)
    doubled = np.concatenate([two, two], axis=2)
    half = expansion_curves(VOLUMES, ENERGIES, doubled, WEIGHTS, TEMPERATURES, 2)
    np.testing.assert_allclose(half.volumes, one.volumes, rtol=1e-12)
    np.testing.assert_allclose(half.heat_capacities_pressure, one.heat_capacities_pressure)


def test_curves_end_where_the_volume_leaves_the_range() -> None:
    narrow = V0 * (1 + np.linspace(-0.01, 0.012, 6))
    energies = birch_murnaghan(narrow, V0, B0, 4.5)
    frequencies = NU[None] * (narrow[:, None, None] / V0) ** -GAMMA
    curves = expansion_curves(narrow, energies, frequencies, WEIGHTS, TEMPERATURES, 1)
    assert 0 < curves.temperatures[-1] < TEMPERATURES[-1]
    assert curves.volumes[-1] <= narrow.max()
    full = curves_of(planted(NU))
    n = len(curves.temperatures)
    np.testing.assert_allclose(curves.volumes, full.volumes[:n], rtol=1e-5)


def test_volumes_beside_the_minimum_are_refused_with_the_side_to_go_to() -> None:
    far = V0 * (1 + np.linspace(-0.10, -0.04, 6))
    energies = birch_murnaghan(far, V0, B0, 4.5)
    frequencies = NU[None] * (far[:, None, None] / V0) ** -GAMMA
    with pytest.raises(PhonotuneError, match=r"no minimum between 14\.40 and 15\.36"):
        expansion_curves(far, energies, frequencies, WEIGHTS, TEMPERATURES, 1)


def test_mode_heat_capacities_add_up_to_c_v() -> None:
    capacities = mode_heat_capacities(NU, 150.0)
    mean = WEIGHTS @ capacities.sum(axis=1) / WEIGHTS.sum()
    expected = thermal_curves(NU, WEIGHTS, [150.0], 1).heat_capacity[0]
    assert mean * constants.R == pytest.approx(expected, rel=1e-9)
    assert mode_heat_capacities(np.array([-1.0, 0.0]), 300.0).tolist() == [0.0, 0.0]


def test_means_of_gruneisen_parameters_weigh_by_heat_capacity() -> None:
    gamma = np.array([[1.0, -3.0], [2.0, 5.0]])
    capacities = np.array([[1.0, 0.5], [1.0, 0.0]])
    weights = np.array([1.0, 2.0])
    assert mean_gruneisen(gamma, capacities, weights) == pytest.approx((1 - 1.5 + 4) / 3.5)
    square = mean_gruneisen(gamma, capacities, weights, order=2) ** 2
    assert square == pytest.approx((1 + 4.5 + 8) / 3.5)
