"""A file of finished frames that survives ``kill -9``: each is on disk before the next one starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from phonotune.data.extxyz import read_frames
from phonotune.data.extxyz_text import format_frame
from phonotune.errors import InputError
from phonotune.files import try_lock

if TYPE_CHECKING:
    from phonotune.schemas.dataset import Frame


class FrameLog:
    """Frames appended one by one to an extxyz file; one process at a time.

    A frame that was cut off in the middle is dropped when the file is opened again. The log is a
    context manager.

    Parameters
    ----------
    path
        The file; made if missing.

    Raises
    ------
    InputError
        Another process writes to the file, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("a+b")
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error}). Choose another path.") from error
        if not try_lock(self._file):
            self._file.close()
            raise InputError(
                f"Another process writes to {path}. Wait for it, or choose another output."
            )
        self._file.seek(0)
        self._file.truncate(complete_bytes(self._file))
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> FrameLog:
        """Return the log itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; an empty one is removed."""
        if self._file.tell() == 0:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def frames(self) -> list[Frame]:
        """Return the frames that are on disk."""
        return read_frames(self.path, need=()) if self._file.tell() else []

    def add(self, frame: Frame) -> None:
        """Append a frame; it is on disk when this returns."""
        self._file.write(format_frame(frame).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def discard(self) -> None:
        """Empty the file, after its frames were saved elsewhere."""
        self._file.seek(0)
        self._file.truncate()


def complete_bytes(file: BinaryIO) -> int:
    """Return how many bytes of an open extxyz file belong to complete frames."""
    end = 0
    while True:
        count = file.readline()
        if not (count.endswith(b"\n") and count.strip().isdigit()):
            return end
        rest = [file.readline() for _ in range(int(count) + 1)]
        if not all(line.endswith(b"\n") for line in rest):
            return end
        end = file.tell()
