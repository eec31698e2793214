"""Ridge regression whose penalty is the most likely one, and what is known of its coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from scipy.linalg import orth

from phonotune.ports import FloatArray, IntArray

STRENGTHS: Final = np.exp(np.arange(np.log(1e4), np.log(1e-10), -0.25))
"""Penalties tried, strongest first, in units of the largest squared singular value of the design."""
SHARES: Final = (0.0, *10.0 ** np.arange(-4.0, 4.1))
"""Variances of the nuisance tried, in units in which both parts of the data are equal."""

_RANK_TOLERANCE: Final = 1e-7
_SURPRISE: Final = 2.0
"""By how much, in e-folds, noise may stay below what is expected before it counts as unlikely."""
_DOUBT: Final = 0.25
"""Forces that count for the noise that its weight states, per force of a block."""
_BENEFIT_OF_DOUBT: Final = 3.0
"""A bias is known by its expected variance; a correction is kept where it exceeds so many of them."""


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
        How many of the penalised parameters the data determined.
    error_before, error_after
        Weighted root mean square of the data, and of the error of each block predicted from the others;
        in the unit of the data.
    noise
        Root mean square of what no coefficients explain, at the mean weight, in the unit of the data.
    prior
        Expected square of a coefficient before the data are seen.
    block_noise
        shape (n_blocks,), the variance that each block leaves, in units of what its weight states.
    kept
        Share of the fitted coefficients that is kept, 1 or less (:meth:`shrunk`).
    """

    coefficients: FloatArray
    strength: float
    effective_parameters: float
    error_before: float
    error_after: float
    noise: float
    prior: float
    block_noise: FloatArray
    _right: FloatArray = field(repr=False)
    _known: FloatArray = field(repr=False)
    kept: float = 1.0
    _lost: float = field(default=0.0, repr=False)

    def shrunk(self, bias: float, alike: bool = True) -> RidgeFit:
        """Return the fit without what an error common to all data may have made up.

        Such an error, of the size sqrt(bias) in each coefficient, does not average out. The coefficients
        are kept by the share of their expected square that even a bias of three times this variance
        leaves, and the rest becomes uncertainty: what was seen is either.

        Parameters
        ----------
        bias
            Expected square of the error in a coefficient.
        alike
            Whether blocks are alike, so that nothing is kept if those left out are not predicted better.
        """
        if bias <= 0.0:
            return self
        kept = max(0.0, 1.0 - _BENEFIT_OF_DOUBT * bias / max(self.prior, 1e-300))
        if alike and self.error_after >= self.error_before:
            kept = 0.0
        lost = float(np.sqrt((1.0 - kept) * max(self.prior, bias)))
        return replace(self, coefficients=kept * self.coefficients, kept=kept, _lost=lost)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw coefficients from their posterior distribution, shape (n_parameters,).

        It is normal with covariance (XᵀX/σ² + 1/τ²)⁻¹ (MacKay, Neural Computation 4, 415 (1992)), where σ
        is the noise and τ² the expected square of a coefficient, and what :meth:`shrunk` left out.
        """
        noise, lost = rng.standard_normal((2, len(self.coefficients)))
        own = self._right @ noise
        decided = self._right.T @ (self._known @ own - np.sqrt(self.prior) * own)
        spread = self.kept * (np.sqrt(self.prior) * noise + decided) + self._lost * lost
        return np.asarray(self.coefficients + spread)


def fit_ridge(
    design: FloatArray,
    data: FloatArray,
    blocks: IntArray,
    weights: FloatArray,
    free: FloatArray,
    nuisance: FloatArray | None = None,
    least_noise: float = 0.0,
) -> RidgeFit:
    """Fit ``data = design @ c + nuisance @ a + free @ b`` with penalties on c² and a² and none on b².

    The penalties are those that make the data most likely, the coefficients integrated out (type II maximum
    likelihood: MacKay 1992; restricted, since b is fitted), found on a grid of both.

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
    nuisance
        shape (n_data, n_nuisance), what is fitted with a penalty of its own and then forgotten.
    least_noise
        Noise is expected not to be less: variance at the mean weight, in units of the expected square of
        a coefficient. Few data cannot tell a perfect fit from one with too many parameters.
    """
    root = np.sqrt(weights / weights.mean())[:, None]
    fixed = orth(root * free)
    target = root[:, 0] * data
    beside = np.zeros((len(data), 0)) if nuisance is None else nuisance
    rest, own, other = (a - fixed @ (fixed.T @ a) for a in (target, root * design, root * beside))
    left, singular, right = _decompose(own)
    scaled, k = left * singular, len(singular)
    left, singular_other, _ = _decompose(other)
    other = left * singular_other
    top = _largest(singular) ** 2
    unit = np.sum(singular**2) / max(float(np.sum(singular_other**2)), 1e-300)

    # a rotation keeps the covariance of the data; rows beyond the columns hold noise alone
    y, columns = rest, np.hstack([scaled, other])
    outside, n = 0.0, len(rest) - fixed.shape[1]
    if columns.shape[1] < len(rest):
        turn, columns = np.linalg.qr(columns)
        y = turn.T @ rest
        outside = float(np.sum((rest - turn @ y) ** 2))
    squares, others = columns[:, :k] @ columns[:, :k].T, columns[:, k:] @ columns[:, k:].T
    penalties = STRENGTHS * top
    surprise = np.log(max(least_noise, 1e-300)) - _SURPRISE - np.log(penalties)
    unlikely = np.maximum(surprise, 0.0) ** 2
    best, penalty, share, prior = np.inf, float(penalties[0]), 0.0, 0.0
    for tried in SHARES if len(singular_other) else SHARES[:1]:
        values, vectors = np.linalg.eigh(squares + tried * unit * others)
        variances = np.maximum(values, 0.0) + penalties[:, None]
        misfit = ((vectors.T @ y) ** 2 / variances).sum(axis=1) + outside / penalties
        size = np.log(variances).sum(axis=1) + (n - len(y)) * np.log(penalties)
        costs = n * np.log(np.maximum(misfit, 1e-300)) + size + unlikely
        lowest = int(costs.argmin())
        if costs[lowest] < best:
            best, penalty, share = float(costs[lowest]), float(penalties[lowest]), tried * unit
            prior = float(misfit[lowest]) / n

    # the posterior of all columns, along the directions that the data determine
    u, s, vt = _decompose(np.hstack([scaled, np.sqrt(share) * other]))
    loadings, unknown = u.T @ rest, penalty / (s**2 + penalty)
    found = vt.T @ (loadings * s / (s**2 + penalty))
    columns = np.hstack([fixed, u])
    losses = np.concatenate([np.zeros(fixed.shape[1]), unknown])
    residual = columns @ (losses * (columns.T @ rest))
    # else nothing lies outside the columns, and rounding must not either
    if len(losses) < len(rest):
        residual += rest - u @ loadings
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    seen = vt[:, :k]
    spread = np.eye(k) - (seen.T * (1.0 - unknown)) @ seen
    squared, axes = np.linalg.eigh(spread)
    noise = penalty * prior
    decided = [np.sum(columns[rows] ** 2 * (1.0 - losses)) for rows in members]
    excess = [
        (np.sum(residual[rows] ** 2) / max(noise, 1e-300) + _DOUBT * len(rows))
        / ((1.0 + _DOUBT) * len(rows) - count)
        for rows, count in zip(members, decided, strict=True)
    ]
    return RidgeFit(
        coefficients=right.T @ found[:k],
        strength=penalty / top,
        effective_parameters=float(k - np.trace(spread)),
        error_before=float(np.sqrt(np.mean(target**2))),
        error_after=float(np.sqrt(_left_out(residual, columns, losses, members))),
        noise=float(np.sqrt(noise)),
        prior=prior,
        block_noise=np.array(excess),
        _right=right,
        _known=np.sqrt(prior) * axes * np.sqrt(np.maximum(squared, 0.0)),
    )


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


def _left_out(
    residual: FloatArray, columns: FloatArray, losses: FloatArray, members: Sequence[IntArray]
) -> float:
    """Return the mean squared error of each block predicted from the others.

    The error of block k is exactly (1 - H_kk)⁻¹ r_k with its residual r_k and its block of the hat matrix
    (Golub, Heath and Wahba, Technometrics 21, 215 (1979), for blocks of one), by Woodbury's identity where
    the block has more rows than columns. The hat matrix keeps of each orthonormal column all but its loss.
    """
    total, complete = 0.0, len(losses) >= len(residual)
    for rows in members:
        own, left = columns[rows], residual[rows]
        n, width = own.shape
        try:
            if complete:
                error = np.linalg.solve((own * losses) @ own.T, left)
            elif n <= width:
                error = np.linalg.solve(np.eye(n) - (own * (1.0 - losses)) @ own.T, left)
            else:
                small = np.diag(1.0 / (1.0 - losses)) - own.T @ own
                error = left + own @ np.linalg.solve(small, own.T @ left)
        except np.linalg.LinAlgError:
            return np.inf
        total += float(np.sum(error**2))
    return total / len(residual)
