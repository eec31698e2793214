"""Which model a name, a file or a folder means, and its id; nothing here loads torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from phonotune.errors import InputError, invalid_value
from phonotune.files import read_text
from phonotune.models.engines import find_foundation, require_trainable
from phonotune.models.foundation import foundation_names
from phonotune.schemas.base import hash_json
from phonotune.schemas.blob import Blob
from phonotune.schemas.training import FoundationRecord, ModelRecord, counted_options

MODEL_FILE: Final = "model.json"
ADAPTER_FILE: Final = "adapter.safetensors"


def model_record(
    foundation: FoundationRecord,
    strategy: str | None = None,
    adapters: Sequence[bytes] = (),
    dataset_hash: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> ModelRecord:
    """Name a model: ``model_id`` is the sha256 over everything that determines it.

    Parameters
    ----------
    foundation
        Name and sha256 of the foundation; alone, the record is that of the untuned model.
    strategy, dataset_hash, config
        Of a fine-tuned model; `config` is the resolved configuration.
    adapters
        What :meth:`phonotune.models.adapter.Adapter.to_bytes` gave, one per member.
    """
    identity = {
        "foundation": foundation.sha256,
        **({} if foundation.head is None else {"head": foundation.head}),
        "strategy": strategy,
        "adapters": [hashlib.sha256(content).hexdigest() for content in adapters],
        "dataset": dataset_hash,
        "config": counted_options(config or {}),
    }
    return ModelRecord(
        model_id=hash_json(identity),
        foundation=foundation,
        strategy=strategy,
        dataset_hash=dataset_hash,
        config=dict(config or {}),
        adapters=tuple(Blob.split(content, "safetensors") for content in adapters),
    )


def adapter_file(member: int) -> str:
    """Name of the file of a member's adapter, counted from 0."""
    return ADAPTER_FILE if member == 0 else f"adapter-{member + 1}.safetensors"


def read_model_directory(path: Path | str) -> ModelRecord:
    """Read the model that ``finetune -o DIR`` wrote.

    Raises
    ------
    InputError
        A file is missing or damaged, or the adapter is not the one that ``model.json`` names.
    """
    directory = Path(path)
    try:
        content = json.loads(read_text(directory / MODEL_FILE, ValueError))
        members = range(content.get("members", 1))
        adapters = [(directory / adapter_file(i)).read_bytes() for i in members]
        foundation = FoundationRecord.model_validate(content["foundation"])
        require_trainable(foundation, f"The model in {directory}")  # a file starts no program
        record = model_record(
            foundation,
            content["strategy"],
            adapters,
            content["dataset_hash"],
            content["config"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = invalid_value(error) if isinstance(error, ValidationError) else str(error)
        raise InputError(
            f"{directory} is not a model directory ({why.rstrip('.')}). It must hold {MODEL_FILE} and "
            f"{ADAPTER_FILE} as `phonotune finetune -o` writes them."
        ) from error
    if record.model_id != content.get("model_id"):
        raise InputError(
            f"{directory / ADAPTER_FILE} does not belong to {MODEL_FILE}: the model_id differs. Take "
            "both files from the same fine-tuning."
        )
    return record


def find_model(model: ModelRecord | str | Path, head: str | None = None) -> ModelRecord:
    """Return the record of a model directory, a foundation's name or a foundation's file.

    Parameters
    ----------
    model
        Which one.
    head
        The head of a multi-head foundation; a tuned model has that of its foundation.

    Raises
    ------
    InputError
        Nothing of that name is known, it is damaged, or it has no such head.
    """
    if isinstance(model, ModelRecord):
        record = model
    elif str(model) not in foundation_names() and Path(model).is_dir():
        record = read_model_directory(model)
    else:
        return model_record(find_foundation(model, head))
    if head not in (None, record.foundation.head):
        has = f"the head {record.foundation.head}" if record.foundation.head else "one head"
        raise InputError(f"{record.label} has {has}, not {head!r}. Leave --head out.")
    return record
