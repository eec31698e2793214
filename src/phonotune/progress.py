"""How far a long piece of work has come, told to whoever watches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging import Logger
from time import monotonic


class Progress:
    """How far a piece of work has come; shows nothing: subclasses override ``show`` and ``note``.

    Attributes
    ----------
    done, total
        Steps done and steps in all; ``total`` is None where nobody knows it.
    text
        What is being done.
    """

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None
        self.text = ""

    def start(self, text: str = "", total: int | None = None) -> None:
        """Begin a piece of work."""
        self.done, self.total, self.text = 0, total, text
        self.show()

    def advance(
        self, done: int | None = None, text: str | None = None, total: int | None = None
    ) -> None:
        """Count one more step, or say how many are done; what is None stays as it was."""
        self.done = self.done + 1 if done is None else done
        self.text = self.text if text is None else text
        self.total = self.total if total is None else total
        self.show()

    def note(self, text: str) -> None:
        """Tell something that the user should read, e.g. that a job failed."""

    def show(self) -> None:
        """Show ``done``, ``total`` and ``text``; called after every change."""


class LoggedProgress(Progress):
    """Progress as lines of a log, for jobs that nobody watches on a terminal.

    Parameters
    ----------
    logger
        Gets the lines, at level INFO.
    seconds
        Least time between two lines; the start and the end of the work are always logged.
    """

    def __init__(self, logger: Logger, seconds: float = 10.0) -> None:
        super().__init__()
        self._logger, self._seconds, self._logged = logger, seconds, float("-inf")

    def note(self, text: str) -> None:
        """Log a line at once."""
        self._logger.info(text)

    def show(self) -> None:
        """Log where the work is, unless the last line is too recent."""
        now = monotonic()
        if now - self._logged < self._seconds and self.done not in (0, self.total):
            return
        self._logged = now
        count = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        self._logger.info("%s: %s", self.text, count)


class InnerProgress(Progress):
    """Progress of one part of some work, shown behind the words of the whole.

    Parameters
    ----------
    whole
        The whole; its count stays as it is.
    """

    def __init__(self, whole: Progress) -> None:
        super().__init__()
        self._whole, self._words = whole, whole.text

    def note(self, text: str) -> None:
        """Tell it as the whole does."""
        self._whole.note(text)

    def show(self) -> None:
        """Show the words of the whole, then those of the part and its count."""
        count = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        self._whole.advance(self._whole.done, f"{self._words}: {self.text}, {count}")


_whole: ContextVar[Progress | None] = ContextVar("whole", default=None)


@contextmanager
def told_to(progress: Progress) -> Iterator[None]:
    """Let the jobs that run in the body show their progress behind that of a command."""
    token = _whole.set(progress)
    try:
        yield
    finally:
        _whole.reset(token)


def job_progress(logger: Logger) -> Progress:
    """Return what a running job tells its progress to: the command that runs it here, else a log."""
    whole = _whole.get()
    return LoggedProgress(logger) if whole is None else InnerProgress(whole)
