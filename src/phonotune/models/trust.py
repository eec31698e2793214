"""Which files from outside may be unpickled: a ledger of sha256 in the cache folder.

A MACE ``.model`` file is a pickle, and loading a pickle runs what its author wrote into it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from phonotune.errors import FoundationError
from phonotune.files import write_atomically
from phonotune.schemas.base import Part
from phonotune.settings import get_settings

LEDGER: Final = "trusted.json"


class TrustedFile(Part):
    """A file that was allowed, and where it was then."""

    name: str
    sha256: str
    path: Path


class _Ledger(Part):
    files: tuple[TrustedFile, ...] = ()


def ledger_path() -> Path:
    """Path of the ledger, ``trusted.json`` in the setting ``cache_dir``."""
    return get_settings().cache_dir.expanduser() / LEDGER


def trusted_files() -> tuple[TrustedFile, ...]:
    """Return every allowed file; raises FoundationError if the ledger is damaged."""
    path = ledger_path()
    if not path.exists():
        return ()
    try:
        return _Ledger.model_validate_json(path.read_bytes()).files
    except (OSError, ValidationError) as error:
        raise FoundationError(
            f"{path} cannot be read as the list of trusted models. "
            "Remove it and run `phonotune models trust FILE` again."
        ) from error


def trust(name: str, path: Path, sha256: str) -> None:
    """Add a file to the ledger; name and sha256 identify an entry, its path may move."""
    entry = TrustedFile(name=name, sha256=sha256, path=path.resolve())
    known = trusted_files()
    if entry in known:
        return
    others = tuple(file for file in known if (file.name, file.sha256) != (name, sha256))
    ledger = ledger_path()
    try:
        write_atomically(ledger, _Ledger(files=(*others, entry)).model_dump_json(indent=1))
    except OSError as error:
        raise FoundationError(
            f"The list of trusted models {ledger} cannot be written ({error.strerror}). "
            "Point PHONOTUNE_CACHE_DIR to a folder that can be."
        ) from error


def read_verified(path: Path, sha256: str) -> bytes:
    """Return the content of a file; FoundationError unless it has this sha256."""
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FoundationError(
            f"{path} has sha256 {found[:12]}, expected {sha256[:12]}: the file changed. "
            "Put the original file back, or trust the new one and tune again."
        )
    return content


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file (read once while its size and time stay)."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _sha256(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
