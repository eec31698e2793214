"""Results as a DataFrame: only numbers and names, no array, and no Document is built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pandas as pd

from phonotune.chunks import chunked
from phonotune.schemas.base import Document
from phonotune.schemas.kinds import KINDS
from phonotune.store.criteria import Wanted
from phonotune.store.documents import PREFIX, UNTABLED, fields_of, mappings_of
from phonotune.store.rows import StoredRows

Values = list[Any]
"""The values of one Document, in the order of :func:`_columns`."""

_AT_ONCE: Final = 8000
"""Documents that are Python objects at the same time."""
_SCALARS: Final = (str, int, float, bool)
_JOB: Final = ("uuid", "completed_at")
_KIND: Final = len(_JOB)
"""Where the kind stands among the values."""


def tabulate(results: StoredRows, wanted: Wanted, limit: int | None = None) -> pd.DataFrame:
    """Return one row per Document, oldest first.

    Parameters
    ----------
    results
        Where to look.
    wanted
        What to look for.
    limit
        Only the newest ones.
    """
    criteria = wanted.criteria()
    columns = {kind: _columns(kind) for kind in ([wanted.kind] if wanted.kind else sorted(KINDS))}
    texts: dict[str, str] = {}
    frames = []
    for batch in chunked(results.values(criteria, columns, limit), _AT_ONCE):
        by_kind: dict[str, list[Values]] = {}
        for found in batch:
            by_kind.setdefault(found[_KIND], []).append(found)
        frames += [
            _frame_of_kind(kind, by_kind[kind], texts) for kind in columns if kind in by_kind
        ]
    if not frames:
        return pd.DataFrame()
    table = pd.concat(frames, ignore_index=True)
    return table.sort_values(["completed_at", "uuid"], ignore_index=True)


def _columns(kind: str) -> list[str]:
    """Return the dotted names, within a stored row, of what a table shows of a kind."""
    names = dict.fromkeys(["kind", *fields_of(kind), *mappings_of(kind)])
    return [*_JOB, *(PREFIX + name for name in names)]


def _frame_of_kind(kind: str, rows: Sequence[Values], texts: dict[str, str]) -> pd.DataFrame:
    """Return the table of Documents of one kind; equal texts are kept once, in `texts`."""
    columns: dict[str, list[Any]] = {}
    mappings = {PREFIX + name for name in mappings_of(kind)}
    for name, values in zip(_columns(kind), zip(*rows, strict=True), strict=True):
        short = name.removeprefix(PREFIX)
        if name not in mappings:
            columns[short] = list(values)
            if str in set(map(type, values)):
                columns[short] = [
                    texts.setdefault(v, v) if isinstance(v, str) else v for v in values
                ]
            continue
        for index, content in enumerate(values):
            for own, value in scalars_of(content or {}).items():
                columns.setdefault(f"{short}.{own}", [None] * len(rows))[index] = value
    return pd.DataFrame(columns).dropna(axis="columns", how="all")


def frame_of(documents: Iterable[Document]) -> pd.DataFrame:
    """Return a DataFrame of the scalars of Documents, without the columns that hold nothing."""
    rows = [scalars_of(document.model_dump()) for document in documents]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def scalars_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the scalars of a Document's content by dotted name, without Blobs, lists and settings."""
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
