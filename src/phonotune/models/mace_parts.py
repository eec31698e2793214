"""What phonotune takes from mace-torch and e3nn: no other module imports them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import mace.modules  # before e3nn
import torch
from e3nn import o3
from e3nn.util.codegen import CodeGenMixin
from mace.data.neighborhood import get_neighborhood
from mace.modules import ScaleShiftMACE, blocks
from mace.modules.radial import BesselBasis, PolynomialCutoff
from mace.modules.symmetric_contraction import Contraction, SymmetricContraction

__all__ = [
    "BesselBasis",
    "Contraction",
    "PolynomialCutoff",
    "ScaleShiftMACE",
    "SymmetricContraction",
    "blocks",
    "copy_without_code",
    "download_foundation",
    "foundation_urls",
    "get_neighborhood",
    "interaction_classes",
    "o3",
    "read_architecture",
]

interaction_classes: dict[str, type] = mace.modules.interaction_classes


def read_architecture(model: torch.nn.Module) -> dict[str, Any]:
    """Return the arguments that build a model like this one; the key ``error`` says why there are none."""
    from mace.tools.scripts_utils import extract_config_mace_model

    arguments: dict[str, Any] = extract_config_mace_model(model)
    return arguments


def copy_without_code(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy without the compiled functions of e3nn, to be called by a forward of one's own.

    Parameters keep their names. e3nn copies a function by writing it out and reading it again, which takes
    most of the time of a copy.
    """
    compiled = [module for module in model.modules() if isinstance(module, CodeGenMixin)]
    memo: dict[int, Any] = {id(module): object.__new__(type(module)) for module in compiled}
    for module in compiled:
        functions = getattr(module, "__codegen__", ())
        children = {k: v for k, v in module._modules.items() if k not in functions}
        state = module.__dict__ | {"_modules": children, "__codegen__": []}
        memo[id(module)].__dict__.update(copy.deepcopy(state, memo))
    return copy.deepcopy(model, memo)


def foundation_urls() -> dict[str, str]:
    """Return the addresses of mace-torch's periodic foundation models by name."""
    from mace.calculators.foundations_models import mace_mp_urls

    return dict(mace_mp_urls)


def download_foundation(url: str) -> Path:
    """Return the cached file of a foundation model by its address, downloaded if it is not there yet."""
    from mace.calculators.foundations_models import download_mace_mp_checkpoint

    return Path(download_mace_mp_checkpoint(url))
