"""The model directory: ``adapter.safetensors``, ``model.json``, ``history.csv``, ``metrics.json``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Final

from phonotune.errors import InputError
from phonotune.files import write_atomically
from phonotune.models.records import MODEL_FILE, adapter_file
from phonotune.schemas.blob import join_blobs
from phonotune.schemas.training import TrainingDocument

HISTORY_FILE: Final = "history.csv"
METRICS_FILE: Final = "metrics.json"


def directory_files(document: TrainingDocument) -> tuple[str, ...]:
    """Return the names of the files that :func:`write_model_directory` writes."""
    adapters = (adapter_file(member) for member in range(len(document.model.adapters)))
    return (*adapters, MODEL_FILE, HISTORY_FILE, METRICS_FILE)


def write_model_directory(document: TrainingDocument, out_dir: Path | str) -> Path:
    """Write adapter, model, history and metrics; a committee has one adapter file for each member.

    Parameters
    ----------
    document
        A finished training.
    out_dir
        The directory; it is made if need be, the files are replaced one by one, atomically.

    Raises
    ------
    InputError
        The directory cannot be written.
    """
    model, directory = document.model, Path(out_dir)
    described = {
        "model_id": model.model_id,
        "formula": document.formula,
        "foundation": model.foundation.model_dump(),
        "strategy": model.strategy,
        "members": len(model.adapters),
        "config": model.config,
        "dataset_hash": model.dataset_hash,
        "plan": document.plan.model_dump(),
        "energy_refit": document.energy_refit,
        "isolated_atoms": document.isolated_atoms,
        "best_epoch": document.best_epoch,
        "epochs": document.epochs,
        "seconds": document.seconds,
        "stop_reason": document.stop_reason,
        "device": document.device,
        "versions": document.versions,
    }
    metrics = document.metrics.model_dump(mode="json")
    if document.isolated_atoms:
        metrics["isolated_atoms"] = document.isolated_atoms
    if document.forgetting is not None:
        probe = document.forgetting.model_dump(mode="json", exclude={"holes": {"data"}})
        metrics["forgetting"] = probe
    history = io.StringIO()
    writer = csv.writer(history, lineterminator="\n")
    names = list(document.history.arrays())
    committee = bool(document.further_members)
    writer.writerow([*(["member"] if committee else []), *names])
    histories = [document.history, *(member.history for member in document.further_members)]
    for number, blob in enumerate(histories, start=1):
        arrays = blob.arrays()
        for values in zip(*(arrays[name] for name in names), strict=True):
            row = zip(names, values, strict=True)
            texts = [f"{x:.0f}" if name == "epoch" else f"{x:.8g}" for name, x in row]
            writer.writerow([*([number] if committee else []), *texts])
    contents: list[bytes | str] = [
        *(join_blobs(parts) for parts in model.adapters),
        json.dumps(described, indent=1, ensure_ascii=False) + "\n",
        history.getvalue(),
        json.dumps(metrics, indent=1) + "\n",
    ]
    try:
        for name, content in zip(directory_files(document), contents, strict=True):
            write_atomically(directory / name, content)
    except OSError as error:
        raise InputError(
            f"{directory} cannot be written ({error}). Choose another output directory."
        ) from error
    return directory
