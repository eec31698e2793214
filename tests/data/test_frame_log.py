from collections.abc import Callable
from pathlib import Path

import pytest

from phonotune.data.extxyz import read_frames, write_frames
from phonotune.data.frame_log import FrameLog
from phonotune.errors import InputError
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]


def test_frames_are_on_disk_as_soon_as_they_are_added(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "new" / "f.part"
    with FrameLog(path) as log:
        assert log.frames() == []
        for number in (1, 2):
            log.add(make_frame())
            assert len(read_frames(path)) == number
    with FrameLog(path) as log:
        assert len(log.frames()) == 2


def test_a_frame_cut_off_anywhere_is_dropped_and_the_others_stay(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "f.part"
    first, second = make_frame(), make_frame()
    write_frames(path, [first, second])
    content = path.read_bytes()
    write_frames(path, [first])
    kept = path.stat().st_size
    for end in {kept + 1, kept + 2, kept + 50, (kept + len(content)) // 2, len(content) - 1}:
        path.write_bytes(content[:end])
        with FrameLog(path) as log:
            (found,) = log.frames()
            assert found.energy == first.energy
            log.add(second)
        assert path.read_bytes() == content


def test_an_empty_journal_leaves_no_file(tmp_path: Path, make_frame: MakeFrame) -> None:
    path = tmp_path / "f.part"
    with FrameLog(path):
        pass
    assert not path.exists()
    with FrameLog(path) as log:
        log.add(make_frame())
        log.discard()
    assert not path.exists()


def test_two_writers_at_a_time_are_refused(tmp_path: Path) -> None:
    with FrameLog(tmp_path / "f.part"), pytest.raises(InputError, match="Another process writes"):
        FrameLog(tmp_path / "f.part")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        FrameLog(tmp_path / "file" / "f.part")
