"""Choose frames along relaxations: few, and spread over the energies they pass through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from phonotune.errors import ConfigError, FramesError
from phonotune.schemas.dataset import Candidate, Frame


def select_by_energy(
    frames: Sequence[Frame], per_trajectory: int = 4, span: float = 0.9
) -> list[Candidate]:
    """Take frames of each relaxation, equally spaced in energy (arXiv 2604.01017).

    The wanted energies are spaced equally from the start to ``span`` of the way down to the lowest
    energy of the trajectory. Frames are assigned to them so that the sum of the differences is
    least; no frame is taken twice. A trajectory with fewer steps gives fewer frames, one that does
    not go down its first step only; the reason of each of them says so.

    Parameters
    ----------
    frames
        Steps of one or more relaxations with the energies of the relaxing model, eV; ``group``
        names the trajectory, the frames of which stand in the order of its steps; ``origin``, where
        given, names the step.
    per_trajectory
        Frames wanted of each trajectory.
    span
        How far down the last of them lies, 0 (start) to 1 (lowest energy).

    Returns
    -------
    list of Candidate
        Trajectories in the order of their first frames, steps in order; ``group`` is the
        trajectory's.

    Raises
    ------
    ConfigError
        ``per_trajectory`` below 1, ``span`` outside 0 to 1.
    FramesError
        No frame, or one without an energy.
    """
    if per_trajectory < 1 or not 0.0 < span <= 1.0:
        raise ConfigError(
            f"per_trajectory is {per_trajectory} and span {span}; at least 1 frame and a span "
            "above 0 and up to 1 are needed."
        )
    if not frames:
        raise FramesError("No relaxation to select from; give the frames of at least one.")
    trajectories: dict[str, list[Frame]] = {}
    for frame in frames:
        trajectories.setdefault(frame.group, []).append(frame)
    return [
        candidate
        for group, steps in trajectories.items()
        for candidate in _select(group, steps, per_trajectory, span)
    ]


def _select(group: str, steps: list[Frame], wanted: int, span: float) -> list[Candidate]:
    energies = np.array([_energy(frame, group) for frame in steps])
    depth = energies[0] - energies.min()
    if depth <= 0.0:
        return [Candidate(steps[0].structure, group, "start of a relaxation that gained no energy")]
    way_down = (energies[0] - energies) / depth
    targets = np.linspace(0.0, span, wanted)
    _, columns = linear_sum_assignment(np.abs(targets[:, None] - way_down[None, :]))
    note = (
        f"; only {len(columns)} of {wanted} frames wanted, the trajectory has no more steps"
        if len(columns) < wanted
        else ""
    )
    return [
        Candidate(
            steps[i].structure,
            group,
            f"energy {100 * way_down[i]:.0f} % of the way down ({steps[i].origin or f'step {i}'}){note}",
        )
        for i in sorted(int(c) for c in columns)
    ]


def _energy(frame: Frame, group: str) -> float:
    if frame.energy is None or not np.isfinite(frame.energy):
        raise FramesError(
            f"A step of trajectory {group!r} has energy {frame.energy}; every step needs the "
            "energy of the relaxing model. Relax again."
        )
    return frame.energy
