"""The error family: each message says what was wrong, what was found, what is allowed, what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class PhonotuneError(Exception):
    """Base of every error that phonotune raises on purpose. Exit code 1: the work failed."""

    exit_code = 1


class InputError(PhonotuneError):
    """The input or the configuration is wrong; nothing was started, nothing was changed. Exit code 2."""

    exit_code = 2


class StructureError(InputError):
    """A structure that cannot be used: unreadable, overlapping atoms, mismatched cell, unknown element."""


class FramesError(InputError):
    """Labelled frames that cannot be used: a missing label, NaN, a cell that does not match."""


class ConfigError(InputError):
    """An unknown key, strategy, labeller or a contradiction between settings."""


class FoundationError(InputError):
    """A foundation model that cannot be had or must not be loaded."""


class StoreError(InputError):
    """A store that cannot be reached, read or written."""


class TrainingError(PhonotuneError):
    """Training failed: no number from the start, or no epoch better than it before it diverged."""


class TrainingInterruptedError(PhonotuneError):
    """A signal or the end of the walltime stopped a training; its checkpoint is written."""


class WalltimeError(TrainingInterruptedError):
    """The end of the walltime stopped a training or a long evaluation; what is done is kept.

    Parameters
    ----------
    message
        What stopped, and where it goes on.
    progress
        Whole epochs, or structures, that this call added; 0: the next call would get no further.
    """

    def __init__(self, message: str, progress: int) -> None:
        super().__init__(message)
        self.progress = progress


class LabelError(PhonotuneError):
    """Too few labelled frames came back."""


def require_package(what: str, package: str, extra: str) -> None:
    """Raise ConfigError where a package that something needs is not installed.

    Parameters
    ----------
    what
        What needs it, as the beginning of a sentence.
    package
        Name to import; empty: nothing is needed.
    extra
        Extra of phonotune that installs it.
    """
    if package and find_spec(package) is None:
        raise ConfigError(
            f"{what} needs {package}, which is not installed here. Install it: pip install "
            f"'phonotune[{extra}]'."
        )


def unknown_name(what: str, found: str, allowed: Iterable[str]) -> ConfigError:
    """Build the error for a name that is not in a list, with the nearest allowed one.

    Parameters
    ----------
    what
        What the name is the name of, e.g. ``"strategy"``.
    found
        The name the user gave.
    allowed
        Every name that would have been accepted.
    """
    names = sorted(allowed)
    near = get_close_matches(found, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"Unknown {what} {found!r}.{hint} Allowed: {', '.join(names)}.")


def invalid_value(error: ValidationError, name: Callable[[Sequence[str]], str] = ".".join) -> str:
    """Return one sentence on the first value that a schema refused.

    Parameters
    ----------
    error
        What pydantic raised.
    name
        Makes of the path of a value, e.g. ``("loss", "forces")``, what the user calls it; an empty name
        stands for the values as a whole.
    """
    first = error.errors()[0]
    message = " ".join(first["msg"].split()).removeprefix("Value error, ").removesuffix(".")
    called = name([str(part) for part in first["loc"]])
    if not called:
        return f"{message}."
    wanted, _, _ = message.partition(", unable to ")
    if wanted.startswith("Input should be "):
        message = f"it must be {wanted.removeprefix('Input should be ')}"
    found = repr(first["input"])
    found = found if len(found) <= 80 else f"{found[:80]} …"
    return f"{called} = {found} is not allowed: {message}."
