"""FineTuneMaker: one tuned model from one dataset."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from jobflow import Maker

from phonotune.jobs.base import role_job
from phonotune.progress import job_progress
from phonotune.schemas.dataset import DatasetDocument
from phonotune.schemas.training import FoundationRecord, TrainingDocument
from phonotune.training.config import FineTuneConfig, build_config

logger = logging.getLogger(__name__)


@dataclass
class FineTuneMaker(Maker):
    """Fine-tune a foundation model; resumes from its checkpoint if it was killed.

    Near the end of a Slurm job's walltime it writes its checkpoint and goes on in a further job
    (:func:`phonotune.jobs.base.repeat`); what depends on it waits for the final model.

    Parameters
    ----------
    foundation
        Name, file or record of the foundation model.
    config
        Strategy and options.
    head
        The head of a multi-head foundation, which the tuned model has alone; None for one with one head.
    """

    name: str = "finetune"
    foundation: str | FoundationRecord = "mace-mp-0b3"
    config: FineTuneConfig = field(default_factory=lambda: build_config("lora"))
    head: str | None = None

    @role_job("gpu_train", TrainingDocument)
    def make(self, dataset: DatasetDocument) -> TrainingDocument:
        """Fine-tune on ``dataset``; ``.output.model`` is what the property Makers take.

        Raises
        ------
        TrainingInterruptedError
            SIGTERM came; the same job, run again, goes on.
        """
        from phonotune.training.finetune import finetune

        progress = job_progress(logger)
        return finetune(dataset, self.foundation, self.config, progress=progress, head=self.head)
