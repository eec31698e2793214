"""The universal equation of state of Vinet and others, fitted by least squares.

P. Vinet, J. H. Rose, J. Ferrante and J. R. Smith, J. Phys.: Condens. Matter 1, 1941 (1989):
E = E₀ + 9 B₀ V₀ / ξ² {1 + (u - 1) exp(u)}, u = ξ (1 - (V/V₀)^(1/3)), ξ = 3/2 (B₀' - 1).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import least_squares

from phonotune.ports import FloatArray

_START: Final = 4.5
"""Start of ξ in a fit: B₀' = 4."""
_STEP: Final = 1e-5
"""Relative step of the second derivatives."""
_TOLERANCE: Final = 1e-14


def vinet_energy(parameters: FloatArray, volumes: FloatArray) -> FloatArray:
    """Return E (eV) at volumes (Å^3), shape (n_v,).

    Parameters
    ----------
    parameters
        E₀ (eV), V₀ (Å^3), B₀ (eV/Å^3), ξ.
    volumes
        shape (n_v,).
    """
    e0, v0, b0, xi = parameters
    u = xi * (1 - np.cbrt(volumes / v0))
    return np.asarray(e0 + 9 * b0 * v0 / xi**2 * (1 + (u - 1) * np.exp(u)))


def vinet_slopes(parameters: FloatArray, volumes: FloatArray) -> FloatArray:
    """Return the derivatives of :func:`vinet_energy` by its parameters, shape (n_v, 4)."""
    _, v0, b0, xi = parameters
    eta = np.cbrt(volumes / v0)
    u = xi * (1 - eta)
    shape, slope = 1 + (u - 1) * np.exp(u), u * np.exp(u)
    scale = 9 * b0 * v0 / xi**2
    by_v0 = scale / v0 * (shape + slope * xi * eta / 3)
    by_xi = scale * (slope * (1 - eta) - 2 * shape / xi)
    return np.column_stack([np.ones_like(eta), by_v0, scale / b0 * shape, by_xi])


def fit_vinet(volumes: FloatArray, energies: FloatArray, v0: float, b0: float) -> FloatArray:
    """Fit one curve; NaN if the fit does not end at a minimum.

    Parameters
    ----------
    volumes, energies
        shape (n_v,), Å^3 and eV.
    v0, b0
        Where the fit begins, Å^3 and eV/Å^3.

    Returns
    -------
    shape (4,): E₀, V₀, B₀, ξ.
    """
    lowest = float(energies.min())  # small numbers keep their digits
    found = least_squares(
        lambda p: vinet_energy(p, volumes) - (energies - lowest),
        [0.0, v0, b0, _START],
        lambda p: vinet_slopes(p, volumes),
        x_scale=[1e-2, v0, b0, 1.0],
        method="lm",
        xtol=_TOLERANCE,
        ftol=_TOLERANCE,
        gtol=_TOLERANCE,
    )
    fitted = np.asarray(found.x + np.array([lowest, 0.0, 0.0, 0.0]))
    usable = np.isfinite(fitted).all() and fitted[1] > 0 and fitted[2] > 0
    return fitted if usable else np.full(4, np.nan)


def vinet_response(parameters: FloatArray, volumes: FloatArray, energies: FloatArray) -> FloatArray:
    """Return the derivatives of the fitted parameters by the energies, ∂p/∂E, shape (4, n_v).

    Exact for least squares: the curvature of the residuals is included.

    Parameters
    ----------
    parameters
        shape (4,), as fitted.
    volumes, energies
        shape (n_v,), what was fitted.
    """
    jacobian = vinet_slopes(parameters, volumes)
    residual = vinet_energy(parameters, volumes) - energies
    steps = _STEP * np.maximum(np.abs(parameters), 1e-3)
    bend = []
    for step in np.diag(steps):
        ahead = vinet_slopes(parameters + step, volumes).T @ residual
        behind = vinet_slopes(parameters - step, volumes).T @ residual
        bend.append((ahead - behind) / (2 * step.sum()))
    hessian = jacobian.T @ jacobian + np.array(bend)
    scale = 1 / np.linalg.norm(jacobian, axis=0)  # columns of one length invert without loss
    scaled = np.linalg.solve(scale[:, None] * hessian * scale, scale[:, None] * jacobian.T)
    return np.asarray(scale[:, None] * scaled)
