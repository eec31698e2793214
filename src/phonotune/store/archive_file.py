"""The file of an archive: a tar of JSON with a manifest of hashes; what is read is checked, never extracted."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from phonotune.errors import InputError
from phonotune.files import replacing
from phonotune.schemas.base import package_versions
from phonotune.schemas.blob import MAX_BLOB_BYTES

FORMAT: Final = "phonotune-archive-1"
MANIFEST: Final = "manifest.json"
MAX_MEMBER: Final = 2 * MAX_BLOB_BYTES
"""Bytes of one member: what a database takes as one document."""
MAX_MANIFEST: Final = 256_000_000
MAX_TOTAL: Final = 64_000_000_000
"""Bytes of all members together: a compressed file may hold a thousand times its size."""

_NAME: Final = re.compile(r"(?:documents|blobs)/\d{6,12}\.json")
_DAMAGE: Final = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


class ArchiveWriter:
    """Writes members in the order given, and the manifest last.

    Parameters
    ----------
    tar
        The open file.
    """

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members: dict[str, dict[str, Any]] = {}
        self._counts = Counter[str]()

    def add(self, folder: str, content: dict[str, Any]) -> None:
        """Add a JSON object to ``documents`` or ``blobs``."""
        data = to_json(content)
        name = f"{folder}/{self._counts[folder]:06d}.json"
        self._counts[folder] += 1
        self._members[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        self._write(name, data)

    def finish(self, about: dict[str, Any]) -> None:
        """Write the manifest: every member with its sha256 and size, and what is said about them."""
        head = {"format": FORMAT, "versions": package_versions(), **about}
        self._write(MANIFEST, to_json(head | {"members": self._members}))

    def _write(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._tar.addfile(info, io.BytesIO(data))


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """Write an archive; it appears under its name when it is whole. Equal content gives equal bytes."""
    try:
        with (
            replacing(path) as raw,
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield ArchiveWriter(tar)
    except OSError as error:
        raise InputError(
            f"Archive {str(path)!r} cannot be written ({error.strerror}). Choose another place."
        ) from error


def to_json(content: Any) -> bytes:
    """Return canonical JSON; InputError for what JSON cannot hold."""
    try:
        return json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"A stored document holds what an archive cannot ({error}). Only results of phonotune can "
            "be archived."
        ) from error


@dataclass
class ArchiveReader:
    """Reads an archive member by member, as often as asked, without ever writing a file.

    Attributes
    ----------
    path
        Named in errors.
    file
        The open file: the same bytes in every pass, also if the file is replaced meanwhile.
    """

    path: Path
    file: IO[bytes]
    _hashes: dict[str, str] = field(default_factory=dict)

    def check(self) -> dict[str, Any]:
        """Read everything once and compare it with the manifest; return the manifest.

        Raises
        ------
        InputError
            It is not an archive, holds something other than JSON objects of a known name, or a member is
            missing, added, or not the one of the manifest.
        """
        found: dict[str, str] = {}
        manifest: Any = None
        for name, data in self._members():
            if name == MANIFEST:
                manifest = self._parse(name, data)
            found[name] = hashlib.sha256(data).hexdigest()
        found.pop(MANIFEST, None)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise self._bad(f"its {MANIFEST} is missing or not of format {FORMAT}")
        listed = manifest.get("members")
        if not isinstance(listed, dict) or not all(isinstance(v, dict) for v in listed.values()):
            raise self._bad(f"its {MANIFEST} lists no members")
        for name in sorted(listed.keys() | found.keys()):
            if found.get(name) != listed.get(name, {}).get("sha256"):
                raise self._bad(f"the sha256 of {name!r} is not that of its {MANIFEST}")
        self._hashes = found
        return manifest

    def objects(self, folder: str) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of ``documents`` or ``blobs``; :meth:`check` comes first."""
        for name, data in self._members():
            if not name.startswith(f"{folder}/"):
                continue
            if hashlib.sha256(data).hexdigest() != self._hashes.get(name):
                raise self._bad(f"{name!r} changed while it was read")
            content = self._parse(name, data)
            if not isinstance(content, dict):
                raise self._bad(f"{name!r} is not a JSON object")
            yield content

    def _members(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of every member; anything but a small plain file is refused."""
        self.file.seek(0)
        seen: set[str] = set()
        total = 0
        try:
            with tarfile.open(fileobj=self.file, mode="r|gz") as tar:
                for member in tar:
                    limit = MAX_MANIFEST if member.name == MANIFEST else MAX_MEMBER
                    if not member.isreg() or member.issparse():
                        raise self._bad(f"{member.name!r} is not a plain file")
                    if member.name != MANIFEST and not _NAME.fullmatch(member.name):
                        raise self._bad(f"{member.name!r} is not a name that a member may have")
                    if member.size > limit:
                        raise self._bad(
                            f"{member.name!r} has {member.size} bytes, allowed are {limit}"
                        )
                    if member.name in seen:
                        raise self._bad(f"{member.name!r} is there twice")
                    seen.add(member.name)
                    total += member.size
                    if total > MAX_TOTAL:
                        raise self._bad(f"it unpacks to more than {MAX_TOTAL / 1e9:.0f} GB")
                    content = tar.extractfile(member)
                    assert content is not None
                    yield member.name, content.read()
        except _DAMAGE as error:
            raise self._bad(f"it is damaged or not a tar.gz ({error})") from error

    def _parse(self, name: str, data: bytes) -> Any:
        try:
            return json.loads(data, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise self._bad(f"{name!r} is not JSON ({error})") from error

    def _bad(self, what: str) -> InputError:
        return InputError(
            f"{str(self.path)!r} is not an archive that can be loaded: {what}. Nothing was loaded; take "
            "the file that `phonotune archive save` wrote."
        )


@contextmanager
def reading(path: Path) -> Iterator[ArchiveReader]:
    """Open an archive; raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            yield ArchiveReader(path, file)
    except OSError as error:
        raise InputError(
            f"Archive {str(path)!r} cannot be read ({error.strerror or error})."
        ) from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
