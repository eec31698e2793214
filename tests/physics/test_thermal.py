from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from phonotune.physics.phonon.document import phonopy_of
from phonotune.physics.thermal import thermal_curves
from phonotune.schemas.phonon import PhononDocument

FREQUENCIES = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]])
WEIGHTS = np.array([1, 3])


def test_heat_capacity_tends_to_3r_per_mole_of_atoms() -> None:
    curves = thermal_curves(FREQUENCIES, WEIGHTS, [1e5], formula_units=1)
    assert curves.heat_capacity[0] == pytest.approx(2 * 3 * constants.R, rel=1e-6)


def test_free_energy_at_zero_is_the_zero_point_energy() -> None:
    curves = thermal_curves(FREQUENCIES, WEIGHTS, [0.0], formula_units=2)
    mean = WEIGHTS @ FREQUENCIES.sum(axis=1) / WEIGHTS.sum()
    expected = 0.5 * constants.h * mean * 1e12 * constants.N_A / 2 / 1000
    assert curves.helmholtz[0] == pytest.approx(expected)
    assert curves.entropy[0] == 0
    assert curves.heat_capacity[0] == 0


def test_entropy_is_minus_the_slope_of_the_free_energy() -> None:
    t = np.array([149.9, 150.0, 150.1])
    curves = thermal_curves(FREQUENCIES, WEIGHTS, t, formula_units=1)
    slope = (curves.helmholtz[2] - curves.helmholtz[0]) / 0.2 * 1000
    assert curves.entropy[1] == pytest.approx(-slope, rel=1e-6)


def test_heat_capacity_is_t_times_the_slope_of_the_entropy() -> None:
    curves = thermal_curves(FREQUENCIES, WEIGHTS, [149.9, 150.0, 150.1], formula_units=1)
    slope = (curves.entropy[2] - curves.entropy[0]) / 0.2
    assert curves.heat_capacity[1] == pytest.approx(150 * slope, rel=1e-6)


def test_very_low_temperatures_do_not_overflow() -> None:
    curves = thermal_curves(FREQUENCIES, WEIGHTS, [0.01, 1.0], formula_units=1)
    assert np.isfinite(curves.helmholtz).all()
    assert curves.heat_capacity[0] == 0


def test_imaginary_modes_are_left_out() -> None:
    with_imaginary = np.column_stack([FREQUENCIES, [-3.0, -1.0]])
    a = thermal_curves(FREQUENCIES, WEIGHTS, [300.0], formula_units=1)
    b = thermal_curves(with_imaginary, WEIGHTS, [300.0], formula_units=1)
    assert a.entropy[0] == b.entropy[0]


def test_phonopy_agrees(copper_phonons: PhononDocument) -> None:
    arrays = copper_phonons.data.arrays()
    phonon = phonopy_of(copper_phonons)
    phonon.run_mesh(list(copper_phonons.mesh), is_gamma_center=True)
    theirs = phonon.run_thermal_properties(t_min=0, t_max=400, t_step=10, cutoff_frequency=0.01)
    np.testing.assert_allclose(arrays["temperatures"], theirs.temperatures)
    older_constants = {"rtol": 2e-6, "atol": 5e-5}
    np.testing.assert_allclose(arrays["helmholtz"], theirs.free_energy, **older_constants)
    np.testing.assert_allclose(arrays["entropy"], theirs.entropy, **older_constants)
    np.testing.assert_allclose(arrays["heat_capacity"], theirs.heat_capacity, **older_constants)
