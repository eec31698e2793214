"""Delete results with their arrays, so that neither an array nor a reference is left without the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from phonotune.chunks import chunked
from phonotune.errors import InputError
from phonotune.store.blobs import references
from phonotune.store.buckets import remove_wholly
from phonotune.store.criteria import Criteria, Wanted
from phonotune.store.rows import Row, StoredRows, by_job

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
    document refers to a Blob that is gone, and the next call finishes what was begun.

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
    store = results.store
    _finish(store, list(store.docs_store.query({_CONDEMNED: True}, ["uuid", "index"])))
    chosen = by_job(
        row for name in identifiers for row in results.rows([{"uuid": results.find(name).uuid}])
    )
    if not wanted.is_everything:
        chosen |= by_job(results.rows(wanted.criteria()))
    while more := _dependents(results, chosen):
        if not dependents:
            names = ", ".join(sorted({str(row["name"]) for row in more.values()}))
            raise InputError(
                f"{len(more)} results refer to what would be deleted: {names}. Delete them too "
                "(dependents=True) or first; nothing was deleted."
            )
        chosen |= more
    blobs = sum(len(list(references(row["output"]))) for row in chosen.values())
    for some in chunked(chosen.values(), _AT_ONCE):
        condemned = []
        for one in some:
            for row in store.docs_store.query({"uuid": one["uuid"], "index": one["index"]}):
                row.pop("_id", None)
                metadata = row.get("metadata") or {}
                noted = (metadata.get("phonotune") or {}) | {"deleting": True}
                condemned.append(
                    row | {"output": None, "metadata": metadata | {"phonotune": noted}}
                )
        store.docs_store.update(condemned, key=["uuid", "index"])
        _finish(store, condemned)
    return Deleted(len(chosen), blobs, tuple(str(row["name"]) for row in chosen.values()))


def remove_outputs(store: JobStore, uuids: Sequence[str]) -> None:
    """Remove what jobs stored without looking for what refers to it: for probes, which have no result."""
    named = {"$in": list(uuids)}
    for blobs in store.additional_stores.values():
        remove_wholly(blobs, {"job_uuid": named})
    store.docs_store.remove_docs({"uuid": named})


def _dependents(
    results: StoredRows, chosen: dict[tuple[str, int], Row]
) -> dict[tuple[str, int], Row]:
    """Return rows that are not chosen and refer to something that only chosen rows provide."""
    asked: dict[str, tuple[str, str, str]] = {}
    for row in chosen.values():
        output = row["output"]
        if output["kind"] == "training":
            users = "output.source.model_id", "output.rows.source.model_id"
            asked[output["model"]["model_id"]] = ("output.model.model_id", *users)
        elif output["kind"] == "dataset":
            users = "output.model.dataset_hash", "output.parent_hash"
            asked[output["dataset_hash"]] = ("output.dataset_hash", *users)
    found: dict[tuple[str, int], Row] = {}
    for name, (provider, *by) in asked.items():
        if by_job(results.rows([{provider: name}])).keys() <= chosen.keys():
            found |= by_job(results.rows([{user: name} for user in by]))
    return {key: row for key, row in found.items() if key not in chosen}


def _finish(store: JobStore, rows: Sequence[Row]) -> None:
    for row in rows:
        for blobs in store.additional_stores.values():
            remove_wholly(blobs, {"job_uuid": row["uuid"], "job_index": row["index"]})
        criteria: Criteria = {"uuid": row["uuid"], "index": row["index"]}
        store.docs_store.remove_docs(criteria)
