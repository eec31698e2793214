"""More frames for a dataset: a new version that names its parent; the old one stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phonotune.data.assemble import Assembly
from phonotune.data.isolated import IsolatedAtoms
from phonotune.data.split import count_groups, some_of, torn_groups
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
    assembly = Assembly([], allow_mixed)
    assembly.isolated = IsolatedAtoms(dataset.isolated_atoms)
    assembly.take(old, None)
    assembly.take(frames)
    assembly.drop_copies()
    nothing_new = assembly.kept == dict.fromkeys(range(len(old)))
    if nothing_new and assembly.isolated.energies == dataset.isolated_atoms:
        return dataset
    groups = [entry.group for entry in assembly.entries]
    trained = {groups[i] for i in dataset.train}
    validated = {groups[i] for i in dataset.valid} - trained
    new = set(groups) - trained - validated
    for group in valid_groups:
        if group not in new | validated:
            what = "trains already" if group in trained else "has no frame"
            raise FramesError(
                f"Group {group!r} cannot validate: it {what}. New groups: {some_of(sorted(new))}."
            )
    validated |= set(valid_groups)
    was_valid = set(dataset.valid)
    sides: tuple[list[int], list[int]] = ([], [])
    for index, group in enumerate(groups):  # the first frames are the old ones, in their order
        sides[index in was_valid if index < len(old) else group in validated].append(index)
    train, valid = sides
    split = SplitRecord(
        how="inherited",
        reason=f"groups of version {dataset.version} keep their side; of the new ones "
        f"{len(new & {groups[i] for i in valid})} validate and "
        f"{len(new & {groups[i] for i in train})} train",
        torn_groups=torn_groups(groups[: len(old)], dataset.train, dataset.valid)[:20],
        **count_groups(groups, train, valid),
    )
    made = assembly.document(train, valid, dataset.labeller, split)
    return made.model_copy(
        update={
            "version": dataset.version + 1,
            "parent_hash": dataset.dataset_hash,
            "n_duplicates": dataset.n_duplicates + made.n_duplicates,
        }
    )
