"""Projects as files: results with their arrays, from one store into another."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
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
from phonotune.store.rows import PROPERTIES, Row, StoredRows

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
    rows = _whole(results, _project(results, wanted or Wanted()))
    if not rows:
        raise InputError("Nothing in the store matches, so there is nothing to archive.")
    n_blobs = 0
    with writing(path) as archive:
        for name, blob in _blobs_of(results, rows):
            archive.add("blobs", {"store": name, **{key: blob.get(key) for key in _BLOB_KEYS}})
            n_blobs += 1
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
        The file is damaged, was changed, or holds what is no result of phonotune.
    """
    with reading(path) as archive:
        archive.check()
        needed = _check_documents(archive)
        _check_blobs(archive, needed, set(results.store.additional_stores))
        new = _absent_jobs(results, list(needed))
        wanted = {blob for key in new for blob in needed[key]}
        there = present_blobs(results.store, wanted)
        n_blobs = 0
        blobs = (b for b in archive.objects("blobs") if _id(b) in wanted - there)
        for batch in chunked(blobs, _AT_ONCE):
            for name in {blob["store"] for blob in batch}:
                chosen = [{k: b[k] for k in _BLOB_KEYS} for b in batch if b["store"] == name]
                _insert(results.store.additional_stores[name], chosen, ["blob_uuid"])
            n_blobs += len(batch)
        rows = (row for row in archive.objects("documents") if _key(row) in new)
        for batch in chunked(rows, _AT_ONCE):
            _insert(results.store.docs_store, batch, ["uuid", "index"])
    return Archived(len(new), n_blobs, kept=len(needed) - len(new))


def _project(results: StoredRows, wanted: Wanted) -> list[Row]:
    """Return the rows that are wanted and those they come from: models, datasets, labels."""
    found = _by_key(results.rows(wanted.criteria()))
    if wanted.is_everything:
        return list(found.values())
    queue = list(found.values())
    while queue:
        criteria = {c for row in queue for c in _origins(row)}
        rows = (row for key, value in criteria for row in results.rows([_criterion(key, value)]))
        new = {key: row for key, row in _by_key(rows).items() if key not in found}
        found |= new
        queue = list(new.values())
    return sorted(found.values(), key=lambda r: (str(r.get("completed_at")), r["uuid"], r["index"]))


def _origins(row: Row) -> Iterator[tuple[str, str]]:
    """Yield the ids of what a row comes from."""
    output = row["output"]
    sources = [output.get("source"), *(r["source"] for r in output.get("rows") or [])]
    for source in filter(None, sources):
        if source.get("model_id"):
            yield "output.model.model_id", source["model_id"]
    model = output.get("model") or {}
    for name in (model.get("dataset_hash"), output.get("parent_hash")):
        if name:
            yield "output.dataset_hash", name
    if find_kind(output["kind"]).reference:
        for host in row.get("hosts") or []:
            yield "hosts", host


def _criterion(key: str, value: str) -> Criteria:
    return {key: value} | ({"output.kind": "labels"} if key == "hosts" else {})


def _whole(results: StoredRows, rows: Sequence[Row]) -> list[Row]:
    """Return the rows whose Blobs are all there."""
    wanted = {r["blob_uuid"] for row in rows for r in references(row["output"])}
    there = present_blobs(results.store, wanted)
    whole = []
    for row in rows:
        if {r["blob_uuid"] for r in references(row["output"])} <= there:
            whole.append(row)
        else:
            logger.warning("%s lost an array and is not archived.", row["name"])
    return whole


def _blobs_of(results: StoredRows, rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """Yield every Blob of the rows with the name of its store, a few in memory at a time."""
    for name, store in results.store.additional_stores.items():
        ids = [
            r["blob_uuid"] for row in rows for r in references(row["output"]) if r["store"] == name
        ]
        for batch in chunked(sorted(ids), _AT_ONCE):
            stored = {b["blob_uuid"]: b for b in store.query({"blob_uuid": {"$in": batch}})}
            yield from ((name, stored[i]) for i in batch)


def _check_documents(archive: ArchiveReader) -> dict[tuple[str, int], set[str]]:
    """Return the ids of the Blobs of every document; raises InputError for what is no Document."""
    needed: dict[tuple[str, int], set[str]] = {}
    for row in archive.objects("documents"):
        output = row.get("output")
        if set(row) != set(PROPERTIES) or not isinstance(output, dict) or not _is_key(row):
            raise _refused("a document is no row of a job store")
        _check_names(row)
        kind = output.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise _refused(f"a document is of kind {kind!r}")
        _check_document(output, kind)
        needed[_key(row)] = {_id(r) for r in references(output)}
    return needed


def _check_document(output: Row, kind: str) -> None:
    from monty.json import MontyDecoder

    def promise(reference: Row) -> Blob:
        if set(reference) - {"@module", "@class", "@version", "blob_uuid", "store"}:
            raise _refused("a reference to an array holds something else")
        return StoredBlob(lambda: Blob("", "", ""))

    try:
        document = MontyDecoder().process_decoded(inserted(output, promise))
    except ValidationError as error:
        raise _refused(
            f"a {kind} document is not of its schema ({invalid_value(error)})"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise _refused(f"a {kind} document is not of its schema ({first})") from error
    if type(document) is not KINDS[kind].document_class:
        raise _refused(f"a document of kind {kind!r} is of another class")


def _check_blobs(
    archive: ArchiveReader, needed: dict[tuple[str, int], set[str]], stores: set[str]
) -> None:
    """Raise InputError unless the Blobs are whole, of these documents, and all there."""
    owners = {blob: key for key, blobs in needed.items() for blob in blobs}
    for blob in archive.objects("blobs"):
        if set(blob) != {"store", *_BLOB_KEYS} or not isinstance(blob["blob_uuid"], str):
            raise _refused("an array is no Blob of a job store")
        if blob["store"] not in stores:
            raise _refused(f"its arrays go to {blob['store']!r}, which this store does not have")
        if owners.pop(_id(blob), None) != (blob["job_uuid"], blob["job_index"]):
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
            if key == "@module" and not _is_trusted(str(value)):
                raise _refused(f"a document names the class of module {value!r}")
            _check_names(value)
    elif isinstance(content, list):
        for value in content:
            _check_names(value)


def _is_trusted(module: str) -> bool:
    own = {kind.document.partition(":")[0] for kind in KINDS.values()}
    return module.startswith(_TRUSTED) or module in own


def _refused(what: str) -> InputError:
    return InputError(
        f"The archive is not loaded: {what}. Nothing was changed; load only what `phonotune archive "
        "save` wrote."
    )


def _absent_jobs(results: StoredRows, keys: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return the jobs that the store holds no output of."""
    there: set[tuple[str, int]] = set()
    uuids = sorted({uuid for uuid, _ in keys})
    for some in chunked(uuids, _IDS_AT_ONCE):
        criteria = {"uuid": {"$in": some}}
        rows = results.store.docs_store.query(criteria, ["uuid", "index", "output.kind"])
        there |= {_key(row) for row in rows if row.get("output")}
    return set(keys) - there


def _insert(store: Store, rows: list[Row], key: list[str]) -> None:
    """Write rows that are not there: at once where the store can, since an update looks for each."""
    if isinstance(store, MongoStore) and key == ["blob_uuid"]:
        store._collection.insert_many(rows)
    else:
        store.update(rows, key=key)


def _by_key(rows: Iterable[Row]) -> dict[tuple[str, int], Row]:
    return {_key(row): row for row in rows}


def _is_key(row: Row) -> bool:
    return isinstance(row["uuid"], str) and type(row["index"]) is int


def _key(row: Row) -> tuple[str, int]:
    return row["uuid"], int(row["index"])


def _id(blob: Row) -> str:
    return str(blob["blob_uuid"])
