"""Farthest point sampling over atomic environments in the model's own descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from phonotune.sampling.pool import Choice, MethodOptions, Pool

if TYPE_CHECKING:
    from phonotune.ports import FloatArray, IntArray

_ROWS: Final = 2048
"""Environments whose distances are held in memory at a time."""


def farthest(pool: Pool, n: int, options: MethodOptions, rng: np.random.Generator) -> list[Choice]:
    """Take, again and again, the frame whose environments are farthest from all that are chosen.

    An environment is an atom's invariant descriptor; its distance to the chosen frames is that to
    the nearest environment of the same element in any of them, and the distance of a frame is the
    mean over its atoms. Descriptors that are averaged over a frame first would hardly see the
    displacements, which cancel in the average; the largest distance of any atom would chase single
    outliers. Frames that are labelled in any case count as chosen; without any, the frame nearest
    to the mean of all environments comes first.
    """
    descriptors = pool.descriptors or []
    environments = _Environments(pool, descriptors)
    distances = np.full(len(environments.rows), np.inf)
    for frame, rows in zip(pool.fixed, pool.fixed_descriptors, strict=True):
        environments.approach(distances, rows, np.asarray(frame.structure.atomic_numbers))
    choices: list[Choice] = []
    left = np.ones(len(pool.frames), dtype=bool)
    for _ in range(n):
        far = environments.frame_means(distances)
        first = not np.isfinite(far[left]).all()
        scores = -environments.frame_means(environments.off_centre()) if first else far
        index = int(np.argmax(np.where(left, scores, -np.inf)))
        left[index] = False
        reason = (
            "nearest to the mean of all environments"
            if first
            else f"environments {far[index]:.3g} away from those chosen before it, on average"
        )
        choices.append(Choice(index, reason, None if first else float(far[index])))
        numbers = np.asarray(pool.frames[index].structure.atomic_numbers)
        environments.approach(distances, descriptors[index], numbers)
    return choices


class _Environments:
    """All environments of a pool in one array."""

    def __init__(self, pool: Pool, arrays: Sequence[FloatArray]) -> None:
        self.rows: FloatArray = np.concatenate(arrays)
        self.numbers: IntArray = np.concatenate(
            [np.asarray(frame.structure.atomic_numbers) for frame in pool.frames]
        )
        self._sizes = np.array([len(array) for array in arrays])
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])

    def frame_means(self, values: FloatArray) -> FloatArray:
        """Return the mean over the atoms of each frame, shape (n_frames,)."""
        return np.asarray(np.add.reduceat(values, self._starts) / self._sizes)

    def off_centre(self) -> FloatArray:
        """Return the distance of each environment to the mean of its element."""
        distances = np.zeros(len(self.rows))
        for z in np.unique(self.numbers):
            mine = self.numbers == z
            distances[mine] = np.linalg.norm(self.rows[mine] - self.rows[mine].mean(0), axis=1)
        return distances

    def approach(self, distances: FloatArray, rows: FloatArray, numbers: IntArray) -> None:
        """Lower ``distances`` in place to those from new environments of the same element."""
        for z in np.unique(numbers):
            mine = np.flatnonzero(self.numbers == z)
            new = rows[numbers == z]
            for part in (mine[i : i + _ROWS] for i in range(0, len(mine), _ROWS)):
                square = (
                    np.sum(self.rows[part] ** 2, axis=1)[:, None]
                    + np.sum(new**2, axis=1)[None, :]
                    - 2.0 * self.rows[part] @ new.T
                )
                nearest = np.sqrt(np.maximum(square.min(axis=1), 0.0))
                distances[part] = np.minimum(distances[part], nearest)
