from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from phonotune.physics.expansion.slack import acoustic_debye_temperature, slack_conductivity


def test_silicon_has_the_value_of_a_hand_calculation() -> None:
    """Θ_a = 395 K, γ = 0.7, δ = 2.715 Å, n = 2: 3.326e-6 · 28.0855 · 395³ · 2.715 · 2^(1/3) / (0.49 · 300)."""
    found = slack_conductivity(395.0, 0.7, 28.0855, 2 * 2.715**3, 300.0)
    assert found == pytest.approx(134.0, rel=2e-3)


def test_the_prefactor_is_that_of_morelli_and_slack() -> None:
    for gamma, expected in ((2.0, 3.04e-6), (1.0, 3.40e-6)):
        found = slack_conductivity(1.0, gamma, 1.0, 1.0, 1.0) * gamma**2
        assert found == pytest.approx(expected, rel=5e-3)


def test_conductivity_scales_as_the_formula_says() -> None:
    base = slack_conductivity(300.0, 1.5, 40.0, 60.0, 300.0)
    assert slack_conductivity(600.0, 1.5, 40.0, 60.0, 300.0) == pytest.approx(8 * base)
    assert slack_conductivity(300.0, 1.5, 80.0, 60.0, 300.0) == pytest.approx(2 * base)
    assert slack_conductivity(300.0, 1.5, 40.0, 480.0, 300.0) == pytest.approx(2 * base)
    assert slack_conductivity(300.0, 1.5, 40.0, 60.0, 600.0) == pytest.approx(base / 2)


def test_a_debye_spectrum_has_its_own_debye_temperature() -> None:
    share = (np.arange(4000) + 0.5) / 4000
    nu = 8.0 * np.cbrt(share)
    branches = np.column_stack([nu, nu, nu, nu + 20.0])
    expected = constants.h * 8.0e12 / constants.k
    found = acoustic_debye_temperature(branches, np.ones(len(nu)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_imaginary_modes_do_not_raise_the_debye_temperature() -> None:
    stable = np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]])
    unstable = np.array([[0.0, 0.0, 0.0], [-5.0, 3.0, 4.0]])
    found = [acoustic_debye_temperature(nu, np.ones(2)) for nu in (stable, unstable)]
    assert found[0] == found[1]
