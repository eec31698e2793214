"""Arrays that travel beside the documents: compressed, hashed, saved by class in the store ``data``."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from monty.json import MSONable
from numpy.typing import ArrayLike, NDArray

from phonotune.errors import PhonotuneError

MAX_BLOB_BYTES: Final[int] = 8_000_000
"""No stored document may pass this size (MongoDB's own limit is 16 MB)."""


class Blob(MSONable):
    """Binary data as base64 text, with its sha256.

    Jobs that return Documents are decorated with ``@job(data=[Blob])``: jobflow then moves every Blob,
    at any depth, to the additional store ``data`` and leaves a reference in the document.

    Parameters
    ----------
    payload
        base64 text of the bytes.
    sha256
        sha256 of the bytes, hexadecimal.
    encoding
        ``"npz"`` (compressed numpy arrays) or ``"safetensors"``.
    """

    def __init__(self, payload: str, sha256: str, encoding: str = "npz") -> None:
        self.payload = payload
        self.sha256 = sha256
        self.encoding = encoding

    @classmethod
    def from_bytes(cls, content: bytes, encoding: str) -> Blob:
        """Wrap bytes; raises PhonotuneError above MAX_BLOB_BYTES."""
        payload = base64.b64encode(content).decode("ascii")
        if len(payload) > MAX_BLOB_BYTES:
            raise PhonotuneError(
                f"A blob of {len(payload) / 1e6:.1f} MB does not fit a stored document; "
                f"the limit is {MAX_BLOB_BYTES / 1e6:.0f} MB. Store fewer frames or a smaller supercell."
            )
        return cls(payload, hashlib.sha256(content).hexdigest(), encoding)

    @classmethod
    def split(cls, content: bytes, encoding: str) -> tuple[Blob, ...]:
        """Wrap bytes of any size in blobs of at most MAX_BLOB_BYTES; :func:`join_blobs` undoes it."""
        size = MAX_BLOB_BYTES // 4 * 3
        starts = range(0, max(len(content), 1), size)
        return tuple(cls.from_bytes(content[start : start + size], encoding) for start in starts)

    @classmethod
    def pack(cls, **arrays: ArrayLike) -> Blob:
        """Compress named arrays; NaN or infinity raises PhonotuneError, naming the array."""
        checked: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
        for name, array in checked.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise PhonotuneError(f"Array {name!r} holds NaN or infinity and is not stored.")
            if array.dtype.kind == "O":
                raise PhonotuneError(
                    f"Array {name!r} holds Python objects; only numbers and text are stored."
                )
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **checked)
        return cls.from_bytes(buffer.getvalue(), "npz")

    def to_bytes(self) -> bytes:
        """Return the bytes; raises PhonotuneError if they do not match their hash."""
        content = base64.b64decode(self.payload)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise PhonotuneError("A stored blob does not match its sha256; the store is damaged.")
        return content

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name (no pickle is ever read)."""
        with np.load(io.BytesIO(self.to_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blob) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"Blob({self.encoding}, {len(self.payload)} characters, sha256 {self.sha256[:12]})"


def join_blobs(blobs: Sequence[Blob]) -> bytes:
    """Return the bytes that :meth:`Blob.split` wrapped, in their order."""
    return b"".join(blob.to_bytes() for blob in blobs)
