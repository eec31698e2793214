"""What ends a training from outside: SIGTERM, a scheduler's walltime, the time it was given.

Asked after every step. Slurm announces the end of a job as ``SLURM_JOB_END_TIME`` (seconds since
1970), and sends SIGTERM before it kills.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, time
from types import FrameType
from typing import Final

from phonotune.errors import ConfigError
from phonotune.settings import get_settings
from phonotune.training.options import Options
from phonotune.training.schedule import Stop, out_of_time

END_TIME: Final = "SLURM_JOB_END_TIME"


@dataclass(eq=False)
class Interruption:
    """Signals and the walltime of this process.

    Attributes
    ----------
    end
        When to stop, seconds since 1970; None without a walltime.
    signalled
        Name of the signal that came, or None.
    epochs
        Whole epochs that this call did, over all members of a committee.
    """

    end: float | None = None
    signalled: str | None = None
    epochs: int = 0

    @property
    def near_end(self) -> bool:
        """Whether the walltime is nearly over; a SIGTERM before that is a person's or the scheduler's."""
        return self.end is not None and time() >= self.end

    def within(self, options: Options, spent: float) -> Callable[[], Stop | None]:
        """Return what the loop asks after every step, for an epoch that begins now.

        Parameters
        ----------
        options
            Its ``max_seconds``.
        spent
            Seconds that the training took so far.
        """
        started, limit = perf_counter(), options.max_seconds

        def ended() -> Stop | None:
            if self.near_end:
                return Stop("interrupted", "the job's walltime is nearly over")
            if self.signalled is not None:
                return Stop("interrupted", f"{self.signalled} received")
            if limit is not None and spent + perf_counter() - started >= limit:
                return out_of_time(limit)
            return None

        return ended


NEVER: Final = Interruption()
"""No signal is caught and no walltime known."""


@contextmanager
def watch(margin: float) -> Iterator[Interruption]:
    """Catch SIGTERM and read the walltime while a training runs.

    Parameters
    ----------
    margin
        Seconds before the walltime at which to stop: one step, the checkpoint, the way out.

    Raises
    ------
    ConfigError
        ``SLURM_JOB_END_TIME`` is set and is not a number.
    """
    interruption = Interruption(_end(margin))

    def note(number: int, _: FrameType | None) -> None:
        interruption.signalled = signal.Signals(number).name

    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = signal.signal(signal.SIGTERM, note)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGTERM, before)


def walltime() -> Interruption:
    """Return the walltime of this process, less the setting ``walltime_margin``; no signal is caught.

    Raises
    ------
    ConfigError
        ``SLURM_JOB_END_TIME`` is set and is not a number.
    """
    return Interruption(_end(get_settings().walltime_margin))


def _end(margin: float) -> float | None:
    text = os.environ.get(END_TIME)
    if not text:
        return None
    try:
        return float(text) - margin
    except ValueError as error:
        raise ConfigError(
            f"{END_TIME}={text!r} is not a time in seconds since 1970. Unset it, or let Slurm set it."
        ) from error
