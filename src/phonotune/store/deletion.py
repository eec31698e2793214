"""Delete results with their arrays, so that neither an array nor a reference is left without the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from phonotune.chunks import chunked
from phonotune.errors import InputError
from phonotune.store.blobs import references
from phonotune.store.buckets import remove_wholly
from phonotune.store.criteria import Criteria, Wanted
from phonotune.store.rows import Row, StoredRows

if TYPE_CHECKING:
    from jobflow import JobStore


_CONDEMNED: Final = "metadata.phonotune.deleting"
_AT_ONCE: Final = 100


@dataclass(frozen=True)
class Deleted:
    """What was deleted.

    Attributes
    ----------
    documents, blobs
        How many.
    names
        Names of the jobs.
    """

    documents: int
    blobs: int
    names: tuple[str, ...]


def delete(
    results: StoredRows, identifiers: Sequence[str], wanted: Wanted, *, dependents: bool = False
) -> Deleted:
    """Delete Documents and their Blobs.

    A document loses its output first, then its Blobs go, then the document: whenever this is killed, no
    document refers to a Blob that is gone, and the next call ends what was begun.

    Parameters
    ----------
    results
        Where.
    identifiers
        As :meth:`phonotune.store.ResultStore.find` takes them.
    wanted
        What else, by a query; it must narrow something down.
    dependents
        Also delete what refers to what is deleted: the properties and comparisons of a model, the
        models of a dataset, the versions appended to it.

    Raises
    ------
    InputError
        Nothing or everything is asked for, or other documents refer to what would go.
    """
    if not identifiers and wanted.is_everything:
        raise InputError(
            "Deleting needs ids or a query, for example formula='NaCl'; to delete everything remove "
            "the store itself."
        )
    _finish_earlier(results.store)
    chosen = _rows_of(results, identifiers, wanted)
    while more := _dependents(results, chosen):
        if not dependents:
            names = ", ".join(sorted({str(row["name"]) for row in more.values()}))
            raise InputError(
                f"{len(more)} results refer to what would be deleted: {names}. Delete them too "
                "(dependents=True) or first; nothing was deleted."
            )
        chosen |= more
    blobs = sum(len(list(references(row["output"]))) for row in chosen.values())
    _remove(results.store, list(chosen.values()))
    return Deleted(len(chosen), blobs, tuple(str(row["name"]) for row in chosen.values()))


def remove_outputs(store: JobStore, uuids: Sequence[str]) -> None:
    """Remove what jobs stored, whoever refers to it: for probes, of which no result comes."""
    named = {"$in": list(uuids)}
    for blobs in store.additional_stores.values():
        remove_wholly(blobs, {"job_uuid": named})
    store.docs_store.remove_docs({"uuid": named})


def _rows_of(
    results: StoredRows, identifiers: Sequence[str], wanted: Wanted
) -> dict[tuple[str, int], Row]:
    rows: list[Row] = []
    for identifier in identifiers:
        found = results.find(identifier)
        rows += results.rows([{"uuid": found.uuid}])
    if not wanted.is_everything:
        rows += results.rows(wanted.criteria())
    return _by_key(rows)


def _by_key(rows: Iterable[Row]) -> dict[tuple[str, int], Row]:
    return {(row["uuid"], int(row["index"])): row for row in rows}


def _dependents(
    results: StoredRows, chosen: dict[tuple[str, int], Row]
) -> dict[tuple[str, int], Row]:
    """Return rows that are not chosen and refer to something that only chosen rows provide."""
    found: dict[tuple[str, int], Row] = {}
    for providers, users in {_question(row) for row in chosen.values()} - {None}:
        provided = _by_key(results.rows([dict(providers)]))
        if provided.keys() <= chosen.keys():
            found |= _by_key(results.rows([{key: value} for key, value in users]))
    return {key: row for key, row in found.items() if key not in chosen}


def _question(row: Row) -> Any:
    """Return the criterion of the rows that provide what this row provides, and those of its users."""
    output = row["output"]
    if output["kind"] == "training":
        name = output["model"]["model_id"]
        users = ("output.source.model_id", "output.rows.source.model_id")
        return (("output.model.model_id", name),), tuple((key, name) for key in users)
    if output["kind"] == "dataset":
        name = output["dataset_hash"]
        users = ("output.model.dataset_hash", "output.parent_hash")
        return (("output.dataset_hash", name),), tuple((key, name) for key in users)
    return None


def _remove(store: JobStore, rows: Sequence[Row]) -> None:
    for batch in chunked(rows, _AT_ONCE):
        keys = [{"uuid": row["uuid"], "index": row["index"]} for row in batch]
        condemned = [_condemned(row) for key in keys for row in store.docs_store.query(key)]
        store.docs_store.update(condemned, key=["uuid", "index"])
        _finish(store, condemned)


def _condemned(row: Row) -> Row:
    """Return a row without its output, marked as one that goes."""
    metadata = row.get("metadata") or {}
    noted = (metadata.get("phonotune") or {}) | {"deleting": True}
    kept = {key: value for key, value in row.items() if key != "_id"}
    return kept | {"output": None, "metadata": metadata | {"phonotune": noted}}


def _finish_earlier(store: JobStore) -> None:
    """End deletions that were killed."""
    _finish(store, list(store.docs_store.query({_CONDEMNED: True}, ["uuid", "index"])))


def _finish(store: JobStore, rows: Sequence[Row]) -> None:
    for row in rows:
        for blobs in store.additional_stores.values():
            remove_wholly(blobs, {"job_uuid": row["uuid"], "job_index": row["index"]})
        criteria: Criteria = {"uuid": row["uuid"], "index": row["index"]}
        store.docs_store.remove_docs(criteria)
