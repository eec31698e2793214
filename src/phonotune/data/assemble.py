"""Assemble labelled frames into a dataset: checked, without duplicates, split, hashed, versioned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from phonotune.data.checks import check_frame
from phonotune.data.identity import (
    Snapshot,
    find_duplicates,
    frame_hash,
    hash_of,
    match_atoms,
)
from phonotune.data.mixing import check_one_protocol
from phonotune.data.split import check_whole_groups, some_of, split_by_group, torn_groups
from phonotune.data.statistics import describe, protocol_name
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument, DatasetHeader, Frame, pack_frame_blobs
from phonotune.schemas.statistics import DatasetStatistics, SplitRecord

if TYPE_CHECKING:
    from phonotune.ports import FloatArray

SAME_ENERGY: Final = 1e-4
"""eV/atom: labels of one structure that differ by more contradict each other."""
SAME_FORCE: Final = 1e-3
"""eV/Å: as SAME_ENERGY, for any force component."""
SAME_STRESS: Final = 1e-4
"""eV/Å^3: as SAME_ENERGY, for any stress component."""


def assemble(
    frames: Sequence[Frame],
    *,
    labeller: str,
    valid_groups: Sequence[str] | None = None,
    valid_fraction: float | None = None,
    rng: np.random.Generator | None = None,
    reason: str = "",
    allow_mixed: bool = False,
) -> DatasetDocument:
    """Make a dataset from labelled frames and split it by group.

    A structure that occurs twice (:func:`phonotune.data.identity.find_duplicates`) is kept once, with
    the more complete labels and the group of its first frame. Missing labels stay missing; at least
    one frame on each side must have forces.

    Parameters
    ----------
    frames
        Labelled frames of one labeller.
    labeller
        Name of the labeller.
    valid_groups, valid_fraction, rng
        As in :func:`phonotune.data.split.split_by_group`.
    reason
        Why this split, recorded in the document beside what was asked for.
    allow_mixed
        Take frames of several protocols, and record it.

    Raises
    ------
    FramesError
        Bad frames (:func:`phonotune.data.checks.check_frame`), a frame without any label,
        contradicting labels of one structure, mixed protocols, a side without forces, or a split
        that is not possible.
    ConfigError
        Contradicting split settings.
    """
    mixed = check_one_protocol(check_labelled(frames, "Frame"), allow_mixed)
    kept = without_duplicates(frames)
    asked = SplitRequest(valid_groups, valid_fraction, rng, reason)
    train, valid, split = asked.apply([frame.group for frame in kept])
    return make_document(kept, train, valid, labeller, split, mixed, len(frames) - len(kept))


@dataclass(frozen=True, eq=False)
class SplitRequest:
    """A split by groups that somebody asked for; parameters as in :func:`assemble`."""

    valid_groups: Sequence[str] | None = None
    valid_fraction: float | None = None
    rng: np.random.Generator | None = None
    reason: str = ""

    def apply(self, groups: Sequence[str]) -> tuple[list[int], list[int], SplitRecord]:
        """Return the indices that train and validate, and the record of it.

        Raises
        ------
        FramesError, ConfigError
            As :func:`phonotune.data.split.split_by_group`.
        """
        train, valid = split_by_group(
            groups,
            valid_groups=self.valid_groups,
            valid_fraction=self.valid_fraction,
            rng=self.rng,
        )
        asked = (
            f"named: {some_of(self.valid_groups)}"
            if self.valid_groups is not None
            else f"drawn, {self.valid_fraction:.0%} of the frames by whole groups"
        )
        split = SplitRecord(
            how="drawn" if self.valid_groups is None else "named",
            reason=f"{asked} ({self.reason})" if self.reason else asked,
            valid_fraction=self.valid_fraction,
            **count_groups(groups, train, valid),
        )
        return train, valid, split


def assemble_given(
    train_frames: Sequence[Frame],
    valid_frames: Sequence[Frame],
    *,
    labeller: str,
    allow_mixed: bool = False,
) -> DatasetDocument:
    """Make a dataset from frames that somebody has split already.

    A group on both sides is kept there, since groups of files that other programs wrote may mean
    nothing, and recorded as torn.

    Parameters
    ----------
    train_frames, valid_frames
        Labelled frames of the two sides; within a side duplicates are dropped.
    labeller
        Name of the labeller.
    allow_mixed
        Take frames of several protocols, and record it.

    Raises
    ------
    FramesError
        As :func:`assemble`; also a structure that is on both sides (a leak).
    """
    train = without_duplicates(check_labelled(train_frames, "Training frame"))
    valid = without_duplicates(check_labelled(valid_frames, "Validation frame"))
    mixed = check_one_protocol([*train, *valid], allow_mixed)
    frames = [*train, *valid]
    first = find_duplicates([Snapshot.of(frame.structure) for frame in frames])
    for number, frame in enumerate(valid, start=1):
        twin = first[len(train) + number - 1]
        if twin < len(train):
            raise FramesError(
                f"A leak: validation frame {number} ({frame.origin}) is also a training frame "
                f"({train[twin].origin}); remove it from one of the two files."
            )
    sides = list(range(len(train))), list(range(len(train), len(frames)))
    groups = [frame.group for frame in frames]
    split = SplitRecord(
        how="given",
        reason="two sets of frames were given",
        torn_groups=torn_groups(groups, *sides)[:20],
        **count_groups(groups, *sides),
    )
    dropped = len(train_frames) + len(valid_frames) - len(frames)
    return make_document(frames, *sides, labeller, split, mixed, dropped)


def without_duplicates(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames of different structures, in order: of equal ones the one with most labels.

    Raises
    ------
    FramesError
        Labels of one structure that contradict each other.
    """
    first = find_duplicates([Snapshot.of(frame.structure) for frame in frames])
    richer = richer_copies(first, frames.__getitem__)
    return [richer.get(i, frame) for i, frame in enumerate(frames) if first[i] == i]


def richer_copies(first: Sequence[int], frame_of: Callable[[int], Frame]) -> dict[int, Frame]:
    """Return, by the index of a kept frame, the copy with more labels that takes its place.

    Parameters
    ----------
    first
        For each frame the index of the first equal one.
    frame_of
        Gives a frame that has a copy.

    Raises
    ------
    FramesError
        Labels of one structure that contradict each other.
    """
    richer: dict[int, Frame] = {}
    for index, one in enumerate(first):
        if index == one:
            continue
        known, frame = richer.get(one) or frame_of(one), frame_of(index)
        _check_agreement(known, frame)
        if _n_labels(frame) > _n_labels(known):
            richer[one] = replace(frame, group=known.group)
    return richer


def check_labelled(frames: Sequence[Frame], what: str) -> Sequence[Frame]:
    """Return the frames after checking each; FramesError names ``what``, the number and the origin."""
    if not frames:
        raise FramesError(f"{what}s are needed and none was given; label at least one.")
    for number, frame in enumerate(frames, start=1):
        check_one_labelled(frame, f"{what} {number}")
    return frames


def check_one_labelled(frame: Frame, what: str) -> None:
    """Check a frame and that it has a label; FramesError names ``what`` and the origin."""
    where = f"{what} ({frame.origin or 'no origin given'})"
    check_frame(frame, where)
    if frame.energy is None and frame.forces is None and frame.stress is None:
        raise FramesError(f"{where} has no label; label it or leave it out.")


def _n_labels(frame: Frame) -> int:
    labels = (frame.energy, frame.forces, frame.stress, frame.magmoms)
    return sum(label is not None for label in labels)


def _check_agreement(first: Frame, second: Frame) -> None:
    off = {}
    if first.energy is not None and second.energy is not None:
        per_atom = abs(first.energy - second.energy) / len(first.structure)
        off["energies"] = (per_atom, SAME_ENERGY, "eV/atom")
    if first.forces is not None and second.forces is not None:
        order = match_atoms(Snapshot.of(first.structure), Snapshot.of(second.structure))
        again = second.forces if order is None else second.forces[order]
        off["forces"] = (_largest(first.forces - again), SAME_FORCE, "eV/Å")
    if first.stress is not None and second.stress is not None:
        off["stresses"] = (_largest(first.stress - second.stress), SAME_STRESS, "eV/Å^3")
    for name, (difference, allowed, unit) in off.items():
        if difference > allowed:
            raise FramesError(
                f"One structure has two labels: the {name} of {_who(first)} and {_who(second)} differ "
                f"by {difference:.3g} {unit} (at most {allowed:g}). Keep the frames of one labeller "
                "and one set-up."
            )


def _who(frame: Frame) -> str:
    return f"{frame.origin or 'a frame'} ({protocol_name(frame)})"


def make_document(
    frames: Sequence[Frame],
    train: list[int],
    valid: list[int],
    labeller: str,
    split: SplitRecord,
    mixed: bool,
    n_duplicates: int,
) -> DatasetDocument:
    """Make the document of checked frames and a split; FramesError where a side has no forces."""
    entries = [Entry.of(frame) for frame in frames]
    header = make_header(
        entries, train, valid, labeller, split, mixed, n_duplicates, describe(frames)
    )
    first, *more = pack_frame_blobs(frames)
    return DatasetDocument(**dict(header), data=first, more=tuple(more))


@dataclass(frozen=True, slots=True)
class Entry:
    """What the header of a dataset needs to know of a frame: its group, its hash, whether it has forces."""

    group: str
    hash: str
    has_forces: bool

    @classmethod
    def of(cls, frame: Frame) -> Entry:
        """Return the entry of a frame."""
        return cls(frame.group, frame_hash(frame), frame.forces is not None)


def make_header(
    entries: Sequence[Entry],
    train: list[int],
    valid: list[int],
    labeller: str,
    split: SplitRecord,
    mixed: bool,
    n_duplicates: int,
    statistics: DatasetStatistics,
) -> DatasetHeader:
    """Make what a dataset says about itself; FramesError where a side has no forces."""
    for side, indices in (("training", train), ("validation", valid)):
        if not any(entries[i].has_forces for i in indices):
            raise FramesError(
                f"No {side} frame has forces ({len(indices)} frames); phonons need forces on both "
                "sides of the split. Label at least one frame with forces."
            )
    if not split.torn_groups:
        check_whole_groups([entry.group for entry in entries], train, valid)
    hashes = [entry.hash for entry in entries]
    return DatasetHeader(
        kind="dataset",
        formula=", ".join(sorted(statistics.compositions)),
        dataset_hash=hash_of([hashes[i] for i in train], [hashes[i] for i in valid], labeller),
        labeller=labeller,
        train=train,
        valid=valid,
        n_duplicates=n_duplicates,
        has_stress=100.0 * statistics.with_stress / len(entries),
        mixed=mixed,
        split=split,
        statistics=statistics,
    )


def count_groups(groups: Sequence[str], train: list[int], valid: list[int]) -> dict[str, int]:
    """Return the numbers of groups on both sides, as fields of SplitRecord."""
    sides = {"train_groups": train, "valid_groups": valid}
    return {name: len({groups[i] for i in indices}) for name, indices in sides.items()}


def _largest(difference: FloatArray) -> float:
    return float(np.abs(difference).max())
