"""What an object says that counts for a result: the name of a job is the hash of that.

An upgrade of a package, a new field that keeps its default, or a module that moves changes nothing; a
changed default or other mathematics must. Hence of every Maker, settings class and Document count

* the name of the class: within phonotune without its module, so that a class may move (one that is renamed
  keeps its old name as ``content_name``); of other packages with the module;
* the fields that differ from the default of the class; never ``@version``, nor the fields that the class names
  in ``uncounted_fields``, such as the versions that a Document records;
* the ``content_version`` of the class and of its bases where it is above 1, and what its method
  ``content_note`` returns, also where the object itself equals a default and is left out. Raise
  ``content_version`` when a default or the mathematics behind the class changes.

Of a class of another package defaults are left out only where somebody watches them: of the packages in
:data:`WATCHED`, whose defaults as far as labels depend on them stand in ``tests/contracts/golden.json``, and of
a class that has a ``content_version``. When the golden test finds that atomate2 changed such a default, raise
its entry in :data:`FOREIGN_VERSIONS`. Of any other class, such as a static maker that a user wrote, every
field counts. VASP labels depend on no default of atomate2: the label protocol writes every choice into the
static maker, its hash counts with each :class:`~phonotune.jobs.label.LabelMaker`, and what VASP ran is
compared with it.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, Final

import numpy as np
from monty.json import MontyEncoder, MSONable
from pydantic import BaseModel

from phonotune.schemas.base import hash_json
from phonotune.schemas.blob import Blob

WATCHED: Final = frozenset({"phonotune", "jobflow", "atomate2", "pymatgen", "custodian"})
"""Packages whose defaults the golden file of the tests holds."""

FOREIGN_VERSIONS: Final[dict[str, int]] = {}
"""``content_version`` of classes of other packages, by module and name."""

HOW_OFTEN_VASP_IS_LOOKED_AT: Final = {"polling_time_step": 10.0, "monitor_freq": 30}
"""What custodian is told of that, which changes no label: whatever it says, these defaults count."""

Notes = set[tuple[str, str]]
"""Name of a class, and a version or a note of it that counts wherever an object of it is reached."""
Encode = Callable[[Any], Any]
"""Gives the content of what only the caller knows, e.g. a reference to a job; None for all else."""


def content_hash(value: Any, encode: Encode = lambda _: None) -> str:
    """Return the sha256 (hexadecimal) of what counts of a value."""
    notes: Notes = set()
    content = read_content(value, notes, encode)
    return hash_json([content, sorted(notes)])


def read_content(value: Any, notes: Notes, encode: Encode = lambda _: None) -> Any:
    """Return as JSON what counts of a value, and add to ``notes`` what counts of defaults, too.

    Raises
    ------
    TypeError
        The value, or one within it, cannot be written as JSON.
    """
    from pymatgen.core import IStructure

    def read(inner: Any) -> Any:
        return read_content(inner, notes, encode)

    known = encode(value)
    if known is not None:
        return known
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        watching = HOW_OFTEN_VASP_IS_LOOKED_AT
        return {str(key): read(watching.get(key, inner)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [read(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(map(read, value), key=json.dumps)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, type) or inspect.isroutine(value):
        return content_name(value)
    if isinstance(value, Enum):
        return read(value.value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Blob):
        return _of_blob(value)
    if isinstance(value, IStructure):
        return {
            "cell": value.lattice.matrix.tolist(),
            "pbc": list(value.lattice.pbc),
            "species": [{str(k): float(x) for k, x in site.species.items()} for site in value],
            "positions": value.frac_coords.tolist(),
            "charge": float(value.charge),
            "site_properties": read(value.site_properties),
            "properties": read(value.properties),
        }
    fields = fields_of(value)
    if fields is None:  # what monty alone knows, without its versions
        return _unversioned(json.loads(json.dumps(value, cls=MontyEncoder)))
    kind: Any = type(value)
    notes |= _versions(kind)
    if (note := getattr(value, "content_note", None)) is not None and (said := note()) is not None:
        notes.add((content_name(kind), said))
    defaults = _defaults(kind) if is_watched(kind) else {}
    uncounted = getattr(kind, "uncounted_fields", ())
    content = {name: read(inner) for name, inner in fields.items() if name not in uncounted}
    left = {k: v for k, v in content.items() if k not in defaults or v != defaults[k]}
    return {"@class": content_name(kind)} | left


def content_name(thing: Any) -> str:
    """Return the name by which a class or function counts: see the module."""
    own = vars(thing).get("content_name") if isinstance(thing, type) else None
    if own is not None:
        return str(own)
    name: str = thing.__qualname__
    root = thing.__module__.partition(".")[0]
    return name if root == "phonotune" else f"{thing.__module__}.{name}"


def is_watched(thing: Any) -> bool:
    """Return whether defaults of a class or function are left out: see the module."""
    family = thing.__mro__ if isinstance(thing, type) else [thing]
    roots = {member.__module__.partition(".")[0] for member in family}
    own = thing.__module__.partition(".")[0]
    return own in WATCHED or "phonotune" in roots or hasattr(thing, "content_version")


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the default of every field of a dataclass, pydantic model or MSONable class that has one."""
    if dataclasses.is_dataclass(kind):
        found: dict[str, Any] = {}
        for field in dataclasses.fields(kind):
            if field.default is not dataclasses.MISSING:
                found[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
        return found
    if issubclass(kind, BaseModel):
        fields = kind.model_fields
        if not any(field.is_required() for field in fields.values()):
            made = kind()
            return {name: getattr(made, name) for name in fields}
        return {
            name: field.get_default(call_default_factory=True)
            for name, field in fields.items()
            if not field.is_required()
        }
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@cache
def _defaults(kind: type) -> dict[str, Any]:
    return {name: read_content(value, set()) for name, value in defaults_of(kind).items()}


@cache
def _versions(kind: type) -> frozenset[tuple[str, str]]:
    """Return the versions above 1 of a class and its bases; each counts where the class itself sets it."""
    found = set()
    for member in kind.__mro__:
        path = f"{member.__module__}.{member.__qualname__}"
        version = vars(member).get("content_version", FOREIGN_VERSIONS.get(path, 1))
        if version != 1:
            found.add((content_name(member), f"version {version}"))
    return frozenset(found)


def fields_of(value: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass, a pydantic model or an MSONable of the default kind."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, MSONable) and type(value).as_dict is MSONable.as_dict:
        content = value.as_dict()
        return {name: inner for name, inner in content.items() if not name.startswith("@")}
    return None


def _of_blob(blob: Blob) -> Any:
    """Return the hash of a Blob's arrays: their bytes as compressed depend on the library that did it."""
    if blob.encoding != "npz":
        return {"@class": "Blob", "sha256": blob.sha256}
    arrays = blob.arrays()
    return {
        "@class": "Blob",
        "arrays": {
            name: [str(array.dtype), list(array.shape), hash_json(array.tobytes().hex())]
            for name, array in arrays.items()
        },
    }


def _unversioned(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _unversioned(inner) for key, inner in content.items() if key != "@version"}
    if isinstance(content, list):
        return [_unversioned(inner) for inner in content]
    return content
