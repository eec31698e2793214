"""Potentials by name: those that were added on this machine, and those that installed packages bring.

A package brings one by an entry point of the group ``phonotune.potentials``: ``name = "module:callable"``.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from phonotune.dotted import load
from phonotune.errors import ConfigError, FoundationError, unknown_name
from phonotune.files import write_atomically
from phonotune.models.foundation import foundation_names
from phonotune.models.potential_worker import versions_of
from phonotune.part import Part
from phonotune.schemas.base import hash_json
from phonotune.schemas.labellers import LABELLERS
from phonotune.schemas.potential import Potential
from phonotune.schemas.training import FoundationRecord
from phonotune.settings import get_settings

LEDGER: Final = "potentials.json"
GROUP: Final = "phonotune.potentials"


class _Ledger(Part):
    potentials: dict[str, Potential] = Field(default_factory=dict)


def ledger_path() -> Path:
    """Path of the ledger, ``potentials.json`` in the setting ``cache_dir``."""
    return get_settings().cache_dir.expanduser() / LEDGER


def record_of(name: str, potential: Potential) -> FoundationRecord:
    """Return the record of a potential; its sha256 is over calculator, arguments, versions and weights.

    The Python that runs it, and where the weights lie, say nothing about an answer.
    """
    identity = {
        "calculator": potential.calculator,
        "arguments": potential.arguments,
        "versions": potential.versions,
        "weights": potential.weights and potential.weights.sha256,
    }
    return FoundationRecord(
        name=name, sha256=hash_json(identity), engine="process", potential=potential
    )


def added_potentials() -> dict[str, Potential]:
    """Return what was added on this machine, by name; raises FoundationError if the ledger is damaged."""
    path = ledger_path()
    if not path.exists():
        return {}
    try:
        return dict(_Ledger.model_validate_json(path.read_bytes()).potentials)
    except (OSError, ValidationError) as error:
        raise FoundationError(
            f"{path} cannot be read as the list of potentials. Remove it and run `phonotune models add` "
            "again for each."
        ) from error


def write_potentials(potentials: dict[str, Potential]) -> None:
    """Replace the ledger; raises FoundationError if it cannot be written."""
    try:
        write_atomically(ledger_path(), _Ledger(potentials=potentials).model_dump_json(indent=1))
    except OSError as error:
        raise FoundationError(
            f"The list of potentials {ledger_path()} cannot be written ({error.strerror}). Point "
            "PHONOTUNE_CACHE_DIR to a folder that can be."
        ) from error


def check_name(name: str) -> None:
    """Refuse a name that means something else, or that a file or a family of models could bear.

    Raises
    ------
    ConfigError
        Naming what is allowed.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise ConfigError(
            f"{name!r} cannot be the name of a potential. Allowed are letters, digits, '.', '_', '+' and '-'."
        )
    if name in foundation_names() or name in LABELLERS or name == "none":
        raise ConfigError(
            f"{name!r} already names a foundation model or a labeller. Choose another name."
        )


def add_potential(name: str, potential: Potential) -> FoundationRecord:
    """Give a potential a name on this machine; the same one again is replaced, another is refused.

    Raises
    ------
    ConfigError
        The name is taken.
    FoundationError
        The ledger is damaged or cannot be written.
    """
    check_name(name)
    record, added = record_of(name, potential), added_potentials()
    if name in added and (other := record_of(name, added[name])).sha256 != record.sha256:
        raise ConfigError(
            f"{name!r} is the name of another potential, {other.potential}. Choose another name, or run "
            f"`phonotune models remove {name}` first."
        )
    write_potentials({**added, name: potential})
    return record


def remove_potential(name: str) -> None:
    """Forget a potential that was added; raises ConfigError if there is none of that name."""
    added = added_potentials()
    if name not in added:
        raise unknown_name("potential", name, added or ["none was added"])
    write_potentials({key: value for key, value in added.items() if key != name})


def packaged_potentials() -> dict[str, EntryPoint]:
    """Return the entry points of installed packages, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def is_potential(name: str) -> bool:
    """Return whether a name was added on this machine or comes with a package."""
    return name in added_potentials() or name in packaged_potentials()


def find_potential(name: str) -> FoundationRecord:
    """Return the record of a potential; nothing is started.

    Raises
    ------
    FoundationError
        There is no such potential, or its package is broken.
    """
    added = added_potentials()
    if name in added:
        return record_of(name, added[name])
    points = packaged_potentials()
    if name not in points:
        raise FoundationError(
            f"There is no potential {name!r}. `phonotune models list` shows those that there are, "
            "`phonotune models add` makes one."
        )
    path = points[name].value
    try:
        versions = versions_of(load(path), path.partition(":")[0])
    except (ImportError, AttributeError, OSError, TypeError) as error:
        raise FoundationError(
            f"The potential {name!r} of an installed package cannot be used: {path} cannot be imported "
            f"({error}). Install its package again."
        ) from error
    return record_of(name, Potential(calculator=path, versions=versions))
