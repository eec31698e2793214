"""What phonotune takes from mace-torch and e3nn: no other module imports them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mace.modules  # before e3nn
import torch
from e3nn import o3
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


def foundation_urls() -> dict[str, str]:
    """Return the addresses of mace-torch's periodic foundation models by name."""
    from mace.calculators.foundations_models import mace_mp_urls

    return dict(mace_mp_urls)


def download_foundation(name: str) -> Path:
    """Return the cached file of a foundation model, downloaded if it is not there yet."""
    from mace.calculators.foundations_models import download_mace_mp_checkpoint

    return Path(download_mace_mp_checkpoint(name))
