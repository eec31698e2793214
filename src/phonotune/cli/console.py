"""The only place that prints, sets up logging and turns errors into exit codes.

A result goes to stdout: a table, or with ``--json`` exactly one JSON object. Everything else
(progress, notes, errors, whatever third parties print) goes to stderr.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console

from phonotune.errors import ConfigError, PhonotuneError, invalid_value
from phonotune.progress import Progress

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bars

USAGE_ERROR: Final[type[Exception]] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "UsageError"
)
"""Base of the errors of the command line's grammar (newer typers carry their own click)."""

EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130
_WIDE: Final = 160
_SECONDS_BETWEEN_LINES: Final = 10.0
_NUMBER: Final = re.compile(r"[\d.]+")


@dataclass
class Session:
    """What one command shows: notes while it works, one result at its end."""

    debug: bool = False
    exit_code: int = 0
    _payload: dict[str, Any] = field(default_factory=dict)
    _shown: list[RenderableType] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Print one line on stderr."""
        _stderr().print(text, markup=False, highlight=False, soft_wrap=True)

    def note_all(self, notes: Mapping[str, object], refused: Iterable[object] = ()) -> None:
        """Print what a reader of frames refused, and what it left behind or changed."""
        for refusal in refused:
            self.note(f"Refused: {refusal}")
        for note in notes.values():
            self.note(f"Note: {note}")

    def finish(
        self, payload: Mapping[str, Any], *shown: RenderableType, exit_code: int = 0
    ) -> None:
        """Set the result: the object for ``--json``, what a human sees, and the exit code."""
        self._payload = dict(payload)
        self._shown = list(shown)
        self.exit_code = exit_code

    @contextlib.contextmanager
    def progress(self, text: str, total: int | None = None) -> Iterator[Progress]:
        """Show progress on stderr: a bar on a terminal, else lines."""
        console = _stderr()
        if not console.is_terminal:
            yield _Lines(self.note, text, total)
            return
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Bars(*columns, console=console, transient=True) as bars:
            yield _Bar(bars, text, total)

    def print_result(self, as_json: bool) -> None:
        """Print the result on stdout."""
        if as_json:
            print_json(self._payload)
            return
        console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
        for item in self._shown:
            console.print(item, markup=False, soft_wrap=isinstance(item, str))


@contextlib.contextmanager
def session(*, as_json: bool, debug: bool) -> Iterator[Session]:
    """Run the body of a command; raises ``typer.Exit`` with the exit code where it is not 0.

    Parameters
    ----------
    as_json
        Print the result, or the error, as one JSON object on stdout.
    debug
        Show tracebacks, warnings and third parties' log messages on stderr.
    """
    current = Session(debug=debug)
    try:
        with _nothing_on_stdout(), warnings.catch_warnings(), _logging(debug):
            warnings.simplefilter("default" if debug else "ignore")
            _check_settings()
            yield current
    except (typer.Exit, typer.Abort, USAGE_ERROR):
        raise
    except KeyboardInterrupt as error:
        _report(error, "Interrupted.", as_json=as_json, debug=debug)
        raise typer.Exit(EXIT_INTERRUPTED) from error
    except PhonotuneError as error:
        _report(error, str(error), as_json=as_json, debug=debug)
        raise typer.Exit(error.exit_code) from error
    except Exception as error:
        first_line = next(iter(str(error).strip().splitlines()), "no message").rstrip(".")
        advice = "" if debug else " Run it again with --debug for the traceback."
        message = f"Unexpected {type(error).__name__}: {first_line}.{advice}"
        _report(error, message, as_json=as_json, debug=debug)
        raise typer.Exit(EXIT_FAILED) from error
    current.print_result(as_json)
    if current.exit_code:
        raise typer.Exit(current.exit_code)


def print_json(payload: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; NaN and infinity are refused."""
    sys.stdout.write(json.dumps(payload, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_error(kind: str, message: str, *, as_json: bool) -> None:
    """Print an error: an object on stdout with ``as_json``, else one line on stderr."""
    if as_json:
        print_json({"error": {"type": kind, "message": message}})
        return
    console = _stderr()
    console.print("Error:", style="bold red", end=" ")
    console.print(message, markup=False, highlight=False, soft_wrap=True)


def _check_settings() -> None:
    """Raise ConfigError where an environment variable PHONOTUNE_* holds what is not allowed."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from phonotune.settings import get_settings

    try:
        get_settings()
    except SettingsError as error:
        raise ConfigError(
            f"An environment variable PHONOTUNE_* is not the JSON that it must be ({error}). Write e.g. "
            'PHONOTUNE_POTENTIALS=\'{"7net-0": "/path/to/python"}\'.'
        ) from error
    except ValidationError as error:
        sentence = invalid_value(error, lambda path: "PHONOTUNE_" + "_".join(path).upper())
        raise ConfigError(sentence) from error


def _report(error: BaseException, message: str, *, as_json: bool, debug: bool) -> None:
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    print_error(type(error).__name__, message, as_json=as_json)


def _stderr() -> Console:
    return Console(stderr=True)


class _Lines(Progress):
    """Progress as lines: where the words change, at the end, and every ten seconds."""

    def __init__(self, write: Callable[[str], None], heading: str, total: int | None) -> None:
        super().__init__()
        self.total = total
        self._write, self._heading = write, heading
        self._words, self._written = "", -_SECONDS_BETWEEN_LINES

    def note(self, text: str) -> None:
        """Write a line."""
        self._write(text)

    def show(self) -> None:
        """Write a line if it is time for one."""
        words = _NUMBER.sub("", self.text)
        waited = time.monotonic() - self._written >= _SECONDS_BETWEEN_LINES
        if words == self._words and self.done != self.total and not waited:
            return
        self._written, self._words = time.monotonic(), words
        count = "" if self.total is None else f" {self.done}/{self.total}"
        self._write(f"{self._heading}{count}" + (f": {self.text}" if self.text else ""))


class _Bar(Progress):
    """Progress as a bar on a terminal."""

    def __init__(self, bars: Bars, heading: str, total: int | None) -> None:
        super().__init__()
        self.total, self._heading = total, heading
        self._bars, self._task = bars, bars.add_task(heading, total=total)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self) -> None:
        """Move the bar."""
        text = f"{self._heading}: {self.text}" if self.text else self._heading
        self._bars.update(self._task, completed=self.done, total=self.total, description=text)


class _Chatter(io.TextIOBase):
    """Turns what third parties print into log messages of level info, line by line."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Log the lines that are not empty."""
        for line in filter(None, map(str.strip, text.splitlines())):
            logging.getLogger("stdout").info(line)
        return len(text)


@contextlib.contextmanager
def _nothing_on_stdout() -> Iterator[None]:
    """Log what Python code prints; send what C and child processes write to stderr."""
    sys.stdout.flush()
    try:
        descriptor, target = sys.stdout.fileno(), sys.stderr.fileno()
        kept = os.dup(descriptor)
    except OSError:
        with contextlib.redirect_stdout(_Chatter()):
            yield
        return
    try:
        os.dup2(target, descriptor)
        with contextlib.redirect_stdout(_Chatter()):
            yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


@contextlib.contextmanager
def _logging(debug: bool) -> Iterator[None]:
    """Log phonotune's warnings on stderr, everybody's with ``debug``; undone afterwards."""
    root, own = logging.getLogger(), logging.getLogger("phonotune")
    levels = root.level, own.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    if not debug:
        handler.addFilter(logging.Filter("phonotune"))
    root.addHandler(handler)
    logging.captureWarnings(True)
    root.setLevel(logging.INFO if debug else logging.WARNING)
    own.setLevel(logging.DEBUG if debug else logging.WARNING)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(levels[0])
        own.setLevel(levels[1])
