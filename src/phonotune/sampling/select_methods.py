"""The methods of selection by name: a new one is a function of a pool and a row here."""

from __future__ import annotations

from typing import Final

import numpy as np

from phonotune.sampling.pool import Choice, Method, MethodOptions, Needs, Pool
from phonotune.sampling.select_doptimal import d_optimal
from phonotune.sampling.select_energy import by_energy
from phonotune.sampling.select_farthest import farthest


def at_random(pool: Pool, n: int, options: MethodOptions, rng: np.random.Generator) -> list[Choice]:
    """Draw frames with equal chances: the baseline of every other method."""
    drawn = rng.permutation(len(pool.frames))[:n]
    return [Choice(int(i), f"drawn at random from {len(pool.frames)} frames") for i in drawn]


METHODS: Final[dict[str, tuple[Method, Needs]]] = {
    "energy": (by_energy, None),
    "fps": (farthest, "descriptors"),
    "doptimal": (d_optimal, "force features"),
    "random": (at_random, None),
}
"""Methods by name: a function of pool, number, options and generator, and what the model must give."""
