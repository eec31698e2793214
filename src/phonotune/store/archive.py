"""Projects as files: results with their arrays, from one store into another."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from maggma.core import Store
from maggma.stores import MongoStore
from pydantic import ValidationError

from phonotune.chunks import chunked
from phonotune.errors import InputError, PhonotuneError, invalid_value
from phonotune.schemas.blob import Blob
from phonotune.schemas.kinds import KINDS, find_kind
from phonotune.store.archive_file import ArchiveReader, reading, writing
from phonotune.store.blobs import StoredBlob, inserted, present_blobs, references
from phonotune.store.criteria import Criteria, Wanted
from phonotune.store.rows import PROPERTIES, Row, StoredRows, by_job

logger = logging.getLogger(__name__)

_BLOB_KEYS: Final = ("blob_uuid", "job_uuid", "job_index", "data")
_TRUSTED: Final = ("phonotune.schemas.", "pymatgen.core.")
"""Modules whose classes an archive may name, beside those of the Documents: others could run code."""
_AT_ONCE: Final = 50
_IDS_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class Archived:
    """What was saved or loaded.

    Attributes
    ----------
    documents, blobs
        How many.
    kept
        Documents of the archive whose job the store holds already; they stay as they are.
    """

    documents: int
    blobs: int
    kept: int = 0


def save_archive(results: StoredRows, path: Path, wanted: Wanted | None = None) -> Archived:
    """Write results, everything they come from, and all arrays into a tar.gz.

    Parameters
    ----------
    results
        Where they are.
    path
        File to write; it is replaced when the new one is whole.
    wanted
        Which results; None or one that narrows nothing means all.

    Raises
    ------
    InputError
        Nothing matches, or the file cannot be written.
    """
    found = _with_origins(results, wanted or Wanted())
    needed = {r["blob_uuid"] for row in found for r in references(row["output"])}
    there = present_blobs(results.store, needed)
    rows = []
    for row in found:
        if {r["blob_uuid"] for r in references(row["output"])} <= there:
            rows.append(row)
        else:
            logger.warning("%s lost an array and is not archived.", row["name"])
    if not rows:
        raise InputError("Nothing in the store matches, so there is nothing to archive.")
    references_to = [r for row in rows for r in references(row["output"])]
    n_blobs = 0
    with writing(path) as archive:
        for name, store in results.store.additional_stores.items():
            ids = sorted(r["blob_uuid"] for r in references_to if r["store"] == name)
            for some in chunked(ids, _AT_ONCE):
                stored = {b["blob_uuid"]: b for b in store.query({"blob_uuid": {"$in": some}})}
                for blob in (stored[i] for i in some):
                    content = {key: blob.get(key) for key in _BLOB_KEYS}
                    archive.add("blobs", {"store": name, **content})
            n_blobs += len(ids)
        for row in rows:
            archive.add("documents", {key: row.get(key) for key in PROPERTIES})
        archive.finish({"documents": len(rows), "blobs": n_blobs})
    return Archived(len(rows), n_blobs)


def load_archive(results: StoredRows, path: Path) -> Archived:
    """Put the results of an archive into a store; a second time changes nothing.

    The whole file is checked before anything is written. A job that the store holds already stays as
    it is: jobs are named by their content.

    Parameters
    ----------
    results
        Where to put them.
    path
        What :func:`save_archive` wrote.

    Raises
    ------
    InputError
        The file is damaged, was changed, or holds something that is not a result of phonotune.
    """
    with reading(path) as archive:
        archive.check()
        needed = _check_documents(archive)
        _check_blobs(archive, needed, set(results.store.additional_stores))
        there: set[Any] = set()
        for some in chunked(sorted({uuid for uuid, _ in needed}), _IDS_AT_ONCE):
            criteria = {"uuid": {"$in": some}}
            rows = results.store.docs_store.query(criteria, ["uuid", "index", "output.kind"])
            there |= by_job(row for row in rows if row.get("output")).keys()
        new = needed.keys() - there
        wanted = {blob for key in new for blob in needed[key]}
        absent = wanted - present_blobs(results.store, wanted)
        n_blobs = 0
        blobs = (b for b in archive.objects("blobs") if b["blob_uuid"] in absent)
        for batch in chunked(blobs, _AT_ONCE):
            for name in {blob["store"] for blob in batch}:
                chosen = [{k: b[k] for k in _BLOB_KEYS} for b in batch if b["store"] == name]
                _insert(results.store.additional_stores[name], chosen, ["blob_uuid"])
            n_blobs += len(batch)
        documents = (
            row for row in archive.objects("documents") if (row["uuid"], row["index"]) in new
        )
        for batch in chunked(documents, _AT_ONCE):
            _insert(results.store.docs_store, batch, ["uuid", "index"])
    return Archived(len(new), n_blobs, kept=len(needed) - len(new))


def _with_origins(results: StoredRows, wanted: Wanted) -> list[Row]:
    """Return the rows that are wanted and those they come from: models, datasets, labels."""
    found = by_job(results.rows(wanted.criteria()))
    if wanted.is_everything:
        return list(found.values())
    queue = list(found.values())
    while queue:
        criteria: dict[str, Criteria] = {}
        for row in queue:
            output = row["output"]
            model = output.get("model") or {}
            sources = [output.get("source"), *(r["source"] for r in output.get("rows") or [])]
            models = [s.get("model_id") for s in sources if s]
            datasets = [model.get("dataset_hash"), output.get("parent_hash")]
            criteria |= {f"model {m}": {"output.model.model_id": m} for m in models if m}
            criteria |= {f"dataset {d}": {"output.dataset_hash": d} for d in datasets if d}
            kind = find_kind(output["kind"])
            if kind.reference or kind.is_property:
                for host in row.get("hosts") or []:
                    criteria[f"flow {host}"] = {"hosts": host, "output.kind": "labels"}
        rows = (row for criterion in criteria.values() for row in results.rows([criterion]))
        new = {key: row for key, row in by_job(rows).items() if key not in found}
        found |= new
        queue = list(new.values())
    return sorted(found.values(), key=lambda r: (str(r.get("completed_at")), r["uuid"], r["index"]))


def _check_documents(archive: ArchiveReader) -> dict[tuple[str, int], set[str]]:
    """Return the ids of the Blobs of every document; InputError for what is not a Document."""
    from monty.json import MontyDecoder

    def promise(reference: Row) -> Blob:
        if set(reference) - {"@module", "@class", "@version", "blob_uuid", "store"}:
            raise _refused("a reference to an array holds something else")
        return StoredBlob(lambda: Blob("", "", ""))

    needed: dict[tuple[str, int], set[str]] = {}
    for row in archive.objects("documents"):
        output = row.get("output")
        job = row.get("uuid"), row.get("index")
        if (
            set(row) != set(PROPERTIES)
            or not isinstance(output, dict)
            or tuple(map(type, job)) != (str, int)
        ):
            raise _refused("a document is not a row of a job store")
        _check_names(row)
        kind = output.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise _refused(f"a document is of kind {kind!r}")
        try:
            document = MontyDecoder().process_decoded(inserted(output, promise))
        except ValidationError as error:
            what = f"a {kind} document is not of its schema ({invalid_value(error)})"
            raise _refused(what) from error
        except (ValueError, KeyError, TypeError) as error:
            first = str(error).splitlines()[0]
            raise _refused(f"a {kind} document is not of its schema ({first})") from error
        if type(document) is not KINDS[kind].document_class:
            raise _refused(f"a document of kind {kind!r} is of another class")
        needed[row["uuid"], row["index"]] = {str(r["blob_uuid"]) for r in references(output)}
    return needed


def _check_blobs(
    archive: ArchiveReader, needed: dict[tuple[str, int], set[str]], stores: set[str]
) -> None:
    """Raise InputError unless the Blobs are whole, of these documents, and all there."""
    owners = {blob: key for key, blobs in needed.items() for blob in blobs}
    for blob in archive.objects("blobs"):
        if set(blob) != {"store", *_BLOB_KEYS} or not isinstance(blob["blob_uuid"], str):
            raise _refused("an array is not a Blob of a job store")
        if blob["store"] not in stores:
            raise _refused(f"its arrays go to {blob['store']!r}, which this store does not have")
        if owners.pop(blob["blob_uuid"], None) != (blob["job_uuid"], blob["job_index"]):
            raise _refused("an array belongs to none of its documents")
        _check_names(blob)
        try:
            Blob(**{k: v for k, v in blob["data"].items() if not k.startswith("@")}).to_bytes()
        except (PhonotuneError, TypeError, ValueError, AttributeError) as error:
            raise _refused("an array does not match its sha256") from error
    if owners:
        raise _refused(f"{len(owners)} arrays of its documents are missing")


def _check_names(content: Any) -> None:
    """Refuse keys that are operators, and classes that are not ours."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key.startswith("$") or "\0" in key:
                raise _refused(f"a key is the operator {key!r}")
            trusted = key != "@module" or str(value).startswith(_TRUSTED)
            if not trusted and value not in {k.document.partition(":")[0] for k in KINDS.values()}:
                raise _refused(f"a document names the class of module {value!r}")
            _check_names(value)
    elif isinstance(content, list):
        for value in content:
            _check_names(value)


def _refused(what: str) -> InputError:
    return InputError(
        f"The archive is not loaded: {what}. Nothing was changed; load only what `phonotune archive "
        "save` wrote."
    )


def _insert(store: Store, rows: list[Row], key: list[str]) -> None:
    """Write rows that are not there: at once where the store can, since an update looks for each."""
    if isinstance(store, MongoStore) and key == ["blob_uuid"]:
        store._collection.insert_many(rows)
    else:
        store.update(rows, key=key)
