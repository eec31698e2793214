"""L2-SP over all layers: a full change of every weight of the material's elements, decayed.

Weights are w = w0 + Δw; AdamW decays Δw, never w (Li, Grandvalet, Davoine, ICML 2018; Equitrain).
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


class DeltaOptions(Options):
    """A weak pull; the paper's schedule and decay are the recipe ``paper``."""

    RECIPES: ClassVar = {
        "paper": {"max_epochs": 200, "lr": 0.01, "weight_decay": 1e-4, "schedule": "plateau"}
    }

    strategy: Literal["delta"] = "delta"
    max_epochs: int = Field(default=100, ge=0)
    lr: Dimensionless = Field(default=0.01, gt=0)
    weight_decay: Dimensionless = Field(default=1e-4, ge=0)
    clip_norm: Dimensionless | None = Field(default=10.0, gt=0)


def plan(model: torch.nn.Module, elements: Iterable[int], options: DeltaOptions) -> TuningPlan:
    """Move every weight that the elements use, in full."""
    return full_change(model, elements)


STRATEGY: Final = Strategy("every weight, decayed to the foundation", DeltaOptions, plan)
