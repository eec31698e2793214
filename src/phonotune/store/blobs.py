"""Arrays out of the store: fetched many at once, or each when it is first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final

from jobflow import JobStore
from monty.json import MontyDecoder

from phonotune.chunks import chunked
from phonotune.errors import StoreError
from phonotune.schemas.base import Document
from phonotune.schemas.blob import Blob

Reference = dict[str, Any]
"""What jobflow leaves in a document where it moved an object to an additional store."""

_AT_ONCE: Final = 1000
"""Ids in one query."""


class StoredBlob(Blob):
    """A Blob that is fetched from its store when it is first used; the store must be open then.

    Parameters
    ----------
    fetch
        Gives the stored Blob.
    """

    def __init__(self, fetch: Callable[[], Blob]) -> None:
        self._fetch = fetch

    @cached_property
    def _blob(self) -> Blob:
        return self._fetch()

    @property
    def payload(self) -> str:  # type: ignore[override]
        """base64 text of the bytes."""
        return self._blob.payload

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """sha256 of the bytes, hexadecimal."""
        return self._blob.sha256

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """``"npz"`` or ``"safetensors"``."""
        return self._blob.encoding

    def as_dict(self) -> dict[str, Any]:
        """Return the dictionary of the Blob itself."""
        content: dict[str, Any] = self._blob.as_dict()
        return content

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredBlob:
        return self

    def __repr__(self) -> str:
        return "StoredBlob(not loaded)" if "_blob" not in vars(self) else repr(self._blob)


def references(content: Any) -> Iterator[Reference]:
    """Yield every reference to a Blob in a stored output."""
    if isinstance(content, dict):
        if "blob_uuid" in content:
            yield content
            return
        for value in content.values():
            yield from references(value)
    elif isinstance(content, list):
        for value in content:
            yield from references(value)


def present_blobs(store: JobStore, ids: Iterable[str]) -> set[str]:
    """Return which of these Blobs are in an additional store; no array is read."""
    wanted = sorted(set(ids))
    found: set[str] = set()
    for additional in store.additional_stores.values():
        for some in chunked(wanted, _AT_ONCE):
            found |= set(additional.distinct("blob_uuid", {"blob_uuid": {"$in": some}}))
    return found


def fetch_blobs(store: JobStore, wanted: Sequence[Reference]) -> dict[str, Blob]:
    """Return Blobs by their id, a thousand per query; those that are lost are left out.

    Raises
    ------
    StoreError
        A reference names an additional store that is not configured.
    """
    found: dict[str, Blob] = {}
    for name in {reference["store"] for reference in wanted}:
        if name not in store.additional_stores:
            raise StoreError(
                f"Arrays lie in the additional store {name!r}, which is not configured. Name it in "
                "the store's yaml as in the one that the results were computed with."
            )
        ids = sorted({r["blob_uuid"] for r in wanted if r["store"] == name})
        for some in chunked(ids, _AT_ONCE):
            criteria = {"blob_uuid": {"$in": some}}
            for row in store.additional_stores[name].query(criteria, ["blob_uuid", "data"]):
                found[row["blob_uuid"]] = Blob.from_dict(row["data"])
    return found


def decode(output: Any, blobs: dict[str, Blob]) -> Document:
    """Return the Document of a stored output; raises KeyError where a Blob is not in `blobs`."""
    return _decoded(output, lambda reference: blobs[reference["blob_uuid"]])


def decode_lazily(output: Any, store: JobStore) -> Document:
    """Return the Document of a stored output with Blobs that are fetched when they are used."""

    def promise(reference: Reference) -> Blob:
        def fetch() -> Blob:
            found = fetch_blobs(store, [reference])
            if not found:
                raise StoreError(
                    f"The array {reference['blob_uuid']} is no longer in the store; run the job "
                    "that made it again."
                )
            return found[reference["blob_uuid"]]

        return StoredBlob(fetch)

    return _decoded(output, promise)


def _decoded(output: Any, insert: Callable[[Reference], Blob]) -> Document:
    document = MontyDecoder().process_decoded(inserted(output, insert))
    assert isinstance(document, Document)
    return document


def inserted(content: Any, insert: Callable[[Reference], Blob]) -> Any:
    """Return a stored output with what `insert` gives for each reference to a Blob."""
    if isinstance(content, dict):
        if "blob_uuid" in content:
            return insert(content)
        return {key: inserted(value, insert) for key, value in content.items()}
    if isinstance(content, list):
        return [inserted(value, insert) for value in content]
    return content
