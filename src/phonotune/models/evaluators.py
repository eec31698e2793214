"""Evaluators of models, whatever their engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from phonotune.dotted import load
from phonotune.models.engines import ENGINES
from phonotune.models.records import find_model
from phonotune.ports import Evaluator
from phonotune.schemas.training import ModelRecord


def load_evaluator(
    model: ModelRecord | str | Path, device: str = "auto", dtype: str = "float64"
) -> Evaluator:
    """Load a model, or all members of a committee, ready to evaluate.

    A process keeps the last few models: the properties of a model are jobs one after the other.

    Parameters
    ----------
    model
        A record, a model directory, a foundation's name or file, or ``ase:module:callable``.
    device
        ``"auto"`` or a torch device.
    dtype
        ``"float64"`` (phonons need it) or ``"float32"``; both of MACE models only.

    Raises
    ------
    InputError
        Nothing of that name is known, or it must not be loaded.
    """
    record = find_model(model)
    make: Callable[[ModelRecord, str, str], Evaluator] = load(
        ENGINES[record.foundation.engine].evaluator
    )
    return make(record, device, dtype)
