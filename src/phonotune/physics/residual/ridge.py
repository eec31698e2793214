"""Ridge regression whose strength is found by leaving out one block of data after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.linalg import orth

from phonotune.ports import FloatArray, IntArray

STRENGTHS: Final = 10.0 ** np.arange(4.0, -10.1, -0.5)
"""Strengths tried, strongest first, in units of the largest squared singular value of the design."""

_RANK_TOLERANCE: Final = 1e-7


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Coefficients of a ridge regression, and how well they are known.

    Attributes
    ----------
    coefficients
        shape (n_parameters,).
    strength
        The penalty on their squares, in units of the largest squared singular value of the design.
    effective_parameters
        How many parameters the data decided, those without a penalty included: the trace of the hat
        matrix.
    error_before, error_after
        Weighted root mean square of the data, and of what is left of a block of them when it is
        predicted from the other blocks; in the unit of the data.
    """

    coefficients: FloatArray
    strength: float
    effective_parameters: float
    error_before: float
    error_after: float
    _right: FloatArray = field(repr=False)
    _known: FloatArray = field(repr=False)
    _unknown: float = field(repr=False)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw coefficients from their posterior distribution, shape (n_parameters,).

        Normal with covariance (XᵀX/σ² + 1/τ²)⁻¹ (MacKay, Neural Computation 4, 415 (1992)); σ is the
        error on data left out, so that what no ridge can fit counts as noise, and τ the size that
        coefficients have before the data are seen.
        """
        noise = rng.standard_normal(len(self.coefficients))
        decided = self._right.T @ ((self._known - self._unknown) * (self._right @ noise))
        return np.asarray(self.coefficients + self._unknown * noise + decided)


def fit_ridge(
    design: FloatArray, data: FloatArray, blocks: IntArray, weights: FloatArray, free: FloatArray
) -> RidgeFit:
    """Fit ``data = design @ c + free @ b`` with a penalty on c² and none on b².

    The strength of the penalty is the one with the least weighted error on blocks left out, the
    strongest of equals.

    Parameters
    ----------
    design
        shape (n_data, n_parameters).
    data
        shape (n_data,).
    blocks
        shape (n_data,), which block a number belongs to; at least two blocks.
    weights
        shape (n_data,), inverse variances up to a factor.
    free
        shape (n_data, n_free), what is fitted without a penalty.
    """
    root = np.sqrt(weights / weights.mean())[:, None]
    fixed = orth(root * free)
    target = root[:, 0] * data
    rest, scaled = (a - fixed @ (fixed.T @ a) for a in (target, root * design))
    left, singular, right = _decompose(scaled)
    loadings = left.T @ rest
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    everything = np.hstack([fixed, left])
    best, strength = np.inf, float(STRENGTHS[0])
    for tried in STRENGTHS:
        share = _share(singular, tried)
        residual = rest - left @ (share * loadings)
        shares = np.concatenate([np.ones(fixed.shape[1]), share])
        error = _left_out(residual, everything, shares, members)
        if error < best * (1 - 1e-9):
            best, strength = error, float(tried)
    share = _share(singular, strength)
    coefficients = right.T @ (share * loadings / singular)
    known, unknown = _deviations(singular, strength, best, coefficients, float(share.sum()))
    return RidgeFit(
        coefficients=coefficients,
        strength=strength,
        effective_parameters=float(share.sum() + fixed.shape[1]),
        error_before=float(np.sqrt(np.mean(target**2))),
        error_after=float(np.sqrt(best)),
        _right=right,
        _known=known,
        _unknown=unknown,
    )


def _deviations(
    singular: FloatArray, strength: float, noise: float, coefficients: FloatArray, decided: float
) -> tuple[FloatArray, float]:
    """Return standard deviations along the singular directions, and along all others.

    The prior variance of a coefficient is noise / penalty, at most the mean square of what the data
    decided (a penalty near zero says nothing), at least that of the best-known direction.
    """
    if noise == 0.0:
        return np.zeros(len(singular)), 0.0
    top = _largest(singular) ** 2 / noise
    typical = decided / max(float(coefficients @ coefficients), 1e-300)
    prior = min(top, max(strength * top, typical))
    return 1.0 / np.sqrt(singular**2 / noise + prior), float(1.0 / np.sqrt(prior))


def least_squares(design: FloatArray, data: FloatArray) -> FloatArray:
    """Return the coefficients of the plain fit; those of least norm where it is not unique.

    Parameters
    ----------
    design
        shape (n_data, n_parameters).
    data
        shape (n_data,).
    """
    left, singular, right = _decompose(design)
    return np.asarray(right.T @ ((left.T @ data) / singular))


def _decompose(design: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return U, s and Vᵀ without the directions that the data say nothing about."""
    if len(design) < design.shape[1]:  # far cheaper than a decomposition of all columns
        squares, left = np.linalg.eigh(design @ design.T)
        singular = np.sqrt(np.maximum(squares, 0.0))
        kept = singular > _RANK_TOLERANCE * _largest(singular)
        return left[:, kept], singular[kept], left[:, kept].T @ design / singular[kept][:, None]
    left, singular, right = np.linalg.svd(design, full_matrices=False)
    kept = singular > _RANK_TOLERANCE * _largest(singular)
    return left[:, kept], singular[kept], right[kept]


def _largest(singular: FloatArray) -> float:
    return float(singular.max(initial=0.0)) or 1.0


def _share(singular: FloatArray, strength: float) -> FloatArray:
    """Return how much of each direction a penalty leaves."""
    square = singular**2
    return np.asarray(square / (square + strength * _largest(singular) ** 2))


def _left_out(
    residual: FloatArray, columns: FloatArray, shares: FloatArray, members: Sequence[IntArray]
) -> float:
    """Return the mean squared error of each block predicted from the others.

    What is left of block k is exactly (1 - H_kk)⁻¹ r_k with its residual r_k and its block of the
    hat matrix (Golub, Heath and Wahba, Technometrics 21, 215 (1979), for blocks of one).
    """
    total = 0.0
    for rows in members:
        try:
            total += float(np.sum(_without_own(residual[rows], columns[rows], shares) ** 2))
        except np.linalg.LinAlgError:
            return np.inf
    return total / len(residual)


def _without_own(residual: FloatArray, own: FloatArray, shares: FloatArray) -> FloatArray:
    """Return (1 - V D Vᵀ)⁻¹ r, by Woodbury's identity where V has fewer columns than rows."""
    n, width = own.shape
    if n <= width:
        return np.asarray(np.linalg.solve(np.eye(n) - (own * shares) @ own.T, residual))
    small = np.diag(1.0 / shares) - own.T @ own
    return np.asarray(residual + own @ np.linalg.solve(small, own.T @ residual))
