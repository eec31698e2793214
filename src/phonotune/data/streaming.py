"""Split any number of frames into a dataset's folder, a few hundred bytes of each in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from phonotune.data.assemble import (
    Entry,
    SplitRequest,
    check_one_labelled,
    make_header,
    richer_copies,
)
from phonotune.data.folder import write_folder
from phonotune.data.identity import Fingerprints, Snapshot, close_pairs, first_equal
from phonotune.data.mixing import ProtocolGuard
from phonotune.data.spool import Spool
from phonotune.data.statistics import Tally, describe
from phonotune.errors import FramesError

if TYPE_CHECKING:
    from phonotune.schemas.dataset import DatasetHeader, Frame


@dataclass
class Intake:
    """Frames taken in one by one: each is checked and goes to disk, what a split needs of it stays.

    Attributes
    ----------
    spool
        Holds the frames.
    guard
        Refuses a second protocol.
    """

    spool: Spool
    guard: ProtocolGuard
    tally: Tally = field(default_factory=Tally)
    entries: list[Entry] = field(default_factory=list)
    prints: Fingerprints = field(default_factory=Fingerprints)
    labellers: set[str] = field(default_factory=set)

    def add(self, frame: Frame) -> None:
        """Take a frame; FramesError as :func:`phonotune.data.assemble.assemble`."""
        check_one_labelled(frame, f"Frame {len(self.entries) + 1}")
        self.guard.add(frame)
        self.tally.add(frame)
        self.labellers.add(frame.labeller)
        self.entries.append(Entry.of(frame))
        self.prints.add(Snapshot.of(frame.structure))
        self.spool.add(frame)

    def kept(self) -> dict[int, Frame | None]:
        """Return the indices of the frames that are no copies, in order.

        Of those whose copy has more labels the copy is given, to be taken instead.

        Raises
        ------
        FramesError
            Labels of one structure that contradict each other.
        """
        pairs = close_pairs(self.prints)
        close = self.spool.pick(index for pair in pairs for index in pair)
        first = first_equal(len(self.entries), pairs, lambda i: Snapshot.of(close[i].structure))
        richer = richer_copies(first, close.__getitem__)
        return {i: richer.get(i) for i, one in enumerate(first) if i == one}


def split_to_folder(
    frames: Iterable[Frame],
    asked: SplitRequest,
    folder: Path,
    *,
    labeller: str,
    allow_mixed: bool = False,
) -> tuple[DatasetHeader, tuple[Path, ...]]:
    """Make a dataset as :func:`phonotune.data.assemble.assemble` does, and write it as a folder.

    The frames are read once; of those that have a copy all are in memory for a while.

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
        As :func:`phonotune.data.assemble.assemble`; nothing is written then.
    """
    with Spool() as spool:
        intake = Intake(spool, ProtocolGuard(allow_mixed))
        for frame in frames:
            intake.add(frame)
        if not intake.entries:
            raise FramesError("Frames are needed and none was given; label at least one.")
        header, kept = _header(intake, asked, labeller)
        return header, write_folder(header, lambda: _stored(spool, kept), folder)


def _header(
    intake: Intake, asked: SplitRequest, labeller: str
) -> tuple[DatasetHeader, dict[int, Frame | None]]:
    kept = intake.kept()
    entries = [Entry.of(copy) if copy else intake.entries[i] for i, copy in kept.items()]
    train, valid, split = asked.apply([entry.group for entry in entries])
    dropped = len(intake.entries) - len(kept)
    names = intake.labellers
    header = make_header(
        entries,
        train,
        valid,
        next(iter(names)) if len(names) == 1 and "" not in names else labeller,
        split,
        intake.guard.mixed,
        dropped,
        describe(_stored(intake.spool, kept)) if dropped else intake.tally.result(),
    )
    return header, kept


def _stored(spool: Spool, kept: dict[int, Frame | None]) -> Iterator[Frame]:
    for index, frame in enumerate(spool):
        if index in kept:
            yield kept[index] or frame
