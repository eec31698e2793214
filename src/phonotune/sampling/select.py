"""Choose the frames that are worth a label, within a budget; every choice says why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phonotune.errors import ConfigError, FramesError
from phonotune.sampling.pool import Choice, Pool
from phonotune.sampling.select_energy import spread_by_energy
from phonotune.sampling.select_methods import METHODS
from phonotune.sampling.settings import SelectSettings as SelectSettings
from phonotune.schemas.dataset import Candidate, Frame


def select(pool: Pool, settings: SelectSettings, rng: np.random.Generator) -> list[Candidate]:
    """Choose the frames to label.

    Parameters
    ----------
    pool
        Frames of all relaxations, and those that are labelled as they are. Their order does not
        matter; a structure that occurs twice counts once.
    settings
        Method and budget.
    rng
        Source of random numbers, for the method ``random``.

    Returns
    -------
    list of Candidate
        Validation frames, then the chosen ones in the order of the choice, then the fixed ones; with
        reason and score. Fewer than the budget where the pool holds fewer frames.

    Raises
    ------
    ConfigError
        The budget leaves no frame to the method.
    FramesError
        No frame, or one without an energy; the method's features are missing.
    """
    pool = pool.sorted()
    if not pool.frames:
        raise FramesError("No relaxation to select from; give the frames of at least one.")
    valid, rest = pool.split(settings.valid_group)
    if not rest.frames:
        valid, rest = rest, valid
    validating = spread_by_energy(valid.frames, settings.n_valid, settings.span)
    free = settings.budget - len(validating) - len(pool.fixed)
    if free < 1:
        raise ConfigError(
            f"A budget of {settings.budget} labels leaves none to choose: {len(validating)} validate "
            f"and {len(pool.fixed)} are labelled as they are. Raise budget or lower n_valid."
        )
    chosen = choose(rest, free, settings, rng)
    return [
        *(_candidate(valid.frames, c, "validates: ") for c in validating),
        *(_candidate(rest.frames, c) for c in chosen),
        *(Candidate(f.structure, f.group, f.origin, fixed=True) for f in pool.fixed),
    ]


def choose(pool: Pool, n: int, settings: SelectSettings, rng: np.random.Generator) -> list[Choice]:
    """Choose ``n`` frames of a pool by ``settings.method``, whatever their groups.

    Parameters
    ----------
    pool
        As :meth:`~phonotune.sampling.pool.Pool.sorted` returns it: its order breaks ties.
    n
        Frames wanted; all where the pool holds no more.
    settings, rng
        As :func:`select`.

    Raises
    ------
    FramesError
        The method's features are missing.
    """
    method, needs = METHODS[settings.method]
    pool.require(needs, settings.method)
    return method(pool, min(n, len(pool.frames)), settings, rng)


def _candidate(frames: Sequence[Frame], choice: Choice, prefix: str = "") -> Candidate:
    frame = frames[choice.index]
    where = f" ({frame.origin})" if frame.origin else ""
    return Candidate(frame.structure, frame.group, prefix + choice.reason + where, choice.score)
