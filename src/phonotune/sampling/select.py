"""Choose the frames that are worth a label, within a budget; every choice tells why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import Field, field_validator

from phonotune.errors import ConfigError, FramesError, unknown_name
from phonotune.sampling.pool import Choice, Method, Needs, Pool
from phonotune.sampling.select_doptimal import d_optimal
from phonotune.sampling.select_energy import by_energy, spread_by_energy
from phonotune.sampling.select_farthest import farthest
from phonotune.schemas.base import Part
from phonotune.schemas.dataset import Candidate, Frame
from phonotune.units import Dimensionless


def at_random(
    pool: Pool, n: int, settings: SelectSettings, rng: np.random.Generator
) -> list[Choice]:
    """Draw frames with equal chances: the baseline of every other method."""
    drawn = rng.permutation(len(pool.frames))[:n]
    return [Choice(int(i), f"drawn at random from {len(pool.frames)} frames") for i in drawn]


METHODS: Final[dict[str, tuple[Method, Needs]]] = {
    "energy": (by_energy, None),
    "fps": (farthest, "descriptors"),
    "doptimal": (d_optimal, "force features"),
    "random": (at_random, None),
}
"""Methods by name: a function of pool, number, settings and generator, and what the model must give."""


class SelectSettings(Part):
    """Which frames of a set of relaxations are labelled.

    The budget counts every label: the validation frames and what is labelled as it is (the small
    rattles) come first, the method chooses the rest. With the defaults of the sampling that is
    4 + 2 + 14 = 20.
    """

    method: str = Field(
        default="energy",
        description="energy (equally spaced along each relaxation), fps (farthest point in the "
        "model's descriptors), doptimal (greedy log-det of force features) or random",
    )
    budget: int = Field(default=20, ge=1, description="labels in all")
    n_valid: int = Field(
        default=4,
        ge=0,
        description="labels of valid_group, equally spaced in energy whatever the method",
    )
    valid_group: str = Field(
        default="volume +0.0 %", description="the trajectory that validates; it never trains"
    )
    span: Dimensionless = Field(
        default=0.9, gt=0, le=1, description="share of the way down in energy that frames cover"
    )
    ridge: Dimensionless = Field(
        default=1e-3,
        gt=0,
        description="regularisation of the information matrix, in units of the mean diagonal that "
        "one frame of the pool adds (doptimal)",
    )

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        if method not in METHODS:
            raise unknown_name("selection method", method, METHODS)
        return method

    @property
    def needs(self) -> Needs:
        """What a model must compute of the frames: descriptors, force features or nothing."""
        return METHODS[self.method][1]


def select(pool: Pool, settings: SelectSettings, rng: np.random.Generator) -> list[Candidate]:
    """Choose the frames to label.

    Parameters
    ----------
    pool
        Frames of all relaxations, and those that are labelled as they are. Their order does not
        matter; a structure that is there twice counts once.
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
