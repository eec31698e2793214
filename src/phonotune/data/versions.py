"""More frames for a dataset: a new version that names its parent; the old one stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phonotune.data.assemble import (
    check_labelled,
    count_groups,
    make_document,
    without_duplicates,
)
from phonotune.data.mixing import check_one_protocol
from phonotune.data.split import some_of, torn_groups
from phonotune.errors import FramesError
from phonotune.schemas.statistics import SplitRecord

if TYPE_CHECKING:
    from phonotune.schemas.dataset import DatasetDocument, Frame


def append(
    dataset: DatasetDocument,
    frames: Sequence[Frame],
    *,
    valid_groups: Sequence[str] = (),
    allow_mixed: bool = False,
) -> DatasetDocument:
    """Return a new version of a dataset with more frames.

    Groups that the dataset has keep their side. New groups train, except for those named, so that
    validation errors of two versions can be compared.

    Parameters
    ----------
    dataset
        The version before; the new one names its hash.
    frames
        More labelled frames; those that the dataset has already are dropped.
    valid_groups
        New groups that validate.
    allow_mixed
        Take frames of several protocols, and record it; also if the dataset holds several already.

    Returns
    -------
    DatasetDocument
        With ``version`` one higher; the dataset itself if no frame is new.

    Raises
    ------
    FramesError
        As :func:`phonotune.data.assemble.assemble`; also a named group that no frame belongs to or
        that trains already.
    """
    old = dataset.frames()
    everything = [*old, *check_labelled(frames, "Frame")]
    mixed = check_one_protocol(everything, allow_mixed)
    kept = without_duplicates(everything)
    if len(kept) == len(old) and all(a is b for a, b in zip(kept, old, strict=True)):
        return dataset
    train, valid = _sides(dataset, old, kept, valid_groups)
    made = make_document(
        kept,
        train,
        valid,
        dataset.labeller,
        _split(dataset, old, kept, train, valid),
        mixed,
        dataset.n_duplicates + len(everything) - len(kept),
    )
    lineage = {"version": dataset.version + 1, "parent_hash": dataset.dataset_hash}
    return made.model_copy(update=lineage)


def _sides(
    dataset: DatasetDocument, old: list[Frame], kept: list[Frame], named: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Return the indices that train and validate; the first frames of ``kept`` are the old ones."""
    was_valid = set(dataset.valid)
    trained = {old[i].group for i in dataset.train}
    validated = {old[i].group for i in dataset.valid} - trained
    new = {frame.group for frame in kept} - trained - validated
    for group in named:
        if group not in new | validated:
            what = "trains already" if group in trained else "has no frame"
            raise FramesError(
                f"Group {group!r} cannot validate: it {what}. New groups: {some_of(sorted(new))}."
            )
    validated |= set(named)
    on_valid = [
        i in was_valid if i < len(old) else frame.group in validated for i, frame in enumerate(kept)
    ]
    sides: tuple[list[int], list[int]] = ([], [])
    for index, side in enumerate(on_valid):
        sides[side].append(index)
    return sides


def _split(
    dataset: DatasetDocument,
    old: list[Frame],
    kept: list[Frame],
    train: list[int],
    valid: list[int],
) -> SplitRecord:
    known = {frame.group for frame in old}
    new = {kept[i].group for i in valid} - known, {kept[i].group for i in train} - known
    return SplitRecord(
        how="inherited",
        reason=f"groups of version {dataset.version} keep their side; of the new ones "
        f"{len(new[0])} validate and {len(new[1])} train",
        torn_groups=torn_groups([frame.group for frame in old], dataset.train, dataset.valid)[:20],
        **count_groups([frame.group for frame in kept], train, valid),
    )
