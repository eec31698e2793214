"""D-optimal selection: the frames whose forces pin the last-layer weights down most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from phonotune.sampling.pool import Choice, MethodOptions, Pool

if TYPE_CHECKING:
    from phonotune.ports import FloatArray


def d_optimal(pool: Pool, n: int, options: MethodOptions, rng: np.random.Generator) -> list[Choice]:
    """Take, again and again, the frame that raises the log-determinant of the information most.

    The forces of a frame are linear in the last-layer weights, F = J w, so a frame with labels adds
    J^T J to the information matrix of w (equal noise on all forces). Greedy maximisation of its
    log-determinant comes within 1 - 1/e of the best set (Nemhauser, Wolsey and Fisher, Math.
    Program. 14, 265 (1978)). The matrix starts as a multiple of unity (``options.ridge``) plus the
    information of what is labelled in any case.
    """
    gains = [information(j) for j in pool.features or []]
    matrix = start_information(gains, options.ridge)
    matrix += sum((information(j) for j in pool.fixed_features), np.zeros_like(matrix))
    choices: list[Choice] = []
    left = np.ones(len(gains), dtype=bool)
    for _ in range(n):
        added, factor = np.full(len(gains), -np.inf), cho_factor(matrix)
        for i in np.flatnonzero(left):  # log det(matrix + gain) - log det(matrix)
            relative = cho_solve(factor, gains[i])
            added[i] = np.linalg.slogdet(np.eye(len(matrix)) + relative)[1]
        index = int(np.argmax(added))
        left[index] = False
        matrix = matrix + gains[index]
        reason = f"adds {added[index]:.3g} to the log-determinant of the force features"
        choices.append(Choice(index, reason, float(added[index])))
    return choices


def information(features: FloatArray) -> FloatArray:
    """Return J^T J of force features, shape (n_weights, n_weights)."""
    return np.asarray(features.T @ features)


def start_information(gains: Sequence[FloatArray], ridge: float) -> FloatArray:
    """Return the information before the first label: ridge times the mean diagonal of a frame's."""
    scale = float(np.mean([np.trace(g) / len(g) for g in gains]))
    return ridge * (scale or 1.0) * np.eye(len(gains[0]))
