"""Selection by energy: frames equally spaced along each relaxation (arXiv 2604.01017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from phonotune.sampling.pool import Choice, MethodOptions, Pool
from phonotune.schemas.dataset import Frame

if TYPE_CHECKING:
    pass


def by_energy(pool: Pool, n: int, options: MethodOptions, rng: np.random.Generator) -> list[Choice]:
    """Share the frames equally among the trajectories and space them equally in energy.

    Where the share is not a whole number, the trajectories of the smallest drop in energy per atom get
    one more: they lie nearest to the crystal whose phonons are asked for. A trajectory with fewer
    steps leaves its share to the others. See :func:`spread_by_energy`.
    """
    rows: dict[str, list[int]] = {}
    for index, frame in enumerate(pool.frames):
        rows.setdefault(frame.group, []).append(index)
    members = {group: [pool.frames[i] for i in indices] for group, indices in rows.items()}
    room = [len(steps) if _drop(steps) > 0 else 1 for steps in members.values()]
    drops = np.array([_drop(steps) for steps in members.values()])
    shares = [0] * len(room)
    while sum(shares) < min(n, sum(room)):  # one to each in turn, while it has room
        for i in np.argsort(drops, kind="stable"):
            if shares[i] < room[i] and sum(shares) < n:
                shares[i] += 1
    return [
        Choice(rows[group][choice.index], choice.reason, choice.score)
        for (group, steps), share in zip(members.items(), shares, strict=True)
        for choice in spread_by_energy(steps, share, options.span)
    ]


def spread_by_energy(frames: Sequence[Frame], wanted: int, span: float) -> list[Choice]:
    """Choose frames of one relaxation, equally spaced in energy.

    The wanted energies are spaced equally from the start, which is the highest, to ``span`` of the
    way down to the lowest energy. Frames are assigned to them so that the sum of the differences is
    least; no frame is taken twice. A relaxation that gained no energy gives one frame.

    Parameters
    ----------
    frames
        Steps of one relaxation with energies, eV.
    wanted
        Number of frames; a relaxation with fewer steps gives fewer, and their reasons say so.
    span
        How far down the last of them lies, 0 (start) to 1 (lowest energy).

    Returns
    -------
    list of Choice
        From high to low energy; the score is the share of the way down, 0 to 1.
    """
    if wanted < 1 or not frames:
        return []
    energies = np.array([frame.energy for frame in frames], dtype=float)
    depth = energies.max() - energies.min()
    if depth <= 0.0:
        return [Choice(0, "start of a relaxation that gained no energy", 0.0)]
    down = (energies.max() - energies) / depth
    targets = np.linspace(0.0, span, wanted)
    _, columns = linear_sum_assignment(np.abs(targets[:, None] - down[None, :]))
    rows = sorted(columns, key=lambda i: (down[i], i))
    note = (
        f"; only {len(rows)} of {wanted} frames wanted, the trajectory has no more steps"
        if len(rows) < wanted
        else ""
    )
    return [
        Choice(int(i), f"energy {100 * down[i]:.0f} % of the way down{note}", float(down[i]))
        for i in rows
    ]


def _drop(steps: Sequence[Frame]) -> float:
    """Return how far a relaxation went down, eV/atom."""
    energies = np.array([frame.energy for frame in steps], dtype=float)
    return float(energies.max() - energies.min()) / len(steps[0].structure)
