"""Ridge regression whose strength is found by leaving out one block of data after another."""

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
        How many parameters the data determined, including those without a penalty: the trace of the hat
        matrix.
    error_before, error_after
        Weighted root mean square of the data, and of the error of each block predicted from the others;
        in the unit of the data.
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

        It is normal with covariance (XᵀX/σ² + 1/τ²)⁻¹ (MacKay, Neural Computation 4, 415 (1992)). σ is
        the error on data left out, so that whatever no ridge can fit counts as noise; τ is the size of
        coefficients expected before the data are seen.
        """
        noise = rng.standard_normal(len(self.coefficients))
        decided = self._right.T @ ((self._known - self._unknown) * (self._right @ noise))
        return np.asarray(self.coefficients + self._unknown * noise + decided)


def fit_ridge(
    design: FloatArray, data: FloatArray, blocks: IntArray, weights: FloatArray, free: FloatArray
) -> RidgeFit:
    """Fit ``data = design @ c + free @ b`` with a penalty on c² and none on b².

    The strength of the penalty is the one with the smallest weighted error on blocks left out; of equal
    ones, the strongest.

    Parameters
    ----------
    design
        shape (n_data, n_parameters).
    data
        shape (n_data,).
    blocks
        shape (n_data,), the block of each number; at least two blocks.
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
    determined (a penalty near zero means nothing), at least that of the best-known direction.
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
    """Return U, s and Vᵀ without the directions that the data do not determine."""
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
    """Return the fraction of each direction that a penalty leaves."""
    square = singular**2
    return np.asarray(square / (square + strength * _largest(singular) ** 2))


def _left_out(
    residual: FloatArray, columns: FloatArray, shares: FloatArray, members: Sequence[IntArray]
) -> float:
    """Return the mean squared error of each block predicted from the others.

    The error of block k is exactly (1 - H_kk)⁻¹ r_k with its residual r_k and its block of the hat matrix
    (Golub, Heath and Wahba, Technometrics 21, 215 (1979), for blocks of one), by Woodbury's identity where
    the block has more rows than columns.
    """
    total = 0.0
    for rows in members:
        own, left = columns[rows], residual[rows]
        n, width = own.shape
        try:
            if n <= width:
                error = np.linalg.solve(np.eye(n) - (own * shares) @ own.T, left)
            else:
                small = np.diag(1.0 / shares) - own.T @ own
                error = left + own @ np.linalg.solve(small, own.T @ left)
        except np.linalg.LinAlgError:
            return np.inf
        total += float(np.sum(error**2))
    return total / len(residual)
