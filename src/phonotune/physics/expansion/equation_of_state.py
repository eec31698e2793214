"""Minima of energy against volume by an equation of state, and their derivatives by the energies.

The third-order equation of Birch and Murnaghan is a cubic in V^(-2/3) (F. Birch, Phys. Rev. 71, 809
(1947)), so that the fit is linear and its minimum has a closed form. Vinet's form is fitted by least
squares. In both cases the derivative of the minimum by the energies is exact, so that α is the derivative
of the fitted V(T) itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from phonotune.physics.expansion.vinet import (
    fit_vinet,
    vinet_energy,
    vinet_response,
)
from phonotune.ports import FloatArray

N_COEFFICIENTS: Final[int] = 4

EquationOfState = Literal["birch-murnaghan", "vinet"]
"""Birch and Murnaghan, third order; or Vinet's universal form."""


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

    def at(self, volumes: FloatArray, values: FloatArray) -> FloatArray:
        """Return each fitted curve of values (n_v, n) at its own volume (n,), Å^3."""
        return evaluate(self.coefficients(values), self.strain_of(volumes))

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

    def near(self) -> tuple[float, float]:
        """Return the range of the volumes with half of it more on each side, Å^3."""
        margin = 0.5 * float(np.ptp(self.volumes))
        return float(self.volumes.min()) - margin, float(self.volumes.max()) + margin

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


@dataclass(frozen=True, eq=False)
class Minima:
    """Minima of several curves of energy against volume, NaN where a curve has none.

    Attributes
    ----------
    volumes
        shape (n,), Å^3.
    values
        shape (n,), eV, at the minima.
    moduli
        shape (n,), V d²E/dV², eV/Å^3.
    fitted
        shape (n_v, n), the fitted curves at the volumes given, eV.
    volume_response
        shape (n, n_v), derivative of the volume by each energy, Å^3/eV.
    value_response
        shape (n, n_v), derivative of the value by each energy.
    """

    volumes: FloatArray
    values: FloatArray
    moduli: FloatArray
    fitted: FloatArray
    volume_response: FloatArray
    value_response: FloatArray

    def within(self, low: float, high: float) -> NDArray[np.bool_]:
        """Return which minima lie between two volumes; NaN does not."""
        return np.asarray((self.volumes >= low) & (self.volumes <= high))

    def first(self, n: int) -> Minima:
        """Return the minima of the first ``n`` curves."""
        return Minima(
            volumes=self.volumes[:n],
            values=self.values[:n],
            moduli=self.moduli[:n],
            fitted=self.fitted[:, :n],
            volume_response=self.volume_response[:n],
            value_response=self.value_response[:n],
        )


def find_minima(fit: VolumeFit, energies: FloatArray, equation: EquationOfState) -> Minima:
    """Fit curves by an equation of state and return their minima.

    Parameters
    ----------
    fit
        The volumes.
    energies
        shape (n_v, n), eV, one curve per column.
    equation
        Which form.
    """
    coefficients = fit.coefficients(energies)
    y = fit.minima(coefficients)
    volumes = fit.volume_of(y)
    inverse = fit.coefficients(np.eye(len(fit.volumes)))
    turn = -(powers(y, 1) @ inverse) / evaluate(coefficients, y, 2)[:, None]
    cubic = Minima(
        volumes=volumes,
        values=evaluate(coefficients, y),
        moduli=fit.bulk_modulus(coefficients, y),
        fitted=fit.value_table() @ energies,
        volume_response=(-1.5 * volumes / (1 + y))[:, None] * turn,
        value_response=powers(y, 0) @ inverse,
    )
    if equation == "birch-murnaghan":
        return cubic
    # Vinet's form starts from the minimum of Birch and Murnaghan, if there is one nearby
    found = np.full((energies.shape[1], N_COEFFICIENTS), np.nan)
    responses = np.full((len(found), N_COEFFICIENTS, len(energies)), np.nan)
    fitted = np.full(energies.shape, np.nan)
    for n in np.flatnonzero(cubic.within(*fit.near()) & (cubic.moduli > 0)):
        found[n] = fit_vinet(fit.volumes, energies[:, n], cubic.volumes[n], cubic.moduli[n])
        if np.isfinite(found[n]).all():
            responses[n] = vinet_response(found[n], fit.volumes, energies[:, n])
            fitted[:, n] = vinet_energy(found[n], fit.volumes)
    values, volumes, moduli, _ = found.T
    return Minima(volumes, values, moduli, fitted, responses[:, 1], responses[:, 0])
