"""How far a long piece of work has come, told to whoever watches it."""

from __future__ import annotations

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
