"""Assemble labelled frames into a dataset: checked, without duplicates, split, hashed, versioned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phonotune.data.checks import check_frame
from phonotune.data.duplicates import DuplicateSearch, richer_copies
from phonotune.data.folder import write_folder
from phonotune.data.frames_on_disk import FramesOnDisk
from phonotune.data.identity import Snapshot, dataset_hash, frame_hash
from phonotune.data.isolated import IsolatedAtoms
from phonotune.data.protocols import ProtocolGuard
from phonotune.data.split import SplitRequest, check_whole_groups, count_groups, torn_groups
from phonotune.data.statistics import Tally, describe
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument, DatasetHeader, Frame, pack_frame_blobs
from phonotune.schemas.statistics import SplitRecord


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


class Assembly:
    """Frames on their way into a dataset; iterating gives those that are kept, in order.

    ``take`` frames, then ``drop_copies`` of equal structures, then make the header or the document.

    Parameters
    ----------
    frames
        Holds the frames, in memory or on disk; a few hundred bytes of each stay in memory beside it.
    allow_mixed
        Take frames of several protocols, and record it.

    Attributes
    ----------
    entries
        Of the frames taken; of those kept after ``drop_copies``.
    kept
        Indices of the frames kept, in order; where a copy has more labels, that copy.
    labellers
        Who labelled the frames taken.
    isolated
        Energies of the isolated atoms among the frames; these are not kept as frames.
    """

    def __init__(self, frames: list[Frame] | FramesOnDisk, allow_mixed: bool = False) -> None:
        self._frames = frames
        self._guard = ProtocolGuard(allow_mixed)
        self._search = DuplicateSearch()
        self._tally = Tally()
        self.isolated = IsolatedAtoms()
        self.entries: list[Entry] = []
        self.kept: dict[int, Frame | None] = {}
        self.labellers: set[str] = set()

    def __iter__(self) -> Iterator[Frame]:
        for index, frame in enumerate(self._frames):
            if index in self.kept:
                yield self.kept[index] or frame

    def take(self, frames: Iterable[Frame], what: str | None = "Frame") -> None:
        """Check frames and take them in, one by one.

        Parameters
        ----------
        frames
            Labelled frames.
        what
            What errors call a frame, before its number; None: the frames come from a dataset and were
            checked when it was made.

        Raises
        ------
        FramesError
            A frame that cannot be used (:func:`phonotune.data.checks.check_frame`), has no label, or is
            of another protocol than those before; no frame at all.
        """
        number = 0
        for number, frame in enumerate(frames, start=1):
            if what is not None:
                where = f"{what} {number} ({frame.origin or 'no origin given'})"
                check_frame(frame, where)
                if frame.energy is None and frame.forces is None and frame.stress is None:
                    raise FramesError(f"{where} has no label; label it or leave it out.")
            if self.isolated.take(frame):
                continue
            self._guard.add(frame)
            self._tally.add(frame)
            self._search.add(Snapshot.of(frame.structure))
            self.labellers.add(frame.labeller)
            self.entries.append(Entry.of(frame))
            self._frames.append(frame)
        if not number:
            raise FramesError(
                f"{what or 'Frame'}s are needed and none was given; label at least one."
            )

    def drop_copies(self, n_train: int = 0) -> None:
        """Keep the first of equal structures, with the labels of the copy that has most.

        Parameters
        ----------
        n_train
            That many frames, the first ones, are the training side of a given split: none of them may
            occur again on the other side.

        Raises
        ------
        FramesError
            Labels of one structure that contradict each other, or a structure on both sides (a leak).
        """
        close: dict[int, Frame] = {}

        def snapshots_at(wanted: set[int]) -> dict[int, Snapshot]:
            if wanted:
                close.update((i, f) for i, f in enumerate(self._frames) if i in wanted)
            return {i: Snapshot.of(frame.structure) for i, frame in close.items()}

        first = self._search.first_equal(snapshots_at)
        for index, one in enumerate(first):
            if one < n_train <= index:
                raise FramesError(
                    f"A leak: validation frame {index - n_train + 1} ({close[index].origin}) is also a "
                    f"training frame ({close[one].origin}); remove it from one of the two files."
                )
        richer = richer_copies(first, close)
        self.kept = {i: richer.get(i) for i, one in enumerate(first) if i == one}
        self.entries = [
            Entry.of(copy) if copy else self.entries[i] for i, copy in self.kept.items()
        ]

    def header(
        self, train: list[int], valid: list[int], labeller: str, split: SplitRecord
    ) -> DatasetHeader:
        """Return what the dataset of a split says about itself: all but its frames.

        Raises
        ------
        FramesError
            A side without forces.
        """
        for side, indices in (("training", train), ("validation", valid)):
            if not any(self.entries[i].has_forces for i in indices):
                raise FramesError(
                    f"No {side} frame has forces ({len(indices)} frames); phonons need forces on both "
                    "sides of the split. Label at least one frame with forces."
                )
        if not split.torn_groups:
            check_whole_groups([entry.group for entry in self.entries], train, valid)
        hashes = [entry.hash for entry in self.entries]
        n_dropped = len(self._search) - len(self.kept)
        statistics = describe(self) if n_dropped else self._tally.result()
        return DatasetHeader(
            kind="dataset",
            formula=", ".join(sorted(statistics.compositions)),
            dataset_hash=dataset_hash(
                [hashes[i] for i in train],
                [hashes[i] for i in valid],
                labeller,
                self.isolated.energies,
            ),
            labeller=labeller,
            train=train,
            valid=valid,
            n_duplicates=n_dropped,
            has_stress=100.0 * statistics.with_stress / len(hashes),
            mixed=self._guard.mixed,
            isolated_atoms=self.isolated.energies,
            split=split,
            statistics=statistics,
        )

    def document(
        self, train: list[int], valid: list[int], labeller: str, split: SplitRecord
    ) -> DatasetDocument:
        """Make the Document of a split; FramesError as :meth:`header`."""
        header = self.header(train, valid, labeller, split)
        first, *more = pack_frame_blobs(list(self))
        return DatasetDocument(**dict(header), data=first, more=tuple(more))


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

    A structure that occurs twice (:mod:`phonotune.data.duplicates`) is kept once, with the more complete
    labels and the group of its first frame. Missing labels stay missing; at least one frame on each
    side must have forces.

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
    assembly = Assembly([], allow_mixed)
    assembly.take(frames)
    assembly.drop_copies()
    asked = SplitRequest(valid_groups, valid_fraction, rng, reason)
    train, valid, split = asked.apply([entry.group for entry in assembly.entries])
    return assembly.document(train, valid, labeller, split)


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
    assembly = Assembly([], allow_mixed)
    assembly.take(train_frames, "Training frame")
    n_given = len(assembly.entries)
    assembly.take(valid_frames, "Validation frame")
    assembly.drop_copies(n_train=n_given)
    n_train = sum(index < n_given for index in assembly.kept)
    sides = list(range(n_train)), list(range(n_train, len(assembly.kept)))
    groups = [entry.group for entry in assembly.entries]
    split = SplitRecord(
        how="given",
        reason="two sets of frames were given",
        torn_groups=torn_groups(groups, *sides)[:20],
        **count_groups(groups, *sides),
    )
    return assembly.document(*sides, labeller, split)


def split_to_folder(
    frames: Iterable[Frame],
    asked: SplitRequest,
    folder: Path,
    *,
    labeller: str,
    allow_mixed: bool = False,
) -> tuple[DatasetHeader, tuple[Path, ...]]:
    """Make a dataset as :func:`assemble` does, of any number of frames, and write it as a folder.

    The frames are read once and wait on disk; those that have a copy are all in memory for a while.

    Parameters
    ----------
    frames
        Labelled frames.
    asked
        Which groups validate.
    folder
        Gets the files of :func:`phonotune.data.folder.write_dataset`.
    labeller
        Name of the labeller where the frames do not name one and the same.
    allow_mixed
        Take frames of several protocols, and record it.

    Returns
    -------
    header, files
        What the dataset says about itself, and the files written.

    Raises
    ------
    FramesError, ConfigError
        As :func:`assemble`; nothing is written then.
    """
    with FramesOnDisk() as stored:
        assembly = Assembly(stored, allow_mixed)
        assembly.take(frames)
        assembly.drop_copies()
        train, valid, split = asked.apply([entry.group for entry in assembly.entries])
        if len(assembly.labellers) == 1 and "" not in assembly.labellers:
            (labeller,) = assembly.labellers
        header = assembly.header(train, valid, labeller, split)
        return header, write_folder(header, assembly.__iter__, folder)
