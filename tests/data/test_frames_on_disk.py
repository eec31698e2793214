"""Frames that wait on disk come back as they were."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from phonotune.data.frames_on_disk import FramesOnDisk
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]


def test_frames_come_back_in_order_as_often_as_asked_for(
    make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonotune.data.frames_on_disk.CHUNK_ATOMS", 20)
    frames = [make_frame(origin=str(i), protocol="p", settings="s = 1") for i in range(8)]
    frames[4] = Frame(frames[4].structure, magmoms=np.arange(8.0))
    with FramesOnDisk() as stored:
        for frame in frames:
            stored.append(frame)
        assert len(stored) == 8
        for back in (list(stored), list(stored)):
            for one, other in zip(frames, back, strict=True):
                assert (one.energy, one.origin, one.settings) == (
                    other.energy,
                    other.origin,
                    other.settings,
                )
                for label in ("forces", "stress", "magmoms"):
                    assert np.array_equal(getattr(one, label), getattr(other, label))


def test_nothing_is_left_behind(make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phonotune.data.frames_on_disk.CHUNK_ATOMS", 1)
    with FramesOnDisk() as stored:
        stored.append(make_frame())
        folder = Path(stored._folder.name)
        assert list(folder.iterdir())
    assert not folder.exists()
