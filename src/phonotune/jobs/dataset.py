"""DatasetMaker: labelled frames with a split that tears no group apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jobflow import Maker

from phonotune.data.assemble import assemble
from phonotune.jobs.base import role_job
from phonotune.schemas.dataset import DatasetDocument, LabelledSet


@dataclass
class DatasetMaker(Maker):
    """Drop duplicates, split by group, hash.

    Parameters
    ----------
    valid_group
        The group that validates, if the labelled frames have it: the trajectory of the unchanged volume.
    valid_fraction
        Share of the groups that validate where there is no ``valid_group``.
    seed
        Seed of that draw.
    """

    name: str = "dataset"
    valid_group: str = "volume +0.0 %"
    valid_fraction: float = 0.2
    seed: int = 0

    @role_job("light", DatasetDocument)
    def make(self, labels: LabelledSet) -> DatasetDocument:
        """Assemble the dataset of ``labels``."""
        frames = labels.frames()
        if any(frame.group == self.valid_group for frame in frames):
            return assemble(frames, labeller=labels.labeller, valid_groups=[self.valid_group])
        return assemble(
            frames,
            labeller=labels.labeller,
            valid_fraction=self.valid_fraction,
            rng=np.random.default_rng(self.seed),
        )
