"""What a training leaves behind: errors before and after, the document, the model directory."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from phonotune.errors import InputError
from phonotune.models.adapter import ADAPTER_FILE, MODEL_FILE, Adapter, merge, model_record
from phonotune.models.evaluate import ModelEvaluator
from phonotune.ports import Evaluation
from phonotune.schemas.blob import Blob
from phonotune.schemas.dataset import DatasetDocument, Frame
from phonotune.schemas.training import (
    ErrorMetrics,
    FoundationRecord,
    TrainingDocument,
    TrainingMetrics,
)
from phonotune.training.config import FineTuneConfig
from phonotune.training.plan import TuningPlan
from phonotune.training.schedule import best_epoch
from phonotune.training.state import Row, TrainState


@dataclass(frozen=True, eq=False)
class Training:
    """What was trained: everything of the document that was known before the first step."""

    dataset: DatasetDocument
    foundation: FoundationRecord
    base: torch.nn.Module
    config: FineTuneConfig
    plan: TuningPlan
    energy_refit: str
    device: str


def training_document(
    training: Training, adapter: Adapter, state: TrainState, reason: str
) -> TrainingDocument:
    """Evaluate the foundation and the tuned model (float64, merged) and gather the document."""
    dataset = training.dataset
    shifted = merge(training.base, Adapter((), {}, adapter.energy_shifts))
    metrics, parity = _errors(dataset, shifted, merge(training.base, adapter), training.device)
    return TrainingDocument(
        formula=dataset.formula,
        model=model_record(
            training.foundation,
            training.config.strategy,
            adapter,
            dataset.dataset_hash,
            training.config.resolved(),
        ),
        plan=training.plan.summary(),
        metrics=metrics,
        energy_refit=training.energy_refit,
        best_epoch=best_epoch(state.valid_losses),
        epochs=len(state.history) - 1,
        seconds=state.seconds,
        stop_reason=reason,
        device=training.device,
        history=history_blob(state.history),
        parity=parity,
    )


def _errors(
    dataset: DatasetDocument, before: torch.nn.Module, after: torch.nn.Module, device: str
) -> tuple[TrainingMetrics, Blob]:
    train, valid = dataset.train_frames(), dataset.valid_frames()
    old, new = ModelEvaluator(before, device), ModelEvaluator(after, device)
    answers = new([frame.structure for frame in valid])
    metrics = TrainingMetrics(
        train_before=frame_errors(train, old([frame.structure for frame in train])),
        train_after=frame_errors(train, new([frame.structure for frame in train])),
        valid_before=frame_errors(valid, old([frame.structure for frame in valid])),
        valid_after=frame_errors(valid, answers),
    )
    return metrics, _parity(valid, answers)


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


def _parity(frames: Sequence[Frame], answers: Sequence[Evaluation]) -> Blob:
    pairs = list(zip(frames, answers, strict=True))
    energies = [
        (frame.energy / len(frame.structure), answer.energy / len(frame.structure))
        for frame, answer in pairs
        if frame.energy is not None
    ]
    forces = [
        np.stack([frame.forces, answer.forces])
        for frame, answer in pairs
        if frame.forces is not None
    ]
    energy = np.array(energies, dtype=float).reshape(-1, 2)
    force = np.concatenate(forces, axis=1)
    return Blob.pack(
        energy_reference=energy[:, 0],
        energy_predicted=energy[:, 1],
        forces_reference=force[0],
        forces_predicted=force[1],
    )


def history_blob(history: Sequence[Row]) -> Blob:
    """Pack the history; a quantity without any label has no array."""
    return Blob.pack(**{key: np.array([row[key] for row in history]) for key in history[0]})


def write_model_directory(document: TrainingDocument, out_dir: Path | str) -> Path:
    """Write ``adapter.safetensors``, ``model.json``, ``history.csv`` and ``metrics.json``.

    Parameters
    ----------
    document
        A finished training.
    out_dir
        The directory; it is made if need be, the four files are replaced one by one, atomically.

    Raises
    ------
    InputError
        The directory cannot be written.
    """
    directory, adapter = Path(out_dir), document.model.adapter
    files = {
        ADAPTER_FILE: b"" if adapter is None else adapter.to_bytes(),
        MODEL_FILE: _model_json(document),
        "history.csv": _history_csv(document),
        "metrics.json": (document.metrics.model_dump_json(indent=1) + "\n").encode(),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            partial = directory / f".{name}.{os.getpid()}.partial"
            partial.write_bytes(content)
            partial.replace(directory / name)
    except OSError as error:
        raise InputError(
            f"{directory} cannot be written ({error}). Choose another output directory."
        ) from error
    return directory


def _model_json(document: TrainingDocument) -> bytes:
    model = document.model
    content = {
        "model_id": model.model_id,
        "formula": document.formula,
        "foundation": model.foundation.model_dump(),
        "strategy": model.strategy,
        "config": model.config,
        "dataset_hash": model.dataset_hash,
        "plan": document.plan.model_dump(),
        "energy_refit": document.energy_refit,
        "best_epoch": document.best_epoch,
        "epochs": document.epochs,
        "seconds": document.seconds,
        "stop_reason": document.stop_reason,
        "device": document.device,
        "versions": document.versions,
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _history_csv(document: TrainingDocument) -> bytes:
    arrays = document.history.arrays()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(arrays)
    for values in zip(*arrays.values(), strict=True):
        row = dict(zip(arrays, (float(value) for value in values), strict=True))
        writer.writerow([int(row[k]) if k == "epoch" else f"{row[k]:.8g}" for k in arrays])
    return text.getvalue().encode()
