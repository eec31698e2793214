"""The model directory: ``adapter.safetensors``, ``model.json``, ``history.csv``, ``metrics.json``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from phonotune.errors import InputError
from phonotune.files import write_atomically
from phonotune.models.records import MODEL_FILE, adapter_file
from phonotune.schemas.blob import Blob, join_blobs
from phonotune.schemas.training import TrainingDocument

HISTORY_FILE: Final = "history.csv"
METRICS_FILE: Final = "metrics.json"


def directory_files(document: TrainingDocument) -> tuple[str, ...]:
    """Names of the files that :func:`write_model_directory` writes."""
    adapters = (adapter_file(member) for member in range(len(document.model.adapters)))
    return (*adapters, MODEL_FILE, HISTORY_FILE, METRICS_FILE)


def write_model_directory(document: TrainingDocument, out_dir: Path | str) -> Path:
    """Write adapter, model, history and metrics; a committee has an adapter file a member.

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
    directory = Path(out_dir)
    contents = [join_blobs(parts) for parts in document.model.adapters]
    contents += [_model_json(document), _history_csv(document), _metrics_json(document)]
    files = dict(zip(directory_files(document), contents, strict=True))
    try:
        for name, content in files.items():
            write_atomically(directory / name, content)
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
        "members": len(model.adapters),
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


def _metrics_json(document: TrainingDocument) -> bytes:
    content = document.metrics.model_dump(mode="json")
    if document.forgetting is not None:
        content["forgetting"] = document.forgetting.model_dump(
            mode="json", exclude={"holes": {"data"}}
        )
    return (json.dumps(content, indent=1) + "\n").encode()


def _history_csv(document: TrainingDocument) -> bytes:
    histories = [document.history, *(member.history for member in document.further_members)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(document.history.arrays())
    first = ["member"] if document.further_members else []
    writer.writerow([*first, *names])
    for member, history in enumerate(histories, start=1):
        for row in _rows(history):
            start = [str(member)] if first else []
            writer.writerow([*start, *(_text(name, row[name]) for name in names)])
    return text.getvalue().encode()


def _rows(history: Blob) -> Iterable[dict[str, float]]:
    arrays = history.arrays()
    for values in zip(*arrays.values(), strict=True):
        yield dict(zip(arrays, (float(value) for value in values), strict=True))


def _text(name: str, value: float) -> str:
    return f"{value:.0f}" if name == "epoch" else f"{value:.8g}"
