"""Frames kept on disk while they are worked with, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np

from phonotune.schemas.dataset import frame_arrays, frames_of

if TYPE_CHECKING:
    from phonotune.schemas.dataset import Frame

CHUNK_ATOMS: Final = 20_000
"""Atoms of the frames that are in memory at once: one to two MB."""


class FramesOnDisk:
    """A list of frames in a temporary folder, as exact as in a Blob; a context manager.

    Append them one by one, then iterate as often as needed.
    """

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="phonotune-")
        self._counts: list[int] = []
        self._open: list[Frame] = []
        self._atoms = 0

    def __enter__(self) -> FramesOnDisk:
        """Return the object itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    def __len__(self) -> int:
        return sum(self._counts) + len(self._open)

    def append(self, frame: Frame) -> None:
        """Append a frame."""
        self._open.append(frame)
        self._atoms += len(frame.structure)
        if self._atoms >= CHUNK_ATOMS:
            np.savez(self._chunk(len(self._counts)), **frame_arrays(self._open))
            self._counts.append(len(self._open))
            self._open, self._atoms = [], 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield all frames, one chunk in memory at a time."""
        for number in range(len(self._counts)):
            with np.load(self._chunk(number), allow_pickle=False) as archive:
                frames = frames_of({name: archive[name] for name in archive.files})
            yield from frames
        yield from frames_of(frame_arrays(self._open)) if self._open else ()

    def _chunk(self, number: int) -> Path:
        return Path(self._folder.name, f"{number}.npz")
