"""Learning rates and stopping as pure functions of the history, so that nothing else has to be saved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from phonotune.training.options import Options

PROGRESS = 1e-4
"""A validation loss counts as better for the plateau schedule if it falls by this share."""


@dataclass(frozen=True)
class Stop:
    """Why a training stopped.

    Attributes
    ----------
    kind
        ``"done"`` for good; ``"time"``: ``max_seconds`` is over, a call with more time continues;
        ``"interrupted"`` from outside, the same call continues; ``"diverged"``: the loss exploded or is NaN.
    reason
        The same in words.
    """

    kind: Literal["done", "time", "interrupted", "diverged"]
    reason: str


def learning_rate(options: Options, valid_losses: Sequence[float]) -> float:
    """Return the rate of the next epoch.

    Parameters
    ----------
    options
        The schedule and its numbers.
    valid_losses
        Validation losses so far, epoch 0 (the foundation) first.
    """
    if options.schedule == "cosine":
        done = (len(valid_losses) - 1) / options.max_epochs
        return options.lr * 0.5 * (1.0 + math.cos(math.pi * done))
    if options.schedule == "plateau":
        best, waiting, cuts = math.inf, 0, 0
        for loss in valid_losses:
            if loss < best * (1.0 - PROGRESS):
                best, waiting = loss, 0
                continue
            waiting += 1
            if waiting > options.plateau_patience:
                waiting, cuts = 0, cuts + 1
        return options.lr * options.plateau_factor**cuts
    return options.lr


def best_epoch(valid_losses: Sequence[float]) -> int:
    """Return the first epoch of the lowest validation loss; 0 is the foundation."""
    return min(range(len(valid_losses)), key=valid_losses.__getitem__)


def stop_after(options: Options, valid_losses: Sequence[float], seconds: float) -> Stop | None:
    """Return why to stop before the next epoch, or None.

    Parameters
    ----------
    valid_losses
        Validation losses so far, epoch 0 first.
    seconds
        Time spent so far, over all interrupted runs.
    """
    done = len(valid_losses) - 1
    if done >= options.max_epochs:
        return Stop("done", f"all {options.max_epochs} epochs done")
    if options.patience is not None and done - best_epoch(valid_losses) >= options.patience:
        return Stop("done", f"no better validation loss for {options.patience} epochs")
    if options.max_seconds is not None and seconds >= options.max_seconds:
        return out_of_time(options.max_seconds)
    return None


def out_of_time(max_seconds: float) -> Stop:
    """Return the stop of a training that used up its time."""
    return Stop("time", f"max_seconds={max_seconds:g} reached")
