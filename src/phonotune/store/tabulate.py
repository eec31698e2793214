"""Results as a DataFrame, straight from the database: only numbers and names, no array, no Document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from phonotune.store.criteria import Criteria, Wanted, with_kinds
from phonotune.store.documents import (
    PREFIX,
    UNTABLED,
    document_types,
    fields_of,
    mappings_of,
)

if TYPE_CHECKING:
    from phonotune.store.results import ResultStore

Row = dict[str, Any]
_AT_ONCE: Final = 8000
"""Rows that are Python objects at the same time."""
_SCALARS: Final = (str, int, float, bool)


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
    rows = results.rows(wanted.criteria(), limit) if limit else _projected(results, wanted)
    texts: dict[str, str] = {}
    frames = []
    while batch := list(islice(rows, _AT_ONCE)):
        by_kind: dict[str, list[Row]] = {}
        for row in batch:
            by_kind.setdefault(_kind_of(row), []).append(row)
        frames += [
            _frame_of_kind(by_kind[kind], texts) for kind in document_types() if kind in by_kind
        ]
    if not frames:
        return pd.DataFrame()
    table = pd.concat(frames, ignore_index=True)
    return table.sort_values(["completed_at", "uuid"], ignore_index=True)


def _frame_of_kind(rows: Sequence[Row], texts: dict[str, str]) -> pd.DataFrame:
    """Return the table of rows of one kind, column by column; equal texts are kept once, in `texts`."""
    outputs = [row["output"] for row in rows]
    kind = outputs[0]["kind"]
    parts: dict[str, list[Row]] = {"": outputs}
    columns: dict[str, list[Any]] = {
        name: _shared([row.get(name) for row in rows], texts) for name in ("uuid", "completed_at")
    }
    for name in fields_of(kind):
        prefix, _, last = name.rpartition(".")
        columns[name] = _shared([part.get(last) for part in _parts(prefix, parts)], texts)
    for name in mappings_of(kind):
        for index, content in enumerate(_parts(name, parts)):
            for own, value in scalars_of(content).items():
                columns.setdefault(f"{name}.{own}", [None] * len(rows))[index] = value
    return pd.DataFrame(columns).dropna(axis="columns", how="all")


def _parts(prefix: str, known: dict[str, list[Row]]) -> list[Row]:
    """Return the part of that dotted name of every output, empty where there is none."""
    if prefix not in known:
        above, _, last = prefix.rpartition(".")
        known[prefix] = [part.get(last) or {} for part in _parts(above, known)]
    return known[prefix]


def _shared(values: list[Any], texts: dict[str, str]) -> list[Any]:
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
