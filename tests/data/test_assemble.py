from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonotune.data.assemble import assemble, assemble_given, dataset_hash
from phonotune.data.extxyz import read_frames, write_frames
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument, Frame

MakeFrame = Callable[..., Frame]


@pytest.fixture
def frames(make_frame: MakeFrame) -> list[Frame]:
    return [make_frame(group=f"volume {i // 2}") for i in range(8)]


def test_named_groups_validate(frames: list[Frame]) -> None:
    dataset = assemble(frames, labeller="teacher", valid_groups=["volume 1"])
    assert dataset.valid == [2, 3]
    assert dataset.train == [0, 1, 4, 5, 6, 7]
    assert dataset.formula == "NaCl"
    assert (dataset.n_duplicates, dataset.has_stress, dataset.labeller) == (0, 100.0, "teacher")


def test_a_random_split_keeps_groups_whole(frames: list[Frame], rng: np.random.Generator) -> None:
    dataset = assemble(frames, labeller="teacher", valid_fraction=0.25, rng=rng)
    train = {frame.group for frame in dataset.train_frames()}
    assert train.isdisjoint({frame.group for frame in dataset.valid_frames()})
    assert len(dataset.valid) == 2


def test_a_dataset_survives_storage(frames: list[Frame]) -> None:
    dataset = assemble(frames, labeller="teacher", valid_groups=["volume 1"])
    again = DatasetDocument.model_validate(dataset.model_dump())
    assert again.dataset_hash == dataset_hash(
        again.train_frames(), again.valid_frames(), again.labeller
    )


def test_the_hash_survives_a_file_and_the_order_of_frames(
    tmp_path: Path, frames: list[Frame]
) -> None:
    write_frames(tmp_path / "f.extxyz", frames)
    again = read_frames(tmp_path / "f.extxyz")
    assert dataset_hash(frames[:6], frames[6:], "t") == dataset_hash(again[5::-1], again[6:], "t")


def test_the_hash_knows_every_bit_of_a_label_the_split_and_the_labeller(
    frames: list[Frame],
) -> None:
    train, valid = frames[:6], frames[6:]
    moved = frames[0].structure.copy()
    moved.translate_sites([0], [1e-6, 0, 0])
    assert frames[0].energy is not None
    others = {
        dataset_hash(train, valid, "t"),
        dataset_hash(train, valid, "u"),
        dataset_hash(valid, train, "t"),
        dataset_hash(train[1:], valid, "t"),
        dataset_hash(
            [replace(train[0], energy=np.nextafter(frames[0].energy, 0)), *train[1:]], valid, "t"
        ),
        dataset_hash([replace(train[0], stress=None), *train[1:]], valid, "t"),
        dataset_hash([replace(train[0], forces=-train[0].forces), *train[1:]], valid, "t"),
        dataset_hash([replace(train[0], structure=moved), *train[1:]], valid, "t"),
    }
    assert len(others) == 8


def test_a_missing_label_is_not_a_zero_for_the_hash(make_frame: MakeFrame) -> None:
    zero = make_frame(energy=0.0)
    missing = replace(zero, energy=None)
    assert dataset_hash([zero], [], "t") != dataset_hash([missing], [], "t")


def test_duplicates_are_dropped_and_counted(frames: list[Frame]) -> None:
    dataset = assemble([*frames, *frames[:3]], labeller="teacher", valid_groups=["volume 1"])
    assert dataset.n_duplicates == 3
    assert (
        dataset.dataset_hash
        == assemble(frames, labeller="teacher", valid_groups=["volume 1"]).dataset_hash
    )


def test_of_two_duplicates_the_more_complete_one_stays(frames: list[Frame]) -> None:
    poor = replace(frames[0], energy=None, stress=None)
    dataset = assemble([poor, *frames], labeller="teacher", valid_groups=["volume 1"])
    assert dataset.n_duplicates == 1
    assert dataset.has_stress == 100.0


@pytest.mark.parametrize("label", ["energy", "forces", "stress"])
def test_contradicting_labels_of_one_structure_are_refused(frames: list[Frame], label: str) -> None:
    other = replace(frames[0], **{label: getattr(frames[0], label) + 0.1}, origin="elsewhere")
    with pytest.raises(FramesError, match=r"two labels.*elsewhere"):
        assemble([*frames, other], labeller="teacher", valid_groups=["volume 1"])


def test_missing_labels_are_masks_and_counted(frames: list[Frame]) -> None:
    mixed = [replace(frame, stress=None) if i % 4 else frame for i, frame in enumerate(frames)]
    dataset = assemble(mixed, labeller="teacher", valid_groups=["volume 1"])
    assert dataset.has_stress == 25.0
    assert [frame.stress is None for frame in dataset.frames()] == [
        frame.stress is None for frame in mixed
    ]


def test_a_side_without_forces_is_refused(frames: list[Frame]) -> None:
    without = [replace(f, forces=None) if f.group == "volume 1" else f for f in frames]
    with pytest.raises(FramesError, match="No validation frame has forces"):
        assemble(without, labeller="teacher", valid_groups=["volume 1"])


def test_a_frame_without_any_label_and_no_frame_at_all_are_refused(
    frames: list[Frame], make_frame: MakeFrame
) -> None:
    bare = make_frame(energy=None, forces=None, stress=None)
    with pytest.raises(FramesError, match=r"Frame 9 .*has no label"):
        assemble([*frames, bare], labeller="teacher", valid_groups=["volume 1"])
    with pytest.raises(FramesError, match="none was given"):
        assemble([], labeller="teacher", valid_groups=["volume 1"])


def test_given_sides_are_kept_as_they_are(frames: list[Frame]) -> None:
    dataset = assemble_given([*frames[:6], frames[0]], frames[6:], labeller="vasp")
    assert dataset.train == list(range(6))
    assert dataset.valid == [6, 7]
    assert dataset.n_duplicates == 1


def test_a_frame_on_both_sides_is_a_leak(frames: list[Frame]) -> None:
    twin = replace(frames[0], energy=frames[0].energy, origin="copied")
    with pytest.raises(FramesError, match=r"leak: validation frame 3 \(copied\)"):
        assemble_given(frames[:6], [*frames[6:], twin], labeller="vasp")


def test_nan_is_refused_with_its_side_and_number(frames: list[Frame]) -> None:
    bad = replace(frames[7], forces=np.full((8, 3), np.nan))
    with pytest.raises(FramesError, match=r"Validation frame 2 .*NaN"):
        assemble_given(frames[:6], [frames[6], bad], labeller="vasp")
