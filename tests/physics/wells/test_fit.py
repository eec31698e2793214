from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from phonotune.physics.wells.fit import WellFit, around_lowest, fit_well

EVEN = np.array([2.0, 4.0, 6.0, 8.0])


def sampled(
    c: dict[int, float], q: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies and forces of Σ c_n Q^n."""
    energies = sum(value * q**order for order, value in c.items())
    return energies, -sum(order * value * q ** (order - 1) for order, value in c.items())


def test_energies_and_forces_are_fitted_together() -> None:
    q = np.linspace(0, 1.5, 7)
    energies, forces = sampled({2: -5.0, 4: 2.0, 6: 0.3}, q)
    fit = fit_well(q, energies, forces, even=True)
    np.testing.assert_array_equal(fit.orders, EVEN)
    np.testing.assert_allclose(fit.coefficients, [-5.0, 2.0, 0.3, 0.0], rtol=1e-8)
    assert fit.residual < 1e-8
    assert fit.curvature == pytest.approx(-10.0)


def test_the_lowest_order_that_fits_is_taken() -> None:
    q = np.linspace(0, 2, 11)
    fit = fit_well(q, *sampled({2: -3.0, 4: 1.0}, q), even=True)
    np.testing.assert_allclose(fit.coefficients, [-3.0, 1.0, 0, 0], atol=1e-9)
    assert not fit.coefficients[2:].any()


def test_odd_terms_are_fitted_where_the_curve_is_not_even() -> None:
    q = np.linspace(-1.5, 1.5, 11)
    planted = {1: 0.1, 2: -4.0, 3: 1.5, 4: 3.0}
    fit = fit_well(q, *sampled(planted, q), even=False)
    np.testing.assert_allclose(fit.coefficients[:4], list(planted.values()), rtol=1e-8)
    q0, lowest = fit.lowest_point(-1.5, 1.5)
    assert q0 < 0
    assert lowest == pytest.approx(sampled(planted, np.array(q0))[0])


def test_walls_a_thousand_times_the_depth_do_not_decide_it() -> None:
    """A well within the first quarter of the grid, and repulsion that no polynomial follows."""
    q = 2.5 * np.linspace(0, 1, 11) ** 1.5

    def curve(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return -75.0 * x**2 + 110.0 * x**4 + 8 * (np.cosh(3.2 * x) - 1 - 5.12 * x**2)

    forces = -(-150.0 * q + 440.0 * q**3 + 8 * (3.2 * np.sinh(3.2 * q) - 10.24 * q))
    dense = np.linspace(0, 2.5, 200001)
    depth, q0 = -curve(dense).min(), dense[curve(dense).argmin()]
    energies = curve(q)
    assert energies.max() > 300 * depth
    fit = fit_well(q, energies, forces, even=True)
    found, lowest = fit.lowest_point(*around_lowest(q, energies))
    assert -lowest == pytest.approx(depth, rel=2e-3)
    assert found == pytest.approx(q0, rel=2e-3)
    assert fit.curvature == pytest.approx(-150.0, rel=0.01)
    spline = CubicHermiteSpline(q, energies, -forces)(dense)
    assert -lowest == pytest.approx(-spline.min(), rel=0.02)


def test_the_lowest_point_may_be_a_second_minimum_behind_a_barrier() -> None:
    behind = WellFit(EVEN, np.array([1.0, -3.0, 1.5, 0.0]), 0.0)
    q0, depth = behind.lowest_point(0.0, 2.0)
    assert q0 == pytest.approx(np.sqrt((3 + np.sqrt(9 - 4.5)) / 4.5), rel=1e-6)
    assert depth < 0
    assert behind.leaves_zero(q0)
    single = WellFit(EVEN, np.array([1.0, -1.0, 1.0, 0.0]), 0.0)
    assert single.lowest_point(0.0, 2.0) == (0.0, 0.0)


def test_a_single_well_beside_zero_is_no_double_well() -> None:
    """Residual forces shift the minimum of a stable mode."""
    shifted = WellFit(np.arange(1.0, 5.0), np.array([-0.4, 1.0, 0.0, 0.1]), 0.0)
    q0, lowest = shifted.lowest_point(-2, 2)
    assert lowest < 0
    assert not shifted.leaves_zero(q0)


def test_a_minimum_is_looked_for_next_to_the_lowest_point_only() -> None:
    q = np.array([0.0, 0.5, 1.0, 2.0])
    assert around_lowest(q, np.array([0.0, -1.0, 3.0, 9.0])) == (0.0, 1.0)
    assert around_lowest(q, np.array([0.0, 1.0, 3.0, 9.0])) == (0.0, 0.5)
    assert around_lowest(q, np.array([0.0, -1.0, -3.0, -9.0])) == (1.0, 2.0)
