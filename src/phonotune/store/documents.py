"""Which Documents there are, and the names of the numbers in them that a query may ask for."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel

from phonotune.schemas.base import Document
from phonotune.schemas.kinds import KINDS, find_kind
from phonotune.units import Unit, unit_of

UNTABLED: Final = frozenset({"settings", "versions", "unitcell", "config"})
"""Fields that no table shows: what went in, not what came out."""

PREFIX: Final = "output."
"""Where jobflow keeps a Document within a stored row."""


def document_types() -> dict[str, type[Document]]:
    """Return the class of every Document by its kind, in alphabetical order."""
    return {name: KINDS[name].document_class for name in sorted(KINDS)}


def scalar_fields() -> dict[str, frozenset[type]]:
    """Return the types of every number, truth value and text of the Documents, by dotted name.

    Lists, Blobs and settings are left out. A name is that of :func:`phonotune.store.tabulate.scalars_of`,
    e.g. ``thermal_300.entropy``.
    """
    found: dict[str, set[type]] = {}
    for document in document_types().values():
        for name, kind in _scalars_of(document):
            found.setdefault(name, set()).add(kind)
    return {name: frozenset(kinds) for name, kinds in sorted(found.items())}


@lru_cache(maxsize=64)
def _scalars_of(document: type[Document]) -> tuple[tuple[str, type], ...]:
    return tuple(_scalars(document, ""))


def fields_of(kind: str) -> tuple[str, ...]:
    """Return the dotted names of the numbers, truth values and texts of a kind of Document."""
    return tuple(dict.fromkeys(name for name, _ in _scalars_of(find_kind(kind).document_class)))


def mappings_of(kind: str) -> tuple[str, ...]:
    """Return the dotted names of the fields of a kind whose own fields are not known beforehand."""
    return tuple(dict.fromkeys(_mappings(find_kind(kind).document_class, "")))


def kinds_with(field: str) -> list[str]:
    """Return the kinds of the Documents that have a number, truth value or text of that name."""
    return [kind for kind in document_types() if field in fields_of(kind)]


def units_of(kind: str) -> dict[str, str]:
    """Return the unit of every number of a kind of Document, by dotted name."""
    return dict(_units(find_kind(kind).document_class, ""))


def _units(part: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in part.model_fields.items():
        own = next((m.symbol for m in field.metadata if isinstance(m, Unit)), None)
        for choice in (field.annotation, *typing.get_args(field.annotation)):
            symbol = own or unit_of(choice)
            if symbol is not None:
                yield prefix + name, symbol
                break
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                yield from _units(choice, f"{prefix}{name}.")


def _scalars(part: type[BaseModel], prefix: str) -> Iterator[tuple[str, type]]:
    for name, field in part.model_fields.items():
        if name in UNTABLED:
            continue
        for kind in _alternatives(field.annotation):
            if kind in (str, int, float, bool):
                yield prefix + name, kind
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _scalars(kind, f"{prefix}{name}.")


def _mappings(part: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in part.model_fields.items():
        if name in UNTABLED:
            continue
        for kind in _alternatives(field.annotation):
            if typing.get_origin(kind) is dict:
                yield prefix + name
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _mappings(kind, f"{prefix}{name}.")


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation allows, without None, units and literals."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for choice in typing.get_args(annotation):
            yield from _alternatives(choice)
    elif origin is typing.Annotated:
        yield from _alternatives(typing.get_args(annotation)[0])
    elif origin is typing.Literal:
        yield from {type(choice) for choice in typing.get_args(annotation)}
    else:
        yield annotation
