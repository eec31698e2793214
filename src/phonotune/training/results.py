"""What a training leaves behind: errors before and after, the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from phonotune.errors import PhonotuneError
from phonotune.models.adapter import Adapter
from phonotune.models.committee import as_evaluator
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.graphs import GraphSpec
from phonotune.models.records import model_record
from phonotune.ports import Evaluation
from phonotune.progress import Progress
from phonotune.schemas.blob import Blob
from phonotune.schemas.dataset import DatasetDocument, Frame
from phonotune.schemas.training import (
    ErrorMetrics,
    FoundationRecord,
    MemberTraining,
    TrainingDocument,
    TrainingMetrics,
)
from phonotune.training.config import FineTuneConfig
from phonotune.training.energies import EnergyRefit
from phonotune.training.forgetting import forgetting
from phonotune.training.plan import TuningPlan
from phonotune.training.schedule import Stop, best_epoch
from phonotune.training.state import Row, TrainState


@dataclass(frozen=True, eq=False)
class Training:
    """What was trained: everything of the document that was known before the first step."""

    dataset: DatasetDocument
    foundation: FoundationRecord
    base: torch.nn.Module
    config: FineTuneConfig
    refit: EnergyRefit
    device: str


@dataclass(frozen=True, eq=False)
class Member:
    """One trained model: what moved, its adapter, how it came about and why it ended."""

    plan: TuningPlan
    adapter: Adapter
    state: TrainState
    stop: Stop
    seed: int


def training_document(
    training: Training, members: Sequence[Member], progress: Progress | None = None
) -> TrainingDocument:
    """Evaluate the foundation and the tuned model (float64, merged) and gather the document."""
    progress = progress or Progress()
    progress.advance(progress.done, "errors before and after")
    dataset, (first, *others) = training.dataset, members
    tuned = as_evaluator(
        [ModelEvaluator(training.base, training.device, adapter=m.adapter) for m in members]
    )
    train, valid = dataset.train_frames(), dataset.valid_frames()
    shifted = Adapter((), {}, training.refit.shifts)
    old = ModelEvaluator(training.base, training.device, adapter=shifted)
    before, after = (evaluator([f.structure for f in valid]) for evaluator in (old, tuned))
    metrics = TrainingMetrics(
        train_before=frame_errors(train, old([f.structure for f in train])),
        train_after=frame_errors(train, tuned([f.structure for f in train])),
        valid_before=frame_errors(valid, before),
        valid_after=frame_errors(valid, after),
    )
    del old  # a copy of the foundation
    spec, probe, failure = GraphSpec.of(training.base), None, None
    try:
        probe = forgetting(
            ModelEvaluator(training.base, training.device),
            tuned,
            spec.symbols,
            sorted({symbol for frame in train for symbol in frame.structure.symbol_set}),
            cutoff=spec.r_max,
            energy_shifts=training.refit.shifts,
            foundation_sha256=training.foundation.identity,
            device=training.device,
            progress=progress,
        )
    except PhonotuneError as error:  # a model that is good on its material may give NaN far away
        failure = str(error)
    return TrainingDocument(
        formula=dataset.formula,
        model=model_record(
            training.foundation,
            training.config.strategy,
            [member.adapter.to_bytes() for member in members],
            dataset.dataset_hash,
            training.config.resolved(),
        ),
        plan=first.plan.summary(),
        metrics=metrics,
        energy_refit=training.refit.text,
        isolated_atoms=dataset.isolated_atoms,
        best_epoch=best_epoch(first.state.valid_losses),
        epochs=len(first.state.history) - 1,
        seconds=sum(member.state.seconds for member in members),
        stop_reason=first.stop.reason,
        device=training.device,
        history=history_blob(first.state.history),
        parity=_parity(valid, before, after),
        forgetting=probe,
        forgetting_error=failure,
        further_members=[
            MemberTraining(
                seed=member.seed,
                best_epoch=best_epoch(member.state.valid_losses),
                epochs=len(member.state.history) - 1,
                seconds=member.state.seconds,
                stop_reason=member.stop.reason,
                history=history_blob(member.state.history),
            )
            for member in others
        ],
    )


def frame_errors(frames: Sequence[Frame], answers: Sequence[Evaluation]) -> ErrorMetrics:
    """Return mean absolute errors over the labels that are there (meV/atom, meV/Å, meV/Å^3)."""
    energy, forces, stress = [], [], []
    for frame, answer in zip(frames, answers, strict=True):
        if frame.energy is not None:
            energy.append(abs(answer.energy - frame.energy) / len(frame.structure))
        if frame.forces is not None:
            forces.append(np.abs(answer.forces - frame.forces).ravel())
        if frame.stress is not None and answer.stress is not None:
            stress.append(np.abs(answer.stress - frame.stress).ravel())
    return ErrorMetrics(
        n_frames=len(frames),
        energy_mae=1000.0 * float(np.mean(energy)) if energy else None,
        forces_mae=1000.0 * float(np.concatenate(forces).mean()) if forces else None,
        stress_mae=1000.0 * float(np.concatenate(stress).mean()) if stress else None,
    )


def _parity(
    frames: Sequence[Frame], before: Sequence[Evaluation], after: Sequence[Evaluation]
) -> Blob:
    rows = list(zip(frames, after, before, strict=True))
    energies = [
        [value / len(frame.structure) for value in (frame.energy, new.energy, old.energy)]
        for frame, new, old in rows
        if frame.energy is not None
    ]
    forces = [
        np.stack([frame.forces, new.forces, old.forces])
        for frame, new, old in rows
        if frame.forces is not None
    ]
    energy = np.array(energies, dtype=float).reshape(-1, 3)
    force = np.concatenate(forces, axis=1)
    names = ("reference", "predicted", "untuned")
    columns = {f"energy_{name}": energy[:, i] for i, name in enumerate(names)}
    return Blob.pack(**columns, **{f"forces_{name}": force[i] for i, name in enumerate(names)})


def history_blob(history: Sequence[Row]) -> Blob:
    """Pack the history; a quantity without any label has no array."""
    return Blob.pack(**{key: np.array([row[key] for row in history]) for key in history[0]})
