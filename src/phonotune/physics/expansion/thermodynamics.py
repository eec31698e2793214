"""Quasi-harmonic thermodynamics of a crystal whose frequencies are known at several volumes.

F(V, T) = E(V) + F_vib(V, T) is minimised at each temperature (zero pressure); see Wallace,
Thermodynamics of Crystals (1972), and Togo et al., Phys. Rev. B 81, 174301 (2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import constants

from phonotune.errors import PhonotuneError
from phonotune.physics.expansion.equation_of_state import (
    EquationOfState,
    VolumeFit,
    find_minima,
)
from phonotune.physics.thermal import CUTOFF, thermal_curves
from phonotune.ports import FloatArray
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA

_EV_IN_J_PER_MOLE: Final[float] = constants.e * constants.N_A


@dataclass(frozen=True, eq=False)
class ExpansionCurves:
    """A crystal at zero pressure against temperature; volumes and moles refer to formula units.

    Attributes
    ----------
    fit
        The operator behind all fits by volume.
    temperatures
        shape (n_t,), K: from the first one given to the last whose volume is within the range.
    free_energies
        shape (n_t, n_v), eV: static and vibrational, at the volumes given.
    volumes
        shape (n_t,), Å^3, of the minimum.
    gibbs
        shape (n_t,), kJ/mol, the free energy at the minimum.
    bulk_moduli
        shape (n_t,), isothermal, GPa.
    expansions
        shape (n_t,), of the volume, 1/K.
    entropies, heat_capacities, heat_capacities_pressure
        shape (n_t,), S, C_v and C_p at the minimum, J/K/mol.
    gruneisen
        shape (n_t,), α B V / C_v; 0 where C_v is 0.
    fit_residual
        Largest deviation of the fitted from the given free energies, eV.
    """

    fit: VolumeFit
    temperatures: FloatArray
    free_energies: FloatArray
    volumes: FloatArray
    gibbs: FloatArray
    bulk_moduli: FloatArray
    expansions: FloatArray
    entropies: FloatArray
    heat_capacities: FloatArray
    heat_capacities_pressure: FloatArray
    gruneisen: FloatArray
    fit_residual: float


@dataclass(frozen=True, eq=False)
class StaticMinimum:
    """Minimum of the energy without vibrations: volume (Å^3) and bulk modulus (GPa)."""

    volume: float
    bulk_modulus: float


def static_minimum(
    volumes: ArrayLike, energies: ArrayLike, equation: EquationOfState = "birch-murnaghan"
) -> StaticMinimum:
    """Fit an equation of state to static energies.

    Parameters
    ----------
    volumes
        shape (n_v,), Å^3.
    energies
        shape (n_v,), eV, of the same amount of crystal.
    equation
        Which form is fitted.

    Raises
    ------
    PhonotuneError
        The fitted curve has no minimum in the range of volumes or within half of it beyond.
    """
    fit = VolumeFit(np.asarray(volumes, dtype=float))
    found = find_minima(fit, np.asarray(energies, dtype=float)[:, None], equation)
    if not found.within(*fit.near())[0]:
        raise PhonotuneError(
            "The static energy has no minimum near the volumes "
            f"{fit.volumes.min():.2f} to {fit.volumes.max():.2f} Å^3 per formula unit. "
            "Relax the cell with this evaluator first, or plan other volumes."
        )
    modulus = found.moduli[0] * EV_PER_CUBIC_ANGSTROM_IN_GPA
    return StaticMinimum(float(found.volumes[0]), float(modulus))


def expansion_curves(
    volumes: ArrayLike,
    energies: ArrayLike,
    frequencies: ArrayLike,
    weights: ArrayLike,
    temperatures: ArrayLike,
    formula_units: int,
    equation: EquationOfState = "birch-murnaghan",
) -> ExpansionCurves:
    """Minimise the quasi-harmonic free energy at each temperature.

    Parameters
    ----------
    volumes
        shape (n_v,), Å^3 per formula unit, at least four different ones, in any order.
    energies
        shape (n_v,), static, eV per formula unit.
    frequencies
        shape (n_v, n_q, n_modes), THz; modes below ``CUTOFF`` are left out.
    weights
        shape (n_q,), multiplicity of each q-point.
    temperatures
        shape (n_t,), K, ascending.
    formula_units
        Formula units in the cell of the frequencies.
    equation
        Which form is fitted to the free energies. Heat capacities are interpolated by a cubic in
        V^(-2/3) with either.

    Raises
    ------
    PhonotuneError
        The minimum lies outside the volumes already at the first temperature.
    """
    fit = VolumeFit(np.asarray(volumes, dtype=float))
    t = np.asarray(temperatures, dtype=float)
    curves = [
        thermal_curves(nu, weights, t, formula_units) for nu in np.asarray(frequencies, dtype=float)
    ]
    vibrational = np.array([c.helmholtz for c in curves]) * 1000 / _EV_IN_J_PER_MOLE
    free = np.asarray(energies, dtype=float)[:, None] + vibrational
    found = find_minima(fit, free, equation)
    held = found.within(float(fit.volumes.min()), float(fit.volumes.max()))
    n = int(np.argmin(held)) if not held.all() else len(t)
    if n == 0:
        low, high = fit.volumes.min(), fit.volumes.max()
        raise PhonotuneError(
            f"The free energy at {t[0]:g} K has no minimum between {low:.2f} and {high:.2f} Å^3 per "
            f"formula unit; it is lowest at {fit.volumes[np.argmin(free[:, 0])]:.2f} Å^3. Relax the "
            "cell with this evaluator first, or plan volumes on that side."
        )
    found, t, free = found.first(n), t[:n], free[:, :n]
    entropies = np.array([c.entropy[:n] for c in curves]) / _EV_IN_J_PER_MOLE
    capacities = np.array([c.heat_capacity[:n] for c in curves]) / _EV_IN_J_PER_MOLE
    # dF/dT = -S at every volume: the minimum follows by its response
    growth = -np.einsum("tv,vt->t", found.volume_response, entropies) + 0.0  # no minus zero
    expansions = growth / found.volumes
    entropy = np.einsum("tv,vt->t", found.value_response, entropies)
    capacity = fit.at(found.volumes, capacities)
    work = expansions * found.moduli * found.volumes
    warm = capacity > 0
    return ExpansionCurves(
        fit=fit,
        temperatures=t,
        free_energies=free.T,
        volumes=found.volumes,
        gibbs=found.values * _EV_IN_J_PER_MOLE / 1000,
        bulk_moduli=found.moduli * EV_PER_CUBIC_ANGSTROM_IN_GPA,
        expansions=expansions,
        entropies=entropy * _EV_IN_J_PER_MOLE,
        heat_capacities=capacity * _EV_IN_J_PER_MOLE,
        heat_capacities_pressure=(capacity + expansions * work * t) * _EV_IN_J_PER_MOLE,
        gruneisen=np.where(warm, work / np.where(warm, capacity, 1.0), 0.0),
        fit_residual=float(np.abs(found.fitted - free).max()),
    )


def mode_heat_capacities(frequencies: FloatArray, temperature: float) -> FloatArray:
    """Return the heat capacity of each mode in units of k, 0 below ``CUTOFF``.

    Parameters
    ----------
    frequencies
        any shape, THz.
    temperature
        K, > 0.
    """
    counted = frequencies > CUTOFF
    quanta = constants.h * 1e12 * np.where(counted, frequencies, 1.0)
    half = quanta / (2 * constants.k * temperature)
    small = np.exp(-2 * half)
    return np.asarray(np.where(counted, 4 * half**2 * small / np.expm1(-2 * half) ** 2, 0.0))


def mean_gruneisen(
    gruneisen: FloatArray, capacities: FloatArray, weights: FloatArray, order: int = 1
) -> float:
    """Return <γ^order>^(1/order) over modes, weighted by heat capacities.

    Parameters
    ----------
    gruneisen, capacities
        shape (n_q, n_modes).
    weights
        shape (n_q,).
    order
        1 for the mean, 2 for the root mean square.
    """
    shares = capacities * weights[:, None]
    return float((np.sum(shares * gruneisen**order) / np.sum(shares)) ** (1 / order))
