"""Slack's model of the lattice thermal conductivity, and the acoustic Debye temperature it needs."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import constants

_ACOUSTIC: Final = slice(0, 3)
_PREFACTOR: Final[float] = 0.849 * 3 * 4 ** (1 / 3) / (20 * np.pi**3)
"""Julian's correction of Leibfried and Schlömann's constant, Phys. Rev. 137, A128 (1965)."""
_ANGSTROM_AMU: Final[float] = constants.angstrom * constants.atomic_mass


def acoustic_debye_temperature(frequencies: ArrayLike, weights: ArrayLike) -> float:
    """Return Θ_a (K) from the second moment of the three lowest branches.

    Θ_a² = (5/3) (h/k)² <ν²>: the temperature of the Debye spectrum of the same second moment (Slack,
    Solid State Physics 34, 1 (1979)).

    Parameters
    ----------
    frequencies
        shape (n_q, n_modes), THz, ascending.
    weights
        shape (n_q,), multiplicity of each q-point.
    """
    nu = np.maximum(np.asarray(frequencies, dtype=float)[:, _ACOUSTIC], 0.0)
    moment = np.average(np.mean(nu**2, axis=1), weights=np.asarray(weights, dtype=float))
    return float(np.sqrt(5 / 3 * moment) * 1e12 * constants.h / constants.k)


def slack_conductivity(
    debye_temperature: float,
    gruneisen: float,
    mean_mass: float,
    cell_volume: float,
    temperature: float,
) -> float:
    """Return the lattice thermal conductivity (W/m/K) of Slack's model.

    κ = A M Θ_a³ δ n^(1/3) / (γ² T) with the volume per atom δ³, n atoms in the primitive cell (so that
    δ n^(1/3) is the cube root of its volume) and A = 2.43e-6 / (1 - 0.514/γ + 0.228/γ²) for amu, Å and
    K (Morelli and Slack, in High Thermal Conductivity Materials, Springer 2006, chapter 2). With the
    Debye temperature of all modes, Θ = n^(1/3) Θ_a, the same formula has n^(-2/3).

    Parameters
    ----------
    debye_temperature
        Θ_a of the acoustic branches, K.
    gruneisen
        γ of the acoustic branches, > 0.
    mean_mass
        Mean mass of an atom, amu.
    cell_volume
        Volume of the primitive cell, Å^3.
    temperature
        T, K; the model is meant for T near Θ_a and above.
    """
    shape = 1 - 0.514 / gruneisen + 0.228 / gruneisen**2
    frequency = constants.k / constants.hbar
    scale = _PREFACTOR / shape * frequency**3 * _ANGSTROM_AMU
    return float(
        scale
        * debye_temperature**3
        * mean_mass
        * np.cbrt(cell_volume)
        / (gruneisen**2 * temperature)
    )
