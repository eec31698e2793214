"""The first frames of a dataset: how much a model learns from fewer labels, without paying for one twice."""

from __future__ import annotations

from phonotune.data.assemble import Assembly
from phonotune.data.isolated import IsolatedAtoms
from phonotune.data.split import count_groups
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument
from phonotune.schemas.statistics import SplitRecord


def first_frames(dataset: DatasetDocument, n_train: int) -> DatasetDocument:
    """Return the dataset with its first ``n_train`` training frames; what validates stays.

    Frames are taken from every group in turn, the small rattles first, within a group in the order in
    which they were selected. The frames of a smaller number are therefore among those of a larger one.

    Parameters
    ----------
    dataset
        A dataset whose frames are in the order of their selection.
    n_train
        Training frames wanted; all where the dataset has no more, and its split says how many that is.

    Raises
    ------
    FramesError
        ``n_train`` is below 1, or the frames taken have no forces.
    """
    if n_train < 1:
        raise FramesError(f"{n_train} training frames were asked for; at least 1 is needed.")
    frames = dataset.frames()
    turns: dict[str, list[int]] = {}
    for index in dataset.train:
        turns.setdefault(frames[index].group, []).append(index)
    ranked = sorted(
        (turn, not group.startswith("small rattle"), number, index)
        for number, (group, members) in enumerate(turns.items())
        for turn, index in enumerate(members)
    )
    taken = {index for *_, index in ranked[:n_train]}
    kept = sorted(taken | set(dataset.valid))
    assembly = Assembly([], dataset.mixed)
    assembly.isolated = IsolatedAtoms(dataset.isolated_atoms)
    assembly.take([frames[i] for i in kept], None)
    assembly.drop_copies()
    train = [new for new, old in enumerate(kept) if old in taken]
    valid = [new for new, old in enumerate(kept) if old not in taken]
    groups = [entry.group for entry in assembly.entries]
    fewer = "" if len(taken) == n_train else f"; {n_train} were asked for"
    split = SplitRecord(
        how="inherited",
        reason=f"the first {len(taken)} of {len(dataset.train)} training frames{fewer}",
        **count_groups(groups, train, valid),
    )
    made = assembly.document(train, valid, dataset.labeller, split)
    return made.model_copy(update={"parent_hash": dataset.dataset_hash})
