"""Targeted L2-SP, the paper's recipe: a full change of the early layers, pulled to zero.

Weights are w = w0 + Δw with Δw on the node embedding and the first interaction only; AdamW decays
Δw, never w (Grandel, Benner, George, arXiv 2604.01017; Equitrain).
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

EARLY_LAYERS: Final = ("node_embedding.", "interactions.0.")


class EquitrainOptions(Options):
    """A weak pull, which was best where foundation and target are far apart (docs/performance.md).

    The paper's own pull of 10 is the recipe ``paper``.
    """

    RECIPES: ClassVar = {
        "paper": {"max_epochs": 200, "lr": 0.01, "weight_decay": 10.0, "schedule": "plateau"}
    }

    strategy: Literal["equitrain"] = "equitrain"
    max_epochs: int = Field(default=100, ge=0)
    lr: Dimensionless = Field(default=0.01, gt=0)
    weight_decay: Dimensionless = Field(default=0.01, ge=0)


def plan(model: torch.nn.Module, elements: Iterable[int], options: EquitrainOptions) -> TuningPlan:
    """Move the early layers in full."""
    return full_change(model, elements, lambda name: name.startswith(EARLY_LAYERS))


STRATEGY: Final = Strategy("early layers, in full", EquitrainOptions, plan)
