"""A split of frames that are never all in memory is that of frames in memory."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonotune.data.assemble import assemble, split_to_folder
from phonotune.data.folder import open_dataset, read_dataset, write_dataset
from phonotune.data.split import SplitRequest
from phonotune.errors import FramesError
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]
TWO = SplitRequest(valid_groups=["volume 1"])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phonotune.data.frames_on_disk.CHUNK_ATOMS", 20)


@pytest.fixture
def frames(make_frame: MakeFrame) -> list[Frame]:
    return [
        make_frame(group=f"volume {i // 2}", origin=f"f{i}", labeller="vasp", protocol="p")
        for i in range(8)
    ]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("how", ["named", "drawn"])
@pytest.mark.parametrize("atoms", [20, 25, 10_000])
def test_folder_and_header_are_those_of_a_dataset_in_memory(
    tmp_path: Path, frames: list[Frame], how: str, atoms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonotune.data.frames_on_disk.CHUNK_ATOMS", atoms)
    poor = replace(frames[2], energy=None, origin="poor")
    given = [frames[0], frames[1], poor, *frames[3:], frames[0], frames[2]]

    def request() -> SplitRequest:
        drawn = SplitRequest(None, 0.25, np.random.default_rng(3), "seed 3")
        return TWO if how == "named" else drawn

    asked = request()
    dataset = assemble(
        given,
        labeller="vasp",
        valid_groups=asked.valid_groups,
        valid_fraction=asked.valid_fraction,
        rng=asked.rng,
        reason=asked.reason,
    )
    write_dataset(dataset, tmp_path / "one")
    header, files = split_to_folder(iter(given), request(), tmp_path / "two", labeller="given")
    assert header.model_dump() == dataset.model_dump(exclude={"data", "more"})
    assert header.n_duplicates == 2
    assert [path.name for path in files] == ["train.extxyz", "valid.extxyz", "dataset.json"]
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_frames_come_back_in_stored_order_one_by_one(tmp_path: Path, frames: list[Frame]) -> None:
    split_to_folder(frames, TWO, tmp_path, labeller="given")
    header, stored = open_dataset(tmp_path)
    assert isinstance(stored, Iterator)
    assert (header.labeller, header.valid) == ("vasp", [2, 3])
    assert [frame.origin for frame in stored] == [f"f{i}" for i in range(8)]


@pytest.mark.parametrize("change", ["lost", "added"])
def test_a_frame_too_few_or_too_many_is_noticed_after_the_last(
    tmp_path: Path, frames: list[Frame], change: str
) -> None:
    split_to_folder(frames, TWO, tmp_path, labeller="given")
    path = tmp_path / "valid.extxyz"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:10] if change == "lost" else [*lines, *lines[:10]]))
    with pytest.raises(FramesError, match="a file was changed"):
        read_dataset(tmp_path)


def test_bad_frames_are_refused_and_nothing_is_written(tmp_path: Path, frames: list[Frame]) -> None:
    without = [replace(f, forces=None) if f.group == "volume 1" else f for f in frames]
    bad = {
        "Frame 9 .*has no label": [*frames, Frame(frames[0].structure)],
        "none was given": [],
        "No validation frame has forces": without,
        "Mixed protocols": [*frames[:7], replace(frames[7], protocol="q")],
        "two labels": [*frames, replace(frames[0], energy=9.0)],
    }
    for message, given in bad.items():
        with pytest.raises(FramesError, match=message):
            split_to_folder(given, TWO, tmp_path / "out", labeller="given")
    assert not (tmp_path / "out").exists()


def test_labellers_that_differ_leave_the_name_given(tmp_path: Path, frames: list[Frame]) -> None:
    given = [replace(frame, labeller="", protocol="") for frame in frames]
    header, _ = split_to_folder(given, TWO, tmp_path, labeller="given")
    assert header.labeller == "given"
    assert json.loads((tmp_path / "dataset.json").read_text())["labeller"] == "given"


def test_memory_grows_by_less_than_a_tenth_of_the_frames(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    cell = make_frame().structure * (3, 3, 3)
    rng = np.random.default_rng(0)

    def stream(count: int) -> Iterator[Frame]:
        for number in range(count):
            moved = cell.copy()
            moved.perturb(0.05, seed=number)
            forces = rng.normal(size=(len(cell), 3))
            yield Frame(moved, float(number), forces, group=f"g{number // 2}", origin=str(number))

    peaks = []
    for count in (4, 24):
        asked = SplitRequest(valid_groups=["g1"])
        tracemalloc.start()
        split_to_folder(stream(count), asked, tmp_path / str(count), labeller="given")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    sites = 500 * len(cell)  # bytes of the Sites of a Structure in memory, at least
    assert peaks[1] - peaks[0] < 0.1 * 20 * sites
