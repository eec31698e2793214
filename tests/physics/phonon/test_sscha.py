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

AMU = constants.atomic_mass / constants.e * 1e10
"""eV s²/m·Å... in units of eV s²/Å² per amu after the next factor."""
MASS = constants.atomic_mass * 1e-20 / constants.e
"""eV s²/Å², of one amu."""
HBAR = constants.hbar / constants.e
KB = constants.k / constants.e
LENGTH, BOND = 4.0, 0.3
SMALL = PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=15.0)
TIGHT = SSCHASettings(
    phonons=SMALL, n_structures=256, frequency_tolerance=0.04, free_energy_tolerance=0.5
)


@dataclass(frozen=True)
class Molecules:
    """NaCl molecules on a simple cubic lattice: their bonds w are oscillators of their own.

    The energy is Σ_a (K/2 w_a² + b w_a⁴) per molecule, and k/2 (R - R')² between the centres of mass R of
    neighbours. w and R separate, also in the kinetic energy: three identical oscillators of the reduced mass
    per molecule, and three harmonic branches.
    """

    curvature: float
    quartic: float
    spring: float = 2.0

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        return [self._evaluate(structure) for structure in structures]

    def _evaluate(self, structure: Structure) -> Evaluation:
        size = np.rint(np.array(structure.lattice.abc) / LENGTH).astype(int)
        moves: NDArray[np.float64] = np.zeros((2, *size, 3))
        index = []
        for site in structure:
            kind = int(site.specie.symbol == "Cl")
            at = site.coords - [0.0, 0.0, kind * BOND * LENGTH]
            cell = np.rint(at / LENGTH)
            index.append((kind, *(cell.astype(int) % size)))
            moves[index[-1]] = at - cell * LENGTH
        masses = np.array([MOLECULE["Na"], MOLECULE["Cl"]])
        share = masses / masses.sum()
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
        return Evaluation(float(energy), np.array([forces[i] for i in index]))


MOLECULE = {"Na": 22.98976928, "Cl": 35.453}
REDUCED = MASS * 22.98976928 * 35.453 / (22.98976928 + 35.453)


def molecules() -> Structure:
    return Structure(Lattice.cubic(LENGTH), ["Na", "Cl"], [[0, 0, 0], [0, 0, BOND]])


def harmonic_of(structure: Structure, evaluate: Molecules) -> PhononDocument:
    plan = plan_displacements(structure, replace_displacement(SMALL))
    return analyse_forces(plan, evaluate(plan.structures), Source(role="none", evaluator="a toy"))


def replace_displacement(settings: PhononSettings) -> PhononSettings:
    return settings.model_copy(update={"displacement": 0.001})


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


@pytest.mark.parametrize("evaluate", [HARD, DOUBLE], ids=["hardening", "double well"])
def test_quartic_oscillators_have_the_gaussian_solution(evaluate: Molecules) -> None:
    cold, hot = 0.0, 600.0
    document = harmonic_of(molecules(), evaluate)
    found = phonons_at_temperatures(
        document, evaluate, TIGHT.model_copy(update={"temperatures": (cold, hot)})
    )
    rest = harmonic_of(molecules(), replace(evaluate, quartic=0.0, curvature=200.0))
    assert document.is_stable == (evaluate is HARD)
    for index, temperature in enumerate((cold, hot)):
        point = found.points[index]
        assert point.is_converged, point
        frequency, free = gaussian(evaluate, temperature)
        assert optical(found, index).mean() == pytest.approx(frequency, rel=0.01)
        assert point.free_energy is not None
        assert point.free_energy_error is not None
        centres = acoustic_free_energy(rest, temperature)
        bond = (2 * point.free_energy / 1000 - centres) / 3
        assert bond == pytest.approx(free, rel=0.01, abs=2e-4)
        # Bogoliubov: the exact free energy lies below that of any Gaussian, here by a few per cent
        true = exact(evaluate, temperature)
        assert true < free
        assert free - true < 0.012
        assert bond > true - 3 * 2 * point.free_energy_error / 3000
    assert found.points[0].lowest_frequency < found.points[1].highest_frequency


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
