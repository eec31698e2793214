"""Results as a DataFrame, straight from the database: only numbers and names, no array, no Document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from maggma.stores import MongoStore

from phonotune.chunks import chunked
from phonotune.store.criteria import Criteria, Wanted, with_kinds
from phonotune.store.documents import (
    PREFIX,
    UNTABLED,
    document_types,
    fields_of,
    mappings_of,
)
from phonotune.store.stores import is_embedded

if TYPE_CHECKING:
    from phonotune.store.results import ResultStore

Row = dict[str, Any]
Values = list[Any]
"""Of one Document, in the order of :func:`_columns`."""

_AT_ONCE: Final = 8000
"""Documents that are Python objects at the same time."""
_SCALARS: Final = (str, int, float, bool)
_JOB: Final = ("uuid", "completed_at")
_KIND: Final = len(_JOB)
"""Where the kind stands among the values."""


def tabulate(results: ResultStore, wanted: Wanted, limit: int | None = None) -> pd.DataFrame:
    """Return one row a Document, oldest first.

    Parameters
    ----------
    results
        Where to look.
    wanted
        What to look for.
    limit
        Only the newest ones.
    """
    docs = results.store.docs_store
    if limit:
        values = _from_rows(results.rows(wanted.criteria(), limit))
    elif isinstance(docs, MongoStore) and not is_embedded(docs):
        values = _from_server(docs, wanted)
    else:
        values = _from_rows(_projected(results, wanted))
    texts: dict[str, str] = {}
    frames = []
    for batch in chunked(values, _AT_ONCE):
        by_kind: dict[str, list[Values]] = {}
        for found in batch:
            by_kind.setdefault(found[_KIND], []).append(found)
        frames += [
            _frame_of_kind(kind, by_kind[kind], texts)
            for kind in document_types()
            if kind in by_kind
        ]
    if not frames:
        return pd.DataFrame()
    table = pd.concat(frames, ignore_index=True)
    return table.sort_values(["completed_at", "uuid"], ignore_index=True)


def _from_server(docs: MongoStore, wanted: Wanted) -> Iterator[Values]:
    """Yield the values of Documents, which the server picks: a list is quick to send and to read."""
    branches = [
        {
            "case": {"$eq": [f"${PREFIX}kind", kind]},
            "then": [f"${name}" for name in _columns(kind)],
        }
        for kind in document_types()
    ]
    picked = {"_id": 0, "values": {"$switch": {"branches": branches, "default": None}}}
    for criteria in wanted.criteria():
        stages = [{"$match": with_kinds(criteria)}, {"$project": picked}]
        for row in docs._collection.aggregate(stages):
            if row["values"] is not None:
                yield row["values"]


def _from_rows(rows: Iterable[Row]) -> Iterator[Values]:
    """Yield the values of stored rows."""
    paths = {kind: [name.split(".") for name in _columns(kind)] for kind in document_types()}
    for row in rows:
        if (kind := _kind_of(row)) in paths:
            yield [_at(row, path) for path in paths[kind]]


def _columns(kind: str) -> list[str]:
    """Return the dotted names, within a stored row, of what a table shows of a kind."""
    names = dict.fromkeys(["kind", *fields_of(kind), *mappings_of(kind)])
    return [*_JOB, *(PREFIX + name for name in names)]


def _at(row: Any, path: Sequence[str]) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _frame_of_kind(kind: str, rows: Sequence[Values], texts: dict[str, str]) -> pd.DataFrame:
    """Return the table of Documents of one kind; equal texts are kept once, in `texts`."""
    columns: dict[str, list[Any]] = {}
    mappings = {PREFIX + name for name in mappings_of(kind)}
    for name, values in zip(_columns(kind), zip(*rows, strict=True), strict=True):
        short = name.removeprefix(PREFIX)
        if name not in mappings:
            columns[short] = _shared(values, texts)
            continue
        for index, content in enumerate(values):
            for own, value in scalars_of(content or {}).items():
                columns.setdefault(f"{short}.{own}", [None] * len(rows))[index] = value
    return pd.DataFrame(columns).dropna(axis="columns", how="all")


def _shared(values: Sequence[Any], texts: dict[str, str]) -> list[Any]:
    """Return a column with equal texts as one object."""
    if str not in set(map(type, values)):
        return list(values)
    return [texts.setdefault(v, v) if isinstance(v, str) else v for v in values]


def frame_of(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a DataFrame of scalars by name, without the columns that hold nothing."""
    return pd.DataFrame(list(rows)).dropna(axis="columns", how="all")


def scalars_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the scalars of a Document's content by dotted name, without lists and settings."""
    row: dict[str, Any] = {}
    _collect(content, "", row)
    return row


def _collect(content: dict[str, Any], prefix: str, row: dict[str, Any]) -> None:
    for key, value in content.items():
        if value is None or isinstance(value, _SCALARS):
            if not key.startswith("@"):
                row[prefix + key] = value
        elif isinstance(value, dict) and key not in UNTABLED and "blob_uuid" not in value:
            _collect(value, f"{prefix}{key}.", row)


def _projected(results: ResultStore, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield rows with nothing but scalars, in any order."""
    for criteria in wanted.criteria():
        names = _fields(criteria)
        properties = ["uuid", "completed_at", *(PREFIX + name for name in names)]
        yield from results.store.docs_store.query(with_kinds(criteria), properties)


def _fields(criteria: Criteria) -> list[str]:
    """Return the top-level fields that hold scalars: a short projection is a quick one."""
    asked = criteria.get(f"{PREFIX}kind")
    kinds = [asked] if isinstance(asked, str) else list(document_types())
    names = (name for kind in kinds for name in (*fields_of(kind), *mappings_of(kind)))
    return list(dict.fromkeys(name.split(".")[0] for name in names))


def _kind_of(row: Row) -> Any:
    output = row.get("output")
    return output.get("kind") if isinstance(output, dict) else None
