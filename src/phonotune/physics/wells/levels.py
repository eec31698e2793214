"""Quantum levels in a one-dimensional potential along a mass-weighted coordinate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from scipy import constants
from scipy.interpolate import CubicHermiteSpline
from scipy.linalg import eigh

from phonotune.physics.wells.fit import WellFit
from phonotune.ports import FloatArray

MEV_PER_THZ: Final[float] = constants.h * 1e12 / constants.e * 1e3
"""Energy (meV) of 1 THz."""
KINETIC: Final[float] = constants.hbar**2 / (2 * constants.atomic_mass * 1e-20) / constants.e * 1e3
"""ħ²/2 in meV·amu·Å²: the kinetic energy is -KINETIC d²/dQ² with Q in Å·sqrt(amu)."""
_POINTS: Final = 401


def levels(
    potential: Callable[[FloatArray], FloatArray],
    low: float,
    high: float,
    kinetic: float = KINETIC,
    points: int = _POINTS,
) -> FloatArray:
    """Return the eigenvalues of -kinetic d²/dQ² + V(Q), ascending, in the unit of V.

    Sinc functions on an equidistant grid (Colbert and Miller, J. Chem. Phys. 96, 1982 (1992)). The wave
    function vanishes outside the range; levels at or above V at one of its ends have no meaning and are
    left out.

    Parameters
    ----------
    potential
        V at an array of Q.
    low, high
        Range of Q.
    kinetic
        ħ²/2m in the units of V and Q.
    points
        Of the grid.
    """
    grid = np.linspace(low, high, points)
    step = grid[1] - grid[0]
    apart = np.arange(points)[:, None] - np.arange(points)[None]
    sign = np.where(apart % 2, -1.0, 1.0)
    squares = np.where(apart == 0, np.pi**2 / 3, 2.0 / np.maximum(apart**2, 1)) * sign
    hamiltonian = kinetic / step**2 * squares + np.diag(potential(grid))
    found = eigh(hamiltonian, eigvals_only=True)
    edge = min(potential(grid[[0, -1]]))
    return np.asarray(found[found < edge])


def sampled_potential(
    fit: WellFit, amplitudes: FloatArray, energies: FloatArray, forces: FloatArray, even: bool
) -> Callable[[FloatArray], FloatArray]:
    """Return E(Q) through all points: the fit plus a spline through its residuals.

    The fit is accurate where energies are low; on the walls the spline (cubic Hermite, from energies and
    slopes) dominates. Valid on the sampled range, on both sides for an even curve.
    """
    poly, slope = fit.polynomial, fit.polynomial.deriv()
    rest = CubicHermiteSpline(amplitudes, energies - poly(amplitudes), -forces - slope(amplitudes))

    def potential(q: FloatArray) -> FloatArray:
        there = np.abs(q) if even else q
        return np.asarray(poly(there) + rest(there))

    return potential


def supercell_levels(
    potential: Callable[[FloatArray], FloatArray], top: tuple[float, float], units: int
) -> FloatArray:
    """Return the levels of the coordinate of a whole supercell, THz relative to E(Q = 0).

    Energies and Q² per formula unit are multiplied by the formula units of the supercell: the barrier is
    that of all its cells moving together, as in a crystal of exactly this size.

    Parameters
    ----------
    potential
        E(Q) in meV per formula unit, Q in Å·sqrt(amu) per formula unit.
    top
        Both ends of the range of Q.
    units
        Formula units in the supercell.
    """
    root = float(np.sqrt(units))
    found = levels(lambda q: units * potential(q / root), top[0] * root, top[1] * root)
    return np.asarray(found / MEV_PER_THZ)
