"""Files that several processes write: replaced as a whole or not at all, and locked."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new binary file that takes the place of `path` if the body ends without an error.

    At any moment, also after a power cut, `path` is the old or the new file as a whole; after an error
    it is the old one. The folder is made if it is missing.

    Raises
    ------
    OSError
        The folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a file by `content` (text as UTF-8) as :func:`replacing` does; raises OSError."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file without waiting; return whether it was free.

    The kernel holds the lock until the file is closed or the process dies, also by ``kill -9``: no lock
    is ever stale.

    Parameters
    ----------
    file
        The open file.
    shared
        Let others hold a shared lock of the same file meanwhile.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(file: IO[Any]) -> None:
    """Release a lock of :func:`try_lock`, also where a child process still has the file open."""
    fcntl.flock(file, fcntl.LOCK_UN)
