"""Models as plain MACE modules on the CPU: foundations verified, adapters merged."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path

import torch

from phonotune.errors import InputError
from phonotune.models.adapter import merge_into, read_adapters
from phonotune.models.batching import find_atoms_per_batch
from phonotune.models.committee import as_evaluator
from phonotune.models.engines import find_foundation, require_trainable
from phonotune.models.evaluate import ModelEvaluator, choose_device
from phonotune.models.foundation_weights import load_weights
from phonotune.models.records import find_model
from phonotune.physics.array_keys import ArrayKey
from phonotune.ports import Evaluator
from phonotune.schemas.training import FoundationRecord, ModelRecord


def load_foundation(
    foundation: str | Path | FoundationRecord, dtype: str = "float64"
) -> torch.nn.Module:
    """Load a foundation model as a plain MACE module on the CPU, in evaluation mode.

    Every call returns its own copy, free to be tuned; a process reads each file once.

    Parameters
    ----------
    foundation
        What :func:`find_foundation` takes, or the record that it returned, here or elsewhere.
    dtype
        ``"float64"`` or ``"float32"``.

    Raises
    ------
    FoundationError
        As :func:`find_foundation`; the file does not have the record's sha256; it is not a MACE model.
    """
    foundation = find_foundation(foundation)
    require_trainable(foundation, "A training, or a choice by features,")
    return copy.deepcopy(load_weights(foundation.name, foundation.sha256, dtype, foundation.head))


def load_model(model: ModelRecord | str | Path, dtype: str = "float64") -> torch.nn.Module:
    """Load a model as a plain MACE module on the CPU, the adapter merged.

    Parameters
    ----------
    model
        A record, a model directory, a foundation's name or a foundation's file.
    dtype
        ``"float64"`` or ``"float32"``.

    Raises
    ------
    FoundationError
        The foundation cannot be had here, or is not the one that the model was tuned from.
    InputError
        The model is a committee.
    """
    members = load_members(model, dtype)
    if len(members) > 1:
        raise InputError(
            f"{find_model(model).label} is a committee of {len(members)} models, one is wanted. "
            "Use its members one by one (`phonotune merge` writes one file per member)."
        )
    return members[0]


def load_members(model: ModelRecord | str | Path, dtype: str = "float64") -> list[torch.nn.Module]:
    """Load every member of a model as :func:`load_model` does; a model that is not a committee has one."""
    record = find_model(model)
    adapters = read_adapters(record)
    if not adapters:
        return [load_foundation(record.foundation, dtype)]
    return [merge_into(load_foundation(record.foundation, dtype), own) for own in adapters]


def load_mace(record: ModelRecord, device: str = "auto", dtype: str = "float64") -> Evaluator:
    """Return the evaluator of a MACE model or committee, the same to all in a process that ask for it."""
    where = choose_device(device)
    if str(where) == "cuda":
        where = torch.device("cuda", torch.cuda.current_device())
    return _shared(ArrayKey(record.model_id, record), where, dtype, find_atoms_per_batch(where))


@lru_cache(maxsize=4)
def _shared(
    model: ArrayKey[ModelRecord], device: torch.device, dtype: str, _atoms_per_batch: int
) -> Evaluator:
    record = model.value
    members = enumerate(load_members(record, dtype))
    return as_evaluator(
        [ModelEvaluator(m, str(device), dtype, record=record, member=n) for n, m in members]
    )
