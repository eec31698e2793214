from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.eos import EOS

from phonotune.errors import PhonotuneError
from phonotune.physics.expansion.equation_of_state import VolumeFit, evaluate, find_minima
from phonotune.physics.expansion.thermodynamics import static_minimum
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA

VOLUMES = np.array([18.2, 18.9, 19.6, 20.3, 21.0, 21.7])


def birch_murnaghan(volumes: np.ndarray, v0: float, b0: float, slope: float) -> np.ndarray:
    """Birch's energy (eV), bulk modulus in eV/Å^3, written as in the paper."""
    x = (v0 / volumes) ** (2 / 3)
    return 9 * v0 * b0 / 16 * ((x - 1) ** 3 * slope + (x - 1) ** 2 * (6 - 4 * x)) - 3.0


def test_a_planted_equation_of_state_is_recovered() -> None:
    energies = birch_murnaghan(VOLUMES, 19.7, 0.6, 4.7)
    found = static_minimum(VOLUMES, energies)
    assert found.volume == pytest.approx(19.7, rel=1e-8)
    assert found.bulk_modulus == pytest.approx(0.6 * EV_PER_CUBIC_ANGSTROM_IN_GPA, rel=1e-6)


def test_pymatgen_fits_the_same_minimum_to_noisy_energies() -> None:
    noise = np.random.default_rng(1).normal(scale=2e-4, size=len(VOLUMES))
    energies = birch_murnaghan(VOLUMES, 19.7, 0.6, 4.7) + noise
    theirs = EOS("birch_murnaghan").fit(VOLUMES, energies)
    ours = static_minimum(VOLUMES, energies)
    assert ours.volume == pytest.approx(theirs.v0, rel=1e-6)
    assert ours.bulk_modulus == pytest.approx(float(theirs.b0_GPa), rel=1e-4)


def test_the_fit_has_the_value_and_slope_of_the_curve_it_fits() -> None:
    fit = VolumeFit(VOLUMES)
    energies = birch_murnaghan(VOLUMES, 19.7, 0.6, 4.7)
    at, step = 20.55, 1e-4
    near = birch_murnaghan(np.array([at - step, at, at + step]), 19.7, 0.6, 4.7)
    assert fit.value_weights(at) @ energies == pytest.approx(near[1], abs=1e-9)
    slope = (near[2] - near[0]) / (2 * step)
    assert fit.slope_weights(at) @ energies == pytest.approx(slope, rel=1e-5)


def test_several_curves_are_fitted_at_once() -> None:
    fit = VolumeFit(VOLUMES)
    curves = np.column_stack([birch_murnaghan(VOLUMES, v0, 0.5, 4.0) for v0 in (19.0, 20.0)])
    coefficients = fit.coefficients(curves)
    y = fit.minima(coefficients)
    np.testing.assert_allclose(fit.volume_of(y), [19.0, 20.0], rtol=1e-8)
    np.testing.assert_allclose(evaluate(coefficients, y), -3.0, atol=1e-9)
    np.testing.assert_allclose(fit.bulk_modulus(coefficients, y), 0.5, rtol=1e-6)


def test_a_minimum_outside_the_volumes_is_told_apart_from_one_inside() -> None:
    fit = VolumeFit(VOLUMES)
    curves = np.column_stack([birch_murnaghan(VOLUMES, v0, 0.5, 4.0) for v0 in (19.0, 22.5)])
    found = find_minima(fit, curves, "birch-murnaghan")
    assert found.within(VOLUMES.min(), VOLUMES.max()).tolist() == [True, False]


def test_a_curve_without_minimum_is_refused() -> None:
    with pytest.raises(PhonotuneError, match=r"no minimum near the volumes 18\.20 to 21\.70"):
        static_minimum(VOLUMES, -((VOLUMES - 20.0) ** 2))
