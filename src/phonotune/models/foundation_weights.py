"""Weights of a MACE foundation, read from the package or from a file whose sha256 is known."""

from __future__ import annotations

import io
import pickle
from functools import lru_cache
from pathlib import Path

import torch

from phonotune.errors import FoundationError
from phonotune.models.architecture import load_shipped
from phonotune.models.evaluate import torch_dtype
from phonotune.models.foundation import foundation_file
from phonotune.models.graphs import GraphSpec
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
def load_weights(name: str, sha256: str, dtype: str) -> torch.nn.Module:
    """Return the module of a foundation in evaluation mode, read once per process: copy it before tuning.

    Raises
    ------
    FoundationError
        The file cannot be had, does not have this sha256, or is not a MACE model.
    """
    if name in SHIPPED:
        if (found := shipped_sha256(name)) != sha256:
            raise FoundationError(
                f"The shipped model {name!r} has sha256 {found[:12]}, expected {sha256[:12]}: it "
                "changed with the version of phonotune. Install that version or tune again."
            )
        return load_shipped(name, torch_dtype(dtype)).eval()
    path = foundation_file(name, sha256)
    model = _unpickle(read_verified(path, sha256), path)
    return model.to(torch_dtype(dtype)).eval()


def read_elements(foundation: FoundationRecord) -> tuple[str, ...]:
    """Return the chemical symbols that a foundation knows, in its order; raises as :func:`load_weights`."""
    return GraphSpec.of(load_weights(foundation.name, foundation.sha256, "float64")).symbols


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
