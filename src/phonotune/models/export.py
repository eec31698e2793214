"""Plain MACE model files for other programs."""

from __future__ import annotations

from pathlib import Path

import torch

from phonotune.files import replacing
from phonotune.models.load import load_members
from phonotune.schemas.training import ModelRecord


def export_model(
    model: ModelRecord | str | Path, path: Path, dtype: str = "float64"
) -> tuple[Path, ...]:
    """Write a model as the pickle that MACE's own tools read (``MACECalculator(model_paths=...)``).

    The adapter is merged, so the file needs no phonotune. It replaces `path` only once it is whole.
    A committee of ``nacl.model`` is ``nacl-1.model``, ``nacl-2.model``, ...

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

    Returns
    -------
    The files, one per member.
    """
    members = load_members(model, dtype)
    alone = len(members) == 1
    paths = [
        path if alone else path.with_name(f"{path.stem}-{number}{path.suffix}")
        for number in range(1, len(members) + 1)
    ]
    for member, file in zip(members, paths, strict=True):
        with replacing(file) as stream:
            torch.save(member, stream)
    return tuple(paths)
