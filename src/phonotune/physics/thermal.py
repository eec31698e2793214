"""Harmonic thermodynamics from frequencies (Wallace, Thermodynamics of Crystals, 1972, sec. 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import constants

from phonotune.ports import FloatArray

CUTOFF: Final[float] = 0.01
"""Modes below this (THz) are left out: imaginary ones, and the acoustic ones at Γ (zero)."""


@dataclass(frozen=True, eq=False)
class ThermalCurves:
    """Harmonic free energy, entropy and heat capacity, per mole of formula units.

    Attributes
    ----------
    temperatures
        shape (n_t,), K.
    helmholtz
        shape (n_t,), kJ/mol, zero-point energy included.
    entropy
        shape (n_t,), J/K/mol.
    heat_capacity
        shape (n_t,), C_v, J/K/mol.
    """

    temperatures: FloatArray
    helmholtz: FloatArray
    entropy: FloatArray
    heat_capacity: FloatArray


def thermal_curves(
    frequencies: ArrayLike,
    weights: ArrayLike,
    temperatures: ArrayLike,
    formula_units: int,
    cutoff: float = CUTOFF,
) -> ThermalCurves:
    """Sum the harmonic oscillators of a weighted q-mesh.

    Parameters
    ----------
    frequencies
        shape (n_q, n_modes), THz, negative where imaginary.
    weights
        shape (n_q,), multiplicity of each q-point.
    temperatures
        shape (n_t,), K, >= 0.
    formula_units
        Formula units in the primitive cell.
    cutoff
        Modes below this frequency (THz) are left out and not replaced, as phonopy does.
    """
    nu = np.asarray(frequencies, dtype=float)
    share = np.broadcast_to(np.asarray(weights, dtype=float)[:, None], nu.shape) / np.sum(weights)
    kept = nu > cutoff
    quanta = constants.h * nu[kept] * 1e12
    share = share[kept]
    t = np.asarray(temperatures, dtype=float)
    zero_point = np.full(t.shape, 0.5 * share @ quanta)
    helmholtz, entropy, heat_capacity = zero_point, np.zeros_like(t), np.zeros_like(t)
    warm = t > 0
    x = quanta[None, :] / (constants.k * t[warm, None])
    log_term = np.log1p(-np.exp(-x))
    occupation = np.exp(-x) / -np.expm1(-x)
    helmholtz[warm] += constants.k * t[warm] * (log_term @ share)
    entropy[warm] = constants.k * ((x * occupation - log_term) @ share)
    heat_capacity[warm] = constants.k * ((x**2 * occupation * (occupation + 1)) @ share)
    per_mole = constants.N_A / formula_units
    return ThermalCurves(
        t, helmholtz * per_mole / 1000, entropy * per_mole, heat_capacity * per_mole
    )
