"""Files: replaced as a whole or not at all, locked between processes, read and written compressed."""

from __future__ import annotations

import bz2
import codecs
import fcntl
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import IO, Any, BinaryIO, Final
from uuid import uuid4

COMPRESSED: Final = (".gz", ".bz2", ".xz")
"""Endings of the names of files that are written compressed."""

PARSER_ERRORS: Final = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, lzma.LZMAError),
    *(MemoryError, OSError, TypeError, ValueError, zlib.error),
)
"""What the readers of other packages raise on a file that is broken, of another kind, or absurdly large."""
_OPENERS: Final[dict[bytes, Callable[..., Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"]\x00\x00": lzma.open,
}
_TAR: Final = slice(257, 262)


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


@contextmanager
def compressing(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Compress what is written to an open file if its name ends in one of :data:`COMPRESSED`.

    Equal content gives equal bytes: no time and no name is written.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in COMPRESSED:
        yield file
        return
    if suffix == ".gz":
        packed: Any = gzip.GzipFile("", "wb", fileobj=file, mtime=0)
    else:
        packed = (bz2.open if suffix == ".bz2" else lzma.open)(file, "wb")
    with packed:
        yield packed


@contextmanager
def uncompressed(path: Path, refused: type[Exception]) -> Iterator[BufferedReader]:
    """Open a file to read its bytes, plain or compressed: its content decides (gz, bz2, xz), not its name.

    Parameters
    ----------
    path
        The file.
    refused
        Class of the error that tells the user what is wrong with the file.

    Raises
    ------
    Exception
        Of the class `refused`: the file is not there, an archive, cut off or damaged; also while it is read.
    """
    try:
        with path.open("rb") as plain:
            magic = plain.read(6)
        opener = next((open_ for key, open_ in _OPENERS.items() if magic.startswith(key)), open)
        with opener(path, "rb") as stream:
            start = stream.peek(512)
            if start[_TAR] == b"ustar" or start.startswith(b"PK\x03\x04"):
                raise refused(f"{path} is an archive of files; unpack it and give the files in it.")
            yield stream
    except (EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise refused(
            f"{path} is cut off or damaged ({error}). Copy it, or compress it, again."
        ) from error
    except FileNotFoundError as error:
        raise refused(f"{path} does not exist. Check the path.") from error
    except OSError as error:
        raise refused(f"{path} cannot be read ({error.strerror or error}).") from error


def text_lines(path: Path, refused: type[Exception]) -> Iterator[str]:
    """Yield the lines of a text file, plain or compressed, without their ends.

    Text is UTF-8, with or without a byte order mark; a line that is not is taken for Latin-1, and a file
    that says so for UTF-16. Parameters and errors as :func:`uncompressed`.
    """
    with uncompressed(path, refused) as stream:
        if stream.peek(2).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            with TextIOWrapper(stream, encoding="utf-16") as texts:
                for text in texts:
                    yield text.rstrip("\r\n")
            return
        for number, line in enumerate(stream):
            content = line.rstrip(b"\r\n").removeprefix(b"" if number else codecs.BOM_UTF8)
            try:
                yield content.decode()
            except UnicodeDecodeError:
                yield content.decode("latin-1")


def read_text(path: Path, refused: type[Exception]) -> str:
    """Return the text of a file with plain line ends; parameters and errors as :func:`uncompressed`."""
    return "\n".join(text_lines(path, refused))


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
