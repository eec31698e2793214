"""Targeted L2-SP, the paper's strategy: a full change of the early layers, or of all, pulled to zero.

Weights are w = w0 + Δw; AdamW decays Δw, never w (Grandel, Benner, George, arXiv 2604.01017; Equitrain). The
paper's figure and text describe Δw on backbone and output heads; its runs moved the node embedding and the
first interaction.
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
_PAPER: Final = {"max_epochs": 200, "lr": 0.01, "weight_decay": 10.0, "schedule": "plateau"}


class EquitrainOptions(Options):
    """A weak pull, which was best where foundation and target are far apart (docs/performance.md).

    The paper's own pull of 10 is the recipe ``paper``, on the layers that its runs moved, and ``described``, on
    those that its figure and text describe.
    """

    RECIPES: ClassVar = {
        "paper": _PAPER | {"layers": "early"},
        "described": _PAPER | {"layers": "all"},
    }

    strategy: Literal["equitrain"] = "equitrain"
    max_epochs: int = Field(default=100, ge=0)
    lr: Dimensionless = Field(default=0.01, gt=0)
    weight_decay: Dimensionless = Field(default=0.01, ge=0)
    layers: Literal["early", "all"] = Field(
        default="early",
        description="which weights move: node embedding and first interaction, or every one",
    )


def plan(model: torch.nn.Module, elements: Iterable[int], options: EquitrainOptions) -> TuningPlan:
    """Move the early layers, or all, in full."""
    moves = ("",) if options.layers == "all" else EARLY_LAYERS
    return full_change(model, elements, lambda name: name.startswith(moves))


STRATEGY: Final = Strategy("early layers, in full", EquitrainOptions, plan)
