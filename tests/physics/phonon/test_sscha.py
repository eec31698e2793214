"""Laws of phonons at a temperature: harmonic crystals, and oscillators whose free energy is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from scipy import constants, linalg, optimize

from phonotune.errors import ConfigError, LabelError
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.sscha import SSCHASettings, phonons_at_temperatures
from phonotune.ports import Evaluation, FloatArray
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.sscha import SSCHADocument
from tests.physics.conftest import HARMONIC

MASSES = np.array([22.98976928, 35.453])
REDUCED = float(MASSES.prod() / MASSES.sum()) * constants.atomic_mass * 1e-20 / constants.e
"""eV s²/Å², of Na against Cl."""
HBAR = constants.hbar / constants.e
KB = constants.k / constants.e
LENGTH, BOND = 4.0, 0.3
SMALL = PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=15.0)
FEW = SSCHASettings(phonons=SMALL, n_structures=192, max_structures=192)


@dataclass(frozen=True)
class Molecules:
    """NaCl molecules on a simple cubic lattice: their bonds w are oscillators of their own.

    The energy is Σ_a (K/2 w_a² + b w_a⁴) per molecule, and k/2 (R - R')² between the centres of mass R of
    neighbours. w and R separate, also in the kinetic energy: three identical oscillators of the reduced mass
    per molecule, and three harmonic branches.
    """

    curvature: float
    quartic: float
    spring: float = 0.3

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        return [self._evaluate(structure) for structure in structures]

    def _evaluate(self, structure: Structure) -> Evaluation:
        size = np.rint(np.array(structure.lattice.abc) / LENGTH).astype(int)
        kinds = np.array([int(z == 17) for z in structure.atomic_numbers])
        at = structure.cart_coords - kinds[:, None] * [0.0, 0.0, BOND * LENGTH]
        cells = np.rint(at / LENGTH)
        index = (kinds, *(cells.astype(int) % size).T)
        moves: NDArray[np.float64] = np.zeros((2, *size, 3))
        moves[index] = at - cells * LENGTH
        share = MASSES / MASSES.sum()
        bond, centre = moves[0] - moves[1], np.tensordot(share, moves, axes=1)
        energy = np.sum(self.curvature / 2 * bond**2 + self.quartic * bond**4)
        slope = self.curvature * bond + 4 * self.quartic * bond**3
        pull = np.zeros_like(centre)
        for axis in range(3):
            energy += self.spring / 2 * np.sum((centre - np.roll(centre, 1, axis)) ** 2)
            pull += self.spring * (
                2 * centre - np.roll(centre, 1, axis) - np.roll(centre, -1, axis)
            )
        forces = -np.stack([slope + share[0] * pull, -slope + share[1] * pull])
        return Evaluation(float(energy), forces[index])


def molecules() -> Structure:
    return Structure(Lattice.cubic(LENGTH), ["Na", "Cl"], [[0, 0, 0], [0, 0, BOND]])


def harmonic_of(structure: Structure, evaluate: Molecules) -> PhononDocument:
    plan = plan_displacements(structure, SMALL.model_copy(update={"displacement": 0.001}))
    return analyse_forces(plan, evaluate(plan.structures), Source(role="none", evaluator="a toy"))


def variance(omega: float, temperature: float) -> float:
    """Return <w²> of a harmonic oscillator, Å²."""
    x = np.inf if temperature == 0 else HBAR * omega / (2 * KB * temperature)
    return float(HBAR / (2 * REDUCED * omega) / np.tanh(x))


def gaussian(evaluate: Molecules, temperature: float) -> tuple[float, float]:
    """Return ω/2π (THz) and F (eV) of the best Gaussian for one bond and direction, by a root search."""

    def excess(omega: float) -> float:
        found = evaluate.curvature + 12 * evaluate.quartic * variance(omega, temperature)
        return float(REDUCED * omega**2 - found)

    omega = float(optimize.brentq(excess, 1e11, 1e15, xtol=1e5))
    s = variance(omega, temperature)
    potential = evaluate.curvature * s / 2 + 3 * evaluate.quartic * s**2
    energy = HBAR * omega / 2
    if temperature:
        energy += KB * temperature * np.log1p(-np.exp(-HBAR * omega / (KB * temperature)))
    return omega / (2e12 * np.pi), float(energy + potential - REDUCED * omega**2 * s / 2)


def exact(evaluate: Molecules, temperature: float) -> float:
    """Return F (eV) of one bond and direction by the levels of the one-dimensional Schrödinger equation."""
    x = np.linspace(-1.2, 1.2, 1601)
    step = x[1] - x[0]
    kinetic = HBAR**2 / (2 * REDUCED * step**2)
    potential = evaluate.curvature / 2 * x**2 + evaluate.quartic * x**4
    levels = linalg.eigh_tridiagonal(
        2 * kinetic + potential, np.full(len(x) - 1, -kinetic), select="i", select_range=(0, 150)
    )[0]
    if temperature == 0:
        return float(levels[0])
    boltzmann = np.exp(-(levels - levels[0]) / (KB * temperature))
    assert boltzmann[-1] < 1e-9
    return float(levels[0] - KB * temperature * np.log(boltzmann.sum()))


def optical(document: SSCHADocument, index: int) -> FloatArray:
    return document.data.arrays()["commensurate_frequencies"][index][:, 3:]


def test_a_harmonic_crystal_keeps_its_phonons_at_every_temperature(
    harmonic_phonons: PhononDocument,
) -> None:
    settings = SSCHASettings(phonons=SMALL, temperatures=(800.0, 0.0, 100.0), n_structures=8)
    found = phonons_at_temperatures(harmonic_phonons, HARMONIC, settings)
    assert [point.temperature for point in found.points] == [0.0, 100.0, 800.0]
    arrays, known = found.data.arrays(), harmonic_phonons.data.arrays()
    for index, point in enumerate(found.points):
        assert point.is_converged
        assert point.is_stable
        assert point.n_structures == 8
        assert point.anharmonic_free_energy == pytest.approx(0.0, abs=1e-5)
        np.testing.assert_allclose(
            arrays["force_constants"][index], known["force_constants"], atol=1e-6
        )
        np.testing.assert_allclose(
            arrays["band_frequencies"][index], known["band_frequencies"], atol=1e-4
        )
    kilojoule = 1e3 / constants.N_A / constants.e * 1e3 / 2  # meV/atom
    helmholtz = known["helmholtz"][[0, 10]] * kilojoule
    free = [point.free_energy for point in found.points[:2]]
    np.testing.assert_allclose(free, helmholtz, rtol=1e-5)
    assert found.stabilises is None
    assert "stable at 0 to 800 K" in found.in_words


HARD = Molecules(curvature=4.0, quartic=60.0)
DOUBLE = Molecules(curvature=-1.0, quartic=25.0)


@pytest.mark.slow
@pytest.mark.parametrize("evaluate", [HARD, DOUBLE], ids=["hardening", "double well"])
def test_quartic_oscillators_have_the_gaussian_solution(evaluate: Molecules) -> None:
    document = harmonic_of(molecules(), evaluate)
    assert document.is_stable == (evaluate is HARD)
    settings = FEW.model_copy(update={"temperatures": (0.0, 600.0)})
    found = phonons_at_temperatures(document, evaluate, settings)
    stiff = harmonic_of(molecules(), replace(evaluate, quartic=0.0, curvature=200.0))
    for index, point in enumerate(found.points):
        frequency, free = gaussian(evaluate, point.temperature)
        assert optical(found, index).mean() == pytest.approx(frequency, rel=0.01)
        assert point.free_energy is not None
        assert point.free_energy_error is not None
        centres = acoustic_free_energy(stiff, point.temperature)
        bond = (2 * point.free_energy / 1000 - centres) / 3
        assert bond == pytest.approx(free, rel=0.01)
        # Bogoliubov: the exact free energy lies below that of any Gaussian
        true = exact(evaluate, point.temperature)
        assert 0.0 < free - true < 0.005
        assert bond > true - 3 * 2 * point.free_energy_error / 3000
        # 192 displacements say what they leave open, and that the gates are not met
        assert 0.05 < point.frequency_change < 0.6
        assert not point.is_converged
    assert "not converged" in found.points[0].in_words


def acoustic_free_energy(document: PhononDocument, temperature: float) -> float:
    """Return F of the three lower branches, eV per molecule."""
    arrays = document.data.arrays()
    nu = arrays["mesh_frequencies"][:, :3] * 1e12 * constants.h / constants.e
    used = nu > 1e-2 * 1e12 * constants.h / constants.e
    energy = nu / 2
    if temperature:
        energy = energy + KB * temperature * np.log1p(
            -np.exp(-np.where(used, nu, 1.0) / (KB * temperature))
        )
    return float(np.average((energy * used).sum(axis=1), weights=arrays["mesh_weights"]))


def test_one_temperature_is_enough_and_impossible_ones_are_refused() -> None:
    assert SSCHASettings(temperatures=(300.0, 0.0, 300.0)).temperatures == (0.0, 300.0)
    for wrong in ((), (-1.0,), (300.0, float("nan")), (float("inf"),)):
        with pytest.raises(ConfigError, match="none below 0; found"):
            SSCHASettings(temperatures=wrong)


def test_forces_that_are_not_finite_are_refused(harmonic_phonons: PhononDocument) -> None:
    def broken(structures: Sequence[Structure]) -> list[Evaluation]:
        answers = HARMONIC(structures)
        return [*answers[:-1], replace(answers[-1], forces=np.nan * answers[-1].forces)]

    settings = SSCHASettings(phonons=SMALL, temperatures=(300.0,), n_structures=4)
    with pytest.raises(LabelError, match="Phonons at a temperature needs an answer for each"):
        phonons_at_temperatures(harmonic_phonons, broken, settings)


@pytest.mark.parametrize(
    ("stable", "bracket", "words"),
    [
        ("010", None, "not stable at 300 K"),
        ("001", (100.0, 300.0), "stable above 100 to 300 K"),
        ("101", (100.0, 300.0), "stable above 100 to 300 K"),
        ("111", None, "stable at 0 to 300 K"),
    ],
)
def test_the_temperature_of_stability_is_a_bracket_of_two_neighbours(
    harmonic_phonons: PhononDocument,
    stable: str,
    bracket: tuple[float, float] | None,
    words: str,
) -> None:
    settings = SSCHASettings(phonons=SMALL, temperatures=(300.0,), n_structures=4)
    document = phonons_at_temperatures(harmonic_phonons, HARMONIC, settings)
    points = [
        document.points[0].model_copy(update={"temperature": t, "is_stable": flag == "1"})
        for t, flag in zip((0.0, 100.0, 300.0), stable, strict=True)
    ]
    found = document.model_copy(update={"points": points})
    assert found.stabilises == bracket
    assert found.stability == words


def test_a_soft_mode_that_is_real_keeps_its_amplitude(harmonic_phonons: PhononDocument) -> None:
    floor = harmonic_phonons.highest_frequency / 2
    settings = SSCHASettings(phonons=SMALL, temperatures=(300.0,), n_structures=4, floor=floor)
    document = phonons_at_temperatures(harmonic_phonons, HARMONIC, settings)
    (point,) = document.points
    assert point.lowest_frequency < floor
    assert point.is_stable
    assert point.anharmonic_free_energy == pytest.approx(0.0, abs=1e-6)
    assert document.settings["floor"] < floor


def test_a_crystal_that_stays_unstable_has_no_free_energy() -> None:
    falling = Molecules(curvature=-1.0, quartic=0.0)
    settings = SSCHASettings(phonons=SMALL, temperatures=(300.0,), n_structures=4)
    harmonic = harmonic_of(molecules(), falling)
    (point,) = phonons_at_temperatures(harmonic, falling, settings).points
    assert point.lowest_frequency < 0
    assert not point.is_stable
    assert point.free_energy is None
    assert "unstable" in point.in_words
