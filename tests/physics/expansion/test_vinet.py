"""Vinet's equation of state: planted parameters, pymatgen's fit, exact response."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.eos import EOS

from phonotune.errors import PhonotuneError
from phonotune.physics.expansion.equation_of_state import VolumeFit, find_minima
from phonotune.physics.expansion.thermodynamics import expansion_curves, static_minimum
from phonotune.physics.expansion.vinet import (
    fit_vinet,
    vinet_energy,
    vinet_response,
    vinet_slopes,
)
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA
from tests.physics.expansion.test_equation_of_state import VOLUMES, birch_murnaghan
from tests.physics.expansion.test_thermodynamics import NU, WEIGHTS

V0, B0, SLOPE = 19.7, 0.6, 4.7
PLANTED = np.array([-3.0, V0, B0, 1.5 * (SLOPE - 1)])
WIDE = np.linspace(0.8, 1.25, 12) * V0


def noisy(volumes: np.ndarray, scale: float = 2e-4) -> np.ndarray:
    noise = np.random.default_rng(1).normal(scale=scale, size=len(volumes))
    return vinet_energy(PLANTED, volumes) + noise


def test_the_energy_is_that_of_pymatgen() -> None:
    theirs = EOS("vinet").fit(WIDE, vinet_energy(PLANTED, WIDE))
    assert theirs.v0 == pytest.approx(V0, rel=1e-6)
    assert float(theirs.b0) == pytest.approx(B0, rel=1e-5)
    assert float(theirs.b1) == pytest.approx(SLOPE, rel=1e-4)


def test_planted_parameters_are_recovered() -> None:
    found = fit_vinet(WIDE, vinet_energy(PLANTED, WIDE), 1.05 * V0, 0.7 * B0)
    np.testing.assert_allclose(found, PLANTED, rtol=1e-7)
    minimum = static_minimum(WIDE, vinet_energy(PLANTED, WIDE), "vinet")
    assert minimum.volume == pytest.approx(V0, rel=1e-8)
    assert minimum.bulk_modulus == pytest.approx(B0 * EV_PER_CUBIC_ANGSTROM_IN_GPA, rel=1e-7)


def test_pymatgen_fits_the_same_minimum_to_noisy_energies() -> None:
    theirs = EOS("vinet").fit(WIDE, noisy(WIDE))
    ours = static_minimum(WIDE, noisy(WIDE), "vinet")
    assert ours.volume == pytest.approx(theirs.v0, rel=1e-6)
    assert ours.bulk_modulus == pytest.approx(float(theirs.b0_GPa), rel=1e-4)


def test_the_two_forms_differ_where_the_range_is_wide_and_agree_where_it_is_narrow() -> None:
    energies = vinet_energy(PLANTED, WIDE)
    wide = static_minimum(WIDE, energies)
    assert abs(wide.bulk_modulus - B0 * EV_PER_CUBIC_ANGSTROM_IN_GPA) > 0.2
    near = np.linspace(0.97, 1.04, 7) * V0
    narrow = static_minimum(near, vinet_energy(PLANTED, near))
    assert narrow.bulk_modulus == pytest.approx(B0 * EV_PER_CUBIC_ANGSTROM_IN_GPA, rel=5e-4)


def test_the_slopes_are_those_of_the_energy() -> None:
    slopes = vinet_slopes(PLANTED, WIDE)
    for index, step in enumerate(1e-5 * np.eye(4)):
        ahead, behind = (vinet_energy(PLANTED + s * step, WIDE) for s in (1, -1))
        np.testing.assert_allclose(slopes[:, index], (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("equation", ["birch-murnaghan", "vinet"])
def test_the_response_is_the_derivative_of_the_fit(equation: str) -> None:
    """By finite differences of one energy, of energies that no curve fits exactly."""
    fit, energies, step = VolumeFit(WIDE), noisy(WIDE, 5e-3), 1e-5
    found = find_minima(fit, energies[:, None], equation)
    for index in (0, 4, 11):
        moved = energies[:, None] + step * np.outer(np.eye(12)[index], [1, -1])
        both = find_minima(fit, moved, equation)
        slope = (both.volumes[0] - both.volumes[1]) / (2 * step)
        assert found.volume_response[0, index] == pytest.approx(slope, rel=1e-4)
        value = (both.values[0] - both.values[1]) / (2 * step)
        assert found.value_response[0, index] == pytest.approx(value, rel=1e-4, abs=1e-7)


def test_energies_of_no_minimum_are_refused() -> None:
    with pytest.raises(PhonotuneError, match="no minimum near the volumes"):
        static_minimum(VOLUMES, -((VOLUMES - 20.0) ** 2), "vinet")


def test_a_constant_added_to_the_energies_changes_no_minimum() -> None:
    shift = np.array([-51234.0, 0.0, 0.0, 0.0])
    far = fit_vinet(WIDE, vinet_energy(PLANTED + shift, WIDE), V0, B0)
    np.testing.assert_allclose(far, PLANTED + shift, rtol=1e-7)
    response = vinet_response(PLANTED, WIDE, vinet_energy(PLANTED, WIDE))
    assert response[0].sum() == pytest.approx(1.0, rel=1e-6)
    assert response[1].sum() == pytest.approx(0.0, abs=1e-5)


def test_expansion_and_entropy_are_slopes_of_volume_and_gibbs_energy_by_vinet_too() -> None:
    """Energies by Birch and Murnaghan, so that the fit by Vinet leaves a residual."""
    volumes = 16.0 * (1 + np.linspace(-0.03, 0.05, 7))
    nu = NU[None] * (volumes[:, None, None] / 16.0) ** -1.8
    t = np.array([299.9, 300.0, 300.1])
    energies = birch_murnaghan(volumes, 16.0, 0.5, 4.5)
    curves = expansion_curves(volumes, energies, nu, WEIGHTS, t, 1, "vinet")
    slope = (curves.volumes[2] - curves.volumes[0]) / 0.2 / curves.volumes[1]
    assert curves.expansions[1] == pytest.approx(slope, rel=1e-5)
    falls = (curves.gibbs[2] - curves.gibbs[0]) / 0.2 * 1000
    assert curves.entropies[1] == pytest.approx(-falls, rel=1e-5)
    other = expansion_curves(volumes, energies, nu, WEIGHTS, t, 1)
    assert curves.expansions[1] == pytest.approx(other.expansions[1], rel=5e-3)
    assert curves.expansions[1] != other.expansions[1]
