"""Look a store over before anything is submitted: can it be reached, written, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from jobflow import JobStore
from maggma.core import Store

from phonotune.errors import StoreError
from phonotune.store.buckets import remove_wholly
from phonotune.store.credentials import describe
from phonotune.store.indexes import ensure_indexes
from phonotune.store.stores import BLOB_STORE, STORE_ERRORS, close, connect, open_store, refusal


def check_store(store: JobStore | Path | str | None = None) -> JobStore:
    """Connect a store, write a document and a Blob, read both back, remove them, make the indexes.

    Parameters
    ----------
    store
        A JobStore, or what :func:`phonotune.store.open_store` takes.

    Returns
    -------
    JobStore
        The connected store.

    Raises
    ------
    StoreError
        One sentence on the first thing that is wrong, and the yaml to write: no additional store
        ``data``, no answer within 5 s, wrong credentials, a user who may not write.
    """
    if isinstance(store, JobStore):
        where, opened = describe(store.docs_store), connect(store, describe(store.docs_store))
    else:
        where = "the default store" if store is None else str(store)
        opened = open_store(None if store is None else Path(store))
    probe = f"phonotune-check-{uuid4()}"
    document = {"uuid": probe, "index": 1, "output": {"probe": 1}}
    blob = {"blob_uuid": probe, "job_uuid": probe, "job_index": 1, "data": {"probe": 1}}
    try:
        _round_trip(opened.docs_store, document, where)
        _round_trip(opened.additional_stores[BLOB_STORE], blob, where)
        ensure_indexes(opened)
    except StoreError:
        close(opened)
        raise
    return opened


def _round_trip(store: Store, document: dict[str, Any], where: str) -> None:
    """Write, read and remove one document; its key is the store's own."""
    name = {store.key: document[store.key]}
    try:
        store.update([document], key=store.key)
        try:
            found = list(store.query(name))
        finally:
            remove_wholly(store, name)
    except STORE_ERRORS as error:
        raise refusal(error, store, where, "written") from None
    if not found or any(found[0].get(key) != value for key, value in document.items()):
        raise StoreError(
            f"The store {describe(store)} of {where!r} gives back another document than was written. "
            "Look at the server; nothing was submitted."
        )
