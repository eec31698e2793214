"""Plain MACE model files for other programs."""

from __future__ import annotations

from pathlib import Path

import torch

from phonotune.models.adapter import load_model
from phonotune.schemas.training import ModelRecord


def export_model(model: ModelRecord | str | Path, path: Path, dtype: str = "float64") -> None:
    """Write a model as the pickle that MACE's own tools read (``MACECalculator(model_paths=...)``).

    The adapter is merged, so the file needs no phonotune. It replaces `path` only once it is whole.

    Parameters
    ----------
    model
        A record, a model directory, a foundation's name or file.
    path
        File to write, by custom ``*.model``.
    dtype
        ``"float64"`` or ``"float32"``.

    Raises
    ------
    FoundationError
        The foundation cannot be had.
    """
    partial = path.with_name(f"{path.name}.partial")
    torch.save(load_model(model, dtype), partial)
    partial.replace(path)
