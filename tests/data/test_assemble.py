from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.data.assemble import assemble, assemble_given
from phonotune.data.extxyz import read_frames, write_frames
from phonotune.data.identity import dataset_hash, frame_hash
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument, Frame

MakeFrame = Callable[..., Frame]


def hash_of(train: Iterable[Frame], valid: Iterable[Frame], labeller: str) -> str:
    return dataset_hash(map(frame_hash, train), map(frame_hash, valid), labeller)


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
    assert again.dataset_hash == hash_of(again.train_frames(), again.valid_frames(), again.labeller)


def test_the_hash_survives_a_file_and_the_order_of_frames(
    tmp_path: Path, frames: list[Frame]
) -> None:
    write_frames(tmp_path / "f.extxyz", frames)
    again = read_frames(tmp_path / "f.extxyz")
    assert hash_of(frames[:6], frames[6:], "t") == hash_of(again[5::-1], again[6:], "t")


def test_the_hash_knows_every_bit_of_a_label_the_split_and_the_labeller(
    frames: list[Frame],
) -> None:
    train, valid = frames[:6], frames[6:]
    moved = frames[0].structure.copy()
    moved.translate_sites([0], [1e-6, 0, 0])
    assert frames[0].energy is not None
    others = {
        hash_of(train, valid, "t"),
        hash_of(train, valid, "u"),
        hash_of(valid, train, "t"),
        hash_of(train[1:], valid, "t"),
        hash_of(
            [replace(train[0], energy=np.nextafter(frames[0].energy, 0)), *train[1:]], valid, "t"
        ),
        hash_of([replace(train[0], stress=None), *train[1:]], valid, "t"),
        hash_of([replace(train[0], forces=-train[0].forces), *train[1:]], valid, "t"),
        hash_of([replace(train[0], structure=moved), *train[1:]], valid, "t"),
    }
    assert len(others) == 8


def test_a_missing_label_is_not_a_zero_for_the_hash(make_frame: MakeFrame) -> None:
    zero = make_frame(energy=0.0)
    missing = replace(zero, energy=None)
    assert hash_of([zero], [], "t") != hash_of([missing], [], "t")


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


def test_a_copy_in_disguise_is_a_duplicate_and_its_labels_are_compared_atom_by_atom(
    frames: list[Frame],
) -> None:
    order = np.random.default_rng(0).permutation(8)
    sites = [frames[0].structure[int(i)] for i in order]
    structure = Structure.from_sites(sites)
    structure.translate_sites([0, 1], [1, 0, -2], to_unit_cell=False)
    forces = np.random.default_rng(1).normal(size=(8, 3))
    frames = [replace(frames[0], forces=forces), *frames[1:]]
    copy = replace(frames[0], structure=structure, forces=forces[order])
    dataset = assemble([*frames, copy], labeller="teacher", valid_groups=["volume 1"])
    assert dataset.n_duplicates == 1
    with pytest.raises(FramesError, match="forces of"):
        assemble(
            [*frames, replace(copy, forces=forces)], labeller="teacher", valid_groups=["volume 1"]
        )


def test_a_richer_copy_keeps_the_group_of_the_first(frames: list[Frame]) -> None:
    poor = replace(frames[2], energy=None)
    rich = replace(frames[2], group="volume 3")
    given = [*frames[:2], poor, *frames[3:], rich]
    dataset = assemble(given, labeller="teacher", valid_groups=["volume 1"])
    assert len(dataset.valid) == 2
    assert dataset.valid_frames()[0].energy == frames[2].energy


def test_a_dataset_says_how_it_was_split_and_what_it_holds(
    frames: list[Frame], rng: np.random.Generator
) -> None:
    named = assemble(frames, labeller="teacher", valid_groups=["volume 1"])
    assert named.split is not None
    assert (named.split.how, named.split.reason) == ("named", "named: volume 1")
    assert (named.split.train_groups, named.split.valid_groups) == (3, 1)
    drawn = assemble(frames, labeller="t", valid_fraction=0.25, rng=rng, reason="why")
    assert drawn.split is not None
    assert drawn.split.reason == "drawn, 25% of the frames by whole groups (why)"
    assert drawn.statistics is not None
    assert (drawn.statistics.n_frames, drawn.statistics.n_groups) == (8, 4)
    assert (drawn.version, drawn.parent_hash, drawn.mixed) == (1, None, False)


def test_mixed_protocols_are_refused_unless_allowed_and_then_recorded(frames: list[Frame]) -> None:
    mixed = [replace(f, labeller="vasp", protocol="ab"[i // 4]) for i, f in enumerate(frames)]
    with pytest.raises(FramesError, match="Mixed protocols"):
        assemble(mixed, labeller="vasp", valid_groups=["volume 1"])
    with pytest.raises(FramesError, match="Mixed protocols"):
        assemble_given(mixed[:4], mixed[4:], labeller="vasp")
    dataset = assemble(mixed, labeller="vasp", valid_groups=["volume 1"], allow_mixed=True)
    assert dataset.mixed
    assert dataset.statistics is not None
    assert dataset.statistics.protocols == {"vasp a": 4, "vasp b": 4}


def test_a_group_that_somebody_tore_is_recorded(frames: list[Frame]) -> None:
    dataset = assemble_given(frames[:5], frames[5:], labeller="vasp")
    assert dataset.split is not None
    assert dataset.split.torn_groups == ["volume 2"]


def test_a_dataset_larger_than_a_document_is_stored_in_several_blobs(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonotune.schemas.dataset.CHUNK_BYTES", 4000)
    dataset = assemble(frames, labeller="teacher", valid_groups=["volume 1"])
    assert len(dataset.more) == 2
    assert [frame.energy for frame in dataset.frames()] == [frame.energy for frame in frames]
    assert hash_of(dataset.train_frames(), dataset.valid_frames(), "teacher") == (
        dataset.dataset_hash
    )
