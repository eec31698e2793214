"""Plain fine-tuning: every weight of the material's elements starts from the foundation's.

MACE's "naive" fine-tuning; without decay it is the change of all layers, with it the weights
themselves are drawn to zero, as AdamW does in a training from scratch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field

from phonotune.training.options import Options
from phonotune.training.plan import Strategy, TuningPlan, full_change
from phonotune.units import Dimensionless

if TYPE_CHECKING:
    import torch


class TransferOptions(Options):
    """Recipes: ``paper`` (arXiv 2604.01017) and ``mace`` (MACE's guidance of 2026)."""

    RECIPES: ClassVar = {
        "paper": {
            "max_epochs": 200,
            "lr": 0.01,
            "weight_decay": 5e-3,
            "schedule": "plateau",
            "clip_norm": None,
        },
        "mace": {"lr": 1e-3, "weight_decay": 0.0, "clip_norm": 1.0, "ema": 0.999},
    }

    strategy: Literal["transfer"] = "transfer"
    max_epochs: int = Field(default=100, ge=0)
    lr: Dimensionless = Field(default=0.01, gt=0)
    decay: Literal["change", "weights"] = "weights"
    clip_norm: Dimensionless | None = Field(default=10.0, gt=0)


def plan(model: torch.nn.Module, elements: Iterable[int], options: TransferOptions) -> TuningPlan:
    """Move every weight that the elements use, in full."""
    return full_change(model, elements)


STRATEGY: Final = Strategy("every weight, decayed to zero if at all", TransferOptions, plan)
