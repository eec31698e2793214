from __future__ import annotations

import numpy as np
import pytest

from phonotune.physics.wells.fit import WellFit, fit_well
from phonotune.physics.wells.levels import (
    KINETIC,
    MEV_PER_THZ,
    levels,
    sampled_potential,
    supercell_levels,
)

OMEGA_SQUARED = (2 * np.pi * 5.0) ** 2
"""5 THz, rad²/ps²."""
MEV = 0.10364269656
"""1 amu·Å²/ps² in meV."""


def test_a_harmonic_oscillator_has_an_equidistant_ladder() -> None:
    found = levels(lambda x: 0.5 * x**2, -12.0, 12.0, kinetic=0.5)
    np.testing.assert_allclose(found[:10], np.arange(10) + 0.5, rtol=1e-10)


def test_a_pure_quartic_oscillator_has_its_known_levels() -> None:
    """p² + x⁴: Bender and Orszag, Advanced Mathematical Methods (1978), table 10.1."""
    found = levels(lambda x: x**4, -6.0, 6.0, kinetic=1.0)
    np.testing.assert_allclose(found[:3], [1.06036, 3.79967, 7.45570], atol=2e-5)


def test_units_turn_a_mode_of_five_terahertz_into_levels_five_terahertz_apart() -> None:
    found = levels(lambda q: 0.5 * OMEGA_SQUARED * MEV * q**2, -2.5, 2.5)
    np.testing.assert_allclose(found[:4] / MEV_PER_THZ, 5.0 * (np.arange(4) + 0.5), rtol=1e-5)
    assert pytest.approx(2.0901, rel=1e-4) == KINETIC


def test_levels_above_the_ends_of_the_range_are_left_out() -> None:
    found = levels(lambda x: 0.5 * x**2, -3.0, 3.0, kinetic=0.5)
    assert (found < 4.5).all()
    assert len(found) == 4


def test_the_ladder_of_a_harmonic_mode_is_the_same_in_any_supercell() -> None:
    def potential(q: np.ndarray) -> np.ndarray:
        return 0.5 * OMEGA_SQUARED * MEV * q**2

    for units in (1, 4, 16):
        found = supercell_levels(potential, (-2.0, 2.0), units)
        np.testing.assert_allclose(found[:3], [2.5, 7.5, 12.5], rtol=1e-5)


def test_a_higher_barrier_leaves_less_tunnelling_in_a_larger_supercell() -> None:
    def potential(q: np.ndarray) -> np.ndarray:
        return -40.0 * q**2 + 40.0 * q**4

    splittings = [float(np.diff(supercell_levels(potential, (-2, 2), n)[:2])[0]) for n in (1, 2, 4)]
    assert splittings[0] > splittings[1] > splittings[2] > 0


def test_the_potential_passes_through_every_point_whatever_the_fit() -> None:
    q = np.linspace(0, 2, 9)
    energies, forces = -3 * q**2 + np.cosh(3 * q) - 1, 6 * q - 3 * np.sinh(3 * q)
    for fit in (
        fit_well(q, energies, forces, even=True),
        WellFit(np.array([2.0, 4.0]), np.array([5.0, -1.0]), 0.0),
    ):
        potential = sampled_potential(fit, q, energies, forces, even=True)
        np.testing.assert_allclose(potential(q), energies, atol=1e-9)
        np.testing.assert_allclose(potential(-q), energies, atol=1e-9)


def test_eleven_points_give_the_levels_of_the_curve_they_sample() -> None:
    q = 2.5 * np.linspace(0, 1, 11) ** 1.5

    def curve(x: np.ndarray) -> np.ndarray:
        return -75.0 * x**2 + 110.0 * x**4 + 4 * x**6

    forces = 150.0 * q - 440.0 * q**3 - 24 * q**5
    fit = fit_well(q, curve(q), forces, even=True)
    ours = sampled_potential(fit, q, curve(q), forces, even=True)
    np.testing.assert_allclose(
        supercell_levels(ours, (-2.5, 2.5), 1)[:4],
        supercell_levels(curve, (-2.5, 2.5), 1)[:4],
        atol=0.02,
    )
