"""DatasetMaker: labelled frames with a split that tears no group apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jobflow import Maker

from phonotune.data.assemble import assemble
from phonotune.data.subset import first_frames
from phonotune.data.versions import append
from phonotune.jobs.base import role_job
from phonotune.schemas.dataset import DatasetDocument, LabelledSet


@dataclass
class DatasetMaker(Maker):
    """Drop duplicates, split by group, hash; or append to a dataset.

    Parameters
    ----------
    valid_group
        The group that validates, if the labelled frames have it: the trajectory of the unchanged volume.
    valid_fraction
        Share of the frames that validate, in whole groups, where there is no ``valid_group``; the
        document says so.
    seed
        Seed of that draw.
    allow_mixed
        Take frames of several protocols, and record it.
    """

    name: str = "dataset"
    valid_group: str = "volume +0.0 %"
    valid_fraction: float = 0.2
    seed: int = 0
    allow_mixed: bool = False

    @role_job("light", DatasetDocument)
    def make(self, labels: LabelledSet, parent: DatasetDocument | None = None) -> DatasetDocument:
        """Assemble the dataset of ``labels``, or the version of ``parent`` that has them too."""
        frames = [
            replace(
                frame,
                labeller=frame.labeller or labels.labeller,
                protocol=frame.protocol or labels.protocol,
            )
            for frame in labels.frames()
        ]
        if parent is not None:
            return append(parent, frames, allow_mixed=self.allow_mixed)
        if any(frame.group == self.valid_group for frame in frames):
            return assemble(
                frames,
                labeller=labels.labeller,
                valid_groups=[self.valid_group],
                allow_mixed=self.allow_mixed,
            )
        names = list(dict.fromkeys(frame.group for frame in frames))
        listed = f"groups: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        return assemble(
            frames,
            labeller=labels.labeller,
            valid_fraction=self.valid_fraction,
            rng=np.random.default_rng(self.seed),
            reason=f"no labelled frame belongs to {self.valid_group!r} ({listed}), "
            f"so groups were drawn with seed {self.seed}",
            allow_mixed=self.allow_mixed,
        )


@dataclass
class SubsetMaker(Maker):
    """Take the first training frames of a dataset (:func:`phonotune.data.subset.first_frames`).

    Parameters
    ----------
    n_train
        Training frames; what validates stays.
    """

    name: str = "first frames"
    n_train: int = 16

    @role_job("light", DatasetDocument)
    def make(self, dataset: DatasetDocument) -> DatasetDocument:
        """Return the smaller dataset."""
        return first_frames(dataset, self.n_train)
