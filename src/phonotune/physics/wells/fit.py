"""A polynomial fit to energies and forces of a potential well, accurate at low energies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import Polynomial

from phonotune.ports import FloatArray

_HIGHEST: Final = (4, 6, 8)
"""Orders tried one after the other until the misfit is small."""
_SMALL: Final = 5e-4
"""Misfit that counts as small, as a fraction of the energy up to which points have full weight."""
_FULL: Final = 4.0
"""Points up to this many times the depth of the well have full weight."""
_POWER: Final = 4


@dataclass(frozen=True, eq=False)
class WellFit:
    """E(Q) = Σ c_n Q^n.

    Attributes
    ----------
    orders
        shape (n,): 2, 4, 6, 8 for an even curve, else 1 to 8.
    coefficients
        shape (n,), zero above the order that was needed.
    residual
        Largest weighted deviation of an energy from the fit.
    """

    orders: FloatArray
    coefficients: FloatArray
    residual: float

    @property
    def polynomial(self) -> Polynomial:
        """E(Q) as numpy holds it."""
        dense = np.zeros(int(self.orders.max()) + 1)
        dense[self.orders.astype(int)] = self.coefficients
        return Polynomial(dense)

    @property
    def curvature(self) -> float:
        """d²E/dQ² at Q = 0."""
        return float(2 * self.coefficients[self.orders == 2][0])

    def lowest_point(self, low: float, high: float) -> tuple[float, float]:
        """Return Q and E of the lowest point within [low, high]; of equal points, the one nearest to zero."""
        points = np.concatenate([self.stationary(low, high), [low, high]])
        points = points[np.argsort(np.abs(points), kind="stable")]
        values = self.polynomial(points)
        best = int(np.flatnonzero(values <= values.min() + 1e-12 * np.ptp(values))[0])
        return float(points[best]), float(values[best])

    def stationary(self, low: float, high: float) -> FloatArray:
        """Return where dE/dQ = 0 between low and high, ascending."""
        slope = self.polynomial.deriv().trim(0.0)
        roots = np.asarray(slope.roots(), dtype=complex)
        real = roots[np.abs(roots.imag) < 1e-7 * (1e-3 * (high - low) + np.abs(roots))].real
        return np.sort(real[(real > low) & (real < high)])

    def leaves_zero(self, q0: float) -> bool:
        """Return whether a minimum at q0 is a different one from that at zero.

        It is if E(Q) bends down at Q = 0 or has a maximum on the way. Otherwise it is the minimum of a
        single well that is not exactly at zero.
        """
        on_the_way = self.stationary(min(0.0, q0), max(0.0, q0))
        bends = self.polynomial.deriv(2)(np.append(on_the_way, 0.0))
        return bool((bends < 0).any())


def fit_well(
    amplitudes: FloatArray, energies: FloatArray, forces: FloatArray, even: bool
) -> WellFit:
    """Fit a polynomial to energies and forces together, by weighted least squares.

    The lowest order of 4, 6 and 8 that fits is taken. The weight of a point is
    1 / (1 + ((E - E_min) / E_full)⁴), with E_full four times the depth of the lowest point, or more where
    that leaves too few points: the repulsive walls, orders of magnitude above the well, must not determine
    its depth.

    Parameters
    ----------
    amplitudes
        shape (n,), any unit.
    energies
        shape (n,), zero at Q = 0.
    forces
        shape (n,), -dE/dQ.
    even
        Whether E(-Q) = E(Q); otherwise odd orders are fitted too, including the first.
    """
    above = np.sort(energies - energies.min())
    enough = above[min(len(above) - 1, 4 if even else 8)]
    full = float(max(-_FULL * energies.min(), enough, np.finfo(float).tiny))
    weights = 1 / (1 + ((energies - energies.min()) / full) ** _POWER)
    twice = np.concatenate([weights, weights])
    scale = float(np.abs(amplitudes).max())
    x = (amplitudes / scale)[:, None]
    target = np.concatenate([energies, forces * scale])
    for highest in _HIGHEST:
        orders = np.arange(2.0, highest + 1, 2) if even else np.arange(1.0, highest + 1)
        design = np.concatenate([x**orders, -orders * x ** (orders - 1)])
        scaled = np.linalg.lstsq(design * twice[:, None], target * twice, rcond=None)[0]
        residual = float((weights * np.abs(x**orders @ scaled - energies)).max())
        coefficients = scaled / scale**orders
        if residual <= _SMALL * full:
            break
    stored = np.arange(2.0, _HIGHEST[-1] + 1, 2) if even else np.arange(1.0, _HIGHEST[-1] + 1)
    padded = np.zeros(len(stored))
    padded[: len(coefficients)] = coefficients
    return WellFit(stored, padded, residual)


def around_lowest(amplitudes: FloatArray, energies: FloatArray) -> tuple[float, float]:
    """Return the amplitudes on both sides of the lowest point, between which a minimum is sought.

    Farther away the fit is not reliable, since it gives the walls little weight.

    Parameters
    ----------
    amplitudes
        shape (n,), ascending.
    energies
        shape (n,).
    """
    lowest = int(np.argmin(energies))
    return float(amplitudes[max(lowest - 1, 0)]), float(
        amplitudes[min(lowest + 1, len(amplitudes) - 1)]
    )
