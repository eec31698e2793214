"""Fine-tune a foundation model on a dataset: labelled frames in, TrainingDocument out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
import torch

from phonotune.errors import FramesError, TrainingError
from phonotune.models.adapter import Adapter
from phonotune.models.evaluate import choose_device, torch_dtype
from phonotune.models.foundation import find_foundation, load_foundation
from phonotune.models.terms import EffectiveWeights
from phonotune.schemas.dataset import DatasetDocument, Frame
from phonotune.schemas.training import FoundationRecord, TrainingDocument
from phonotune.settings import get_settings
from phonotune.training.batches import FrameSet
from phonotune.training.checkpoint import Checkpoint
from phonotune.training.config import FineTuneConfig
from phonotune.training.energies import (
    EnergyRefit,
    interaction_energies,
    no_refit,
    refit_energies,
)
from phonotune.training.loop import Progress, Task, run
from phonotune.training.losses import loss_terms
from phonotune.training.options import Options
from phonotune.training.plan import TuningPlan
from phonotune.training.results import Training, training_document
from phonotune.training.results import write_model_directory as write_model_directory
from phonotune.training.state import Row, TrainState, start_state
from phonotune.training.strategies import find_strategy


def finetune(
    dataset: DatasetDocument,
    foundation: str | FoundationRecord,
    config: FineTuneConfig,
    device: str = "auto",
    progress: Progress | None = None,
) -> TrainingDocument:
    """Fine-tune a foundation model; the result is never worse on validation than the foundation.

    A killed call resumes from its checkpoint when it is made again (settings ``checkpoint_dir`` and
    ``checkpoint_seconds``), and ends bit-identical on the CPU.

    Parameters
    ----------
    dataset
        Frames with a split; a missing label is a mask.
    foundation
        Name, file or record of the foundation model.
    config
        Strategy and options.
    device
        ``"auto"`` takes CUDA where there is one.
    progress
        Called with the row of the history after every epoch, epoch 0 (the foundation) included.

    Raises
    ------
    FramesError
        No training or validation frame, or no force label at all.
    StructureError
        An element that the foundation does not know.
    TrainingError
        The foundation itself gives no number on the validation frames.
    """
    train, valid = dataset.train_frames(), dataset.valid_frames()
    _check_frames(train, valid)
    record = foundation if isinstance(foundation, FoundationRecord) else find_foundation(foundation)
    base = load_foundation(record, "float64")
    options: Options = config.root
    elements = sorted({int(z) for f in (*train, *valid) for z in f.structure.atomic_numbers})
    plan = find_strategy(config.strategy).plan(base, elements, options)
    prepared = _prepare(base, plan, train, valid, elements, options, choose_device(device))
    checkpoint = Checkpoint.of(
        get_settings().checkpoint_dir, record.sha256, dataset.dataset_hash, config.resolved()
    )
    state = start_state(plan, options, prepared.like)
    checkpoint.read_into(state)
    reason = run(prepared.task, state, options, _Watch(checkpoint, state, progress))
    checkpoint.write(state)
    document = training_document(
        Training(
            dataset, record, base, config, plan, prepared.refit.text, str(prepared.like.device)
        ),
        Adapter(plan.terms, state.best, prepared.refit.shifts),
        state,
        reason,
    )
    if not reason.startswith("max_seconds"):
        checkpoint.remove()
    return document


def _check_frames(train: Sequence[Frame], valid: Sequence[Frame]) -> None:
    if not train or not valid:
        raise FramesError(
            f"The dataset has {len(train)} training and {len(valid)} validation frames; at "
            "least one of each is needed. Give another split or more frames."
        )
    for name, frames in (("training", train), ("validation", valid)):
        if all(frame.forces is None for frame in frames):
            raise FramesError(
                f"None of the {len(frames)} {name} frames has forces; phonons cannot be learned "
                "from energies alone. Label them with forces (REF_forces in extxyz)."
            )


@dataclass(frozen=True, eq=False)
class _Prepared:
    task: Task
    refit: EnergyRefit

    @property
    def like(self) -> torch.Tensor:
        """A tensor with the dtype and device of the training."""
        return next(self.task.model.parameters())


def _prepare(
    base: torch.nn.Module,
    plan: TuningPlan,
    train: Sequence[Frame],
    valid: Sequence[Frame],
    elements: Sequence[int],
    options: Options,
    device: torch.device,
) -> _Prepared:
    model = copy.deepcopy(base).to(device, torch_dtype(options.dtype)).requires_grad_(False)
    sets = [FrameSet.build(frames, model, elements) for frames in (train, valid)]
    refit = _refit(model, sets[0], options) if options.refit_energies else no_refit(elements)
    fitted, held_out = (frames.shifted(refit.shifts) for frames in sets)
    stress = fitted.has_stress or held_out.has_stress
    weights = EffectiveWeights(model, plan.terms)
    task = Task(model, weights, fitted, held_out, loss_terms(options.loss), stress)
    return _Prepared(task, refit)


def _refit(model: torch.nn.Module, train: FrameSet, options: Options) -> EnergyRefit:
    labelled = [i for i, frame in enumerate(train.frames) if frame.energy is not None]
    batches = train.in_order(options.batch_size)
    predicted = interaction_energies(model, batches)
    targets = np.concatenate([batch.labels.energy.cpu().double().numpy() for batch in batches])
    residual = targets - predicted
    if not np.isfinite(residual).all():
        raise TrainingError(
            "The foundation's energies of the training frames are not a number; nothing was trained. "
            "Look for overlapping atoms or absurd labels in these frames."
        )
    return refit_energies(train.elements, train.composition[labelled], residual[labelled])


class _Watch:
    """Writes a checkpoint every so often and passes the history's rows on."""

    def __init__(
        self, checkpoint: Checkpoint, state: TrainState, progress: Progress | None
    ) -> None:
        self._checkpoint, self._state, self._progress = checkpoint, state, progress
        self._interval = get_settings().checkpoint_seconds
        self._written = monotonic()

    def __call__(self, row: Row) -> None:
        if monotonic() - self._written >= self._interval:
            self._checkpoint.write(self._state)
            self._written = monotonic()
        if self._progress is not None:
            self._progress(row)
