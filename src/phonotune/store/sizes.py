"""What a database can hold: no document over 8 MB, no NaN, no bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import bson
from monty.json import jsanitize

from phonotune.errors import StoreError
from phonotune.schemas.blob import MAX_BLOB_BYTES

_ENVELOPE: Final = 2_000
"""Bytes that jobflow adds to an output: uuid, index, hosts, metadata."""
MAX_DOCUMENT_BYTES: Final = MAX_BLOB_BYTES + 2 * _ENVELOPE
"""The most a stored document may have: a full Blob and its envelope."""


class Largest(NamedTuple):
    """The largest document that an object becomes in a store.

    Attributes
    ----------
    n_bytes
        Its size as BSON.
    what
        ``"document"``, or the path of the Blob that is stored beside it.
    """

    n_bytes: int
    what: str


def largest_document(obj: Any) -> Largest:
    """Return the largest stored document of an output, before anything is saved.

    Blobs count on their own, since jobflow moves them to the additional store.

    Parameters
    ----------
    obj
        A Document, or whatever a job returns.

    Raises
    ------
    StoreError
        It holds NaN, infinity or bytes: the message says where.
    """
    content = jsanitize(obj, strict=True, allow_bson=True)
    for path, value in _leaves(content, "output"):
        if isinstance(value, float) and not math.isfinite(value):
            raise StoreError(
                f"{path} is {value}, which a database cannot keep. Store None where there is no number."
            )
        if isinstance(value, bytes | bytearray | memoryview):
            raise StoreError(
                f"{path} holds {len(value)} bytes, which JSON cannot hold. Wrap them in a Blob."
            )
    blobs: list[tuple[str, dict[str, Any]]] = []
    rest = _without_blobs(content, "", blobs)
    sizes = [Largest(_bson_size(rest), "document")]
    sizes += [Largest(_bson_size(blob), path) for path, blob in blobs]
    return max(sizes)


def check_size(obj: Any, name: str) -> Largest:
    """Return :func:`largest_document`; raises StoreError where it would not fit, naming it."""
    largest = largest_document(obj)
    if largest.n_bytes > MAX_DOCUMENT_BYTES:
        raise StoreError(
            f"{name} becomes a stored {largest.what} of {largest.n_bytes / 1e6:.1f} MB; the limit is "
            f"{MAX_BLOB_BYTES / 1e6:.0f} MB. Use fewer frames or a smaller supercell, or put the "
            "arrays into Blobs (Blob.split)."
        )
    return largest


def _bson_size(content: Any) -> int:
    return len(bson.encode({"output": content})) + _ENVELOPE


def _leaves(content: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from _leaves(value, f"{path}.{index}")
    else:
        yield path, content


def _without_blobs(content: Any, path: str, found: list[tuple[str, dict[str, Any]]]) -> Any:
    """Return the content with a reference for each Blob, which goes into `found`."""
    if isinstance(content, dict):
        if content.get("@class") == "Blob" and "payload" in content:
            found.append((f"blob {path.removeprefix('.')}", content))
            return {"@class": "Blob", "blob_uuid": "0" * 36, "store": "data"}
        return {k: _without_blobs(v, f"{path}.{k}", found) for k, v in content.items()}
    if isinstance(content, list):
        return [_without_blobs(v, f"{path}.{i}", found) for i, v in enumerate(content)]
    return content
