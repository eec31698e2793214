"""Birch-Murnaghan's third-order equation of state as what it is: a cubic in V^(-2/3).

F. Birch, Phys. Rev. 71, 809 (1947). The polynomial makes the fit linear, its minimum a closed form,
and the volume's derivative by temperature exact: entropies are fitted by the same operator, so that
α is the derivative of the fitted V(T) itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from phonotune.ports import FloatArray

N_COEFFICIENTS: Final[int] = 4


@dataclass(frozen=True, eq=False)
class VolumeFit:
    """The linear operator that turns values at some volumes into a cubic in y = (V/V_r)^(-2/3) - 1.

    Attributes
    ----------
    volumes
        shape (n_v,), Å^3, at least four different ones.
    """

    volumes: FloatArray

    @property
    def reference(self) -> float:
        """V_r, Å^3: the mean volume."""
        return float(self.volumes.mean())

    @property
    def strains(self) -> FloatArray:
        """Strain y of each volume, shape (n_v,); falls as the volume grows."""
        return self.strain_of(self.volumes)

    def strain_of(self, volumes: FloatArray) -> FloatArray:
        """Return y of volumes (Å^3)."""
        return np.asarray((volumes / self.reference) ** (-2 / 3) - 1)

    def volume_of(self, strains: FloatArray) -> FloatArray:
        """Return the volumes (Å^3) of y."""
        return np.asarray(self.reference * (1 + strains) ** -1.5)

    def coefficients(self, values: FloatArray) -> FloatArray:
        """Fit values of shape (n_v, ...) by least squares; returns (4, ...), constant first."""
        return np.asarray(np.tensordot(self._inverse(), values, axes=1))

    def value_table(self) -> FloatArray:
        """Return the matrix (n_v, n_v) that turns values into fitted ones."""
        return np.asarray(powers(self.strains, 0) @ self._inverse())

    def value_weights(self, volume: float) -> FloatArray:
        """Return w, shape (n_v,): the fitted value at a volume (Å^3) is w·values."""
        return np.asarray(powers(self.strain_of(np.asarray(volume)), 0) @ self._inverse())

    def slope_weights(self, volume: float) -> FloatArray:
        """Return w, shape (n_v,): the fitted derivative by volume there is w·values, per Å^3."""
        y = self.strain_of(np.asarray(volume))
        chain = -2 / 3 * (1 + y) / volume
        return np.asarray(chain * (powers(y, 1) @ self._inverse()))

    def minima(self, coefficients: FloatArray) -> FloatArray:
        """Return y of the minimum of each fitted curve, NaN where it has none.

        Parameters
        ----------
        coefficients
            shape (4, n).
        """
        _, c1, c2, c3 = coefficients
        with np.errstate(invalid="ignore", divide="ignore"):
            root = c2 + np.sqrt(c2**2 - 3 * c1 * c3)
            return np.asarray(np.where(root > 0, -c1 / root, np.nan))

    def holds(self, strains: FloatArray) -> FloatArray:
        """Return which y lie within the volumes; NaN does not."""
        known = self.strains
        return np.asarray((strains >= known.min()) & (strains <= known.max()))

    def bulk_modulus(self, coefficients: FloatArray, strains: FloatArray) -> FloatArray:
        """Return V d²F/dV² (energy/Å^3) of curves (4, n) at their minima, shape (n,)."""
        curvature = evaluate(coefficients, strains, 2)
        return np.asarray(curvature * 4 / 9 * (1 + strains) ** 2 / self.volume_of(strains))

    def _inverse(self) -> FloatArray:
        return np.asarray(np.linalg.pinv(powers(self.strains, 0)), dtype=float)


def powers(y: FloatArray, derivative: int) -> FloatArray:
    """Return the derivatives of 1, y, y², y³ by y, shape (..., 4)."""
    orders = np.arange(N_COEFFICIENTS)
    factors = np.ones(N_COEFFICIENTS)
    for step in range(derivative):
        factors = factors * np.maximum(orders - step, 0)
    return np.asarray(factors * np.asarray(y)[..., None] ** np.maximum(orders - derivative, 0))


def evaluate(coefficients: FloatArray, strains: FloatArray, derivative: int = 0) -> FloatArray:
    """Return each curve of (4, n) or its derivative by y at its own y (n,)."""
    return np.asarray(np.einsum("np,pn->n", powers(strains, derivative), coefficients))
