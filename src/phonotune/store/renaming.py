"""Give a stored result another id, so that it is never without one."""

from __future__ import annotations

from typing import Any

from jobflow import JobStore
from maggma.stores import GridFSStore

from phonotune.store.buckets import index_of


def rename_result(
    store: JobStore, row: dict[str, Any], uuid: str, content: str, *, keep_blobs: bool = False
) -> None:
    """Give a row of the documents another id and content hash, and its arrays the same owner.

    The arrays follow first (a document refers to them by their own ids), then the row is written under its new
    name, then the old one goes: killed in between, the result is whole, and a second call ends it.

    Parameters
    ----------
    store
        A connected store.
    row
        As it is stored.
    uuid, content
        New id and content hash of the job.
    keep_blobs
        Leave the arrays as they are: for a copy of the documents.
    """
    for blobs in () if keep_blobs else store.additional_stores.values():
        part = index_of(blobs)
        files = isinstance(part, GridFSStore)
        collection: Any = part._files_collection if files else part._collection
        prefix = "metadata." if files else ""
        owned = {f"{prefix}job_uuid": row["uuid"], f"{prefix}job_index": row["index"]}
        collection.update_many(owned, {"$set": {f"{prefix}job_uuid": uuid}})
    metadata = row["metadata"]
    noted = metadata["phonotune"] | {"content": content}
    kept = {key: value for key, value in row.items() if key != "_id"}
    renamed = kept | {"uuid": uuid, "metadata": metadata | {"phonotune": noted}}
    store.docs_store.update([renamed], key=["uuid", "index"])
    store.docs_store.remove_docs({"uuid": row["uuid"], "index": row["index"]})
