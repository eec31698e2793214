"""Weights of a MACE foundation, read from the package or from a file whose sha256 is known."""

from __future__ import annotations

import io
import pickle
from functools import lru_cache
from pathlib import Path

import torch

from phonotune.errors import FoundationError
from phonotune.models.architecture import load_shipped
from phonotune.models.elements import require_head
from phonotune.models.evaluate import torch_dtype
from phonotune.models.foundation import foundation_file
from phonotune.models.graphs import GraphSpec
from phonotune.models.heads import head_names, select_head
from phonotune.models.shipped import SHIPPED, shipped_sha256
from phonotune.models.trust import read_verified
from phonotune.schemas.training import FoundationRecord

_UNREADABLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


@lru_cache(maxsize=4)
def load_weights(name: str, sha256: str, dtype: str, head: str | None = None) -> torch.nn.Module:
    """Return the module of a foundation in evaluation mode, read once per process: copy it before tuning.

    Of a multi-head foundation it is the chosen head alone.

    Raises
    ------
    FoundationError
        The file cannot be had, does not have this sha256, or is not a MACE model; it has no such head, or
        several and none was chosen; it takes more of a structure than its atoms.
    """
    model = _read(name, sha256, dtype)
    chosen = require_head(head_names(model), head, name)
    return model if chosen is None else select_head(model, chosen)


def read_facts(foundation: FoundationRecord) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the chemical symbols that a foundation knows, in its order, and the names of its heads.

    Raises
    ------
    FoundationError
        As :func:`load_weights`.
    """
    model = _read(foundation.name, foundation.sha256, "float64")
    return GraphSpec.of(model).symbols, head_names(model)


def _read(name: str, sha256: str, dtype: str) -> torch.nn.Module:
    """Return the whole module of a foundation, with all its heads."""
    if name in SHIPPED:
        if (found := shipped_sha256(name)) != sha256:
            raise FoundationError(
                f"The shipped model {name!r} has sha256 {found[:12]}, expected {sha256[:12]}: it "
                "changed with the version of phonotune. Install that version or tune again."
            )
        return load_shipped(name, torch_dtype(dtype)).eval()
    path = foundation_file(name, sha256)
    model = _unpickle(read_verified(path, sha256), path)
    if hasattr(model, "joint_embedding"):
        raise FoundationError(
            f"{name} takes {', '.join(vars(model)['embedding_specs'])} of a structure beside its atoms, which "
            "crystals do not state here. Choose another foundation."
        )
    return model.to(torch_dtype(dtype)).eval()


def _unpickle(content: bytes, path: Path) -> torch.nn.Module:
    try:
        model = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    except ModuleNotFoundError as error:
        raise FoundationError(
            f"{path} needs the Python package {error.name!r} to be loaded. "
            "Install it, or export the model as plain e3nn MACE."
        ) from error
    except _UNREADABLE as error:
        raise FoundationError(
            f"{path} cannot be read as a MACE model ({error}). "
            "Give a .model file that mace-torch wrote."
        ) from error
    is_mace = hasattr(model, "atomic_numbers") and hasattr(model, "r_max")
    if not isinstance(model, torch.nn.Module) or not is_mace:
        raise FoundationError(
            f"{path} holds a {type(model).__name__}, not a MACE model. "
            "Give a .model file that mace-torch wrote, not a checkpoint or a state dict."
        )
    return model
