"""Targeted L2-SP, the paper's recipe: a full change of the early layers, pulled to zero.

Weights are w = w0 + Δw with Δw on the node embedding and the first interaction only; AdamW decays
Δw, never w (Grandel, Benner, George, arXiv 2604.01017; Equitrain).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from phonotune.training.options import Options
from phonotune.training.plan import Strategy, TuningPlan, plan_terms
from phonotune.units import Dimensionless

if TYPE_CHECKING:
    import torch

EARLY_LAYERS: Final = ("node_embedding.", "interactions.0.")


class EquitrainOptions(Options):
    """The paper's numbers; the pull is too strong for a foundation that is far from the target."""

    strategy: Literal["equitrain"] = "equitrain"
    max_epochs: int = Field(default=200, ge=0)
    lr: Dimensionless = Field(default=0.01, gt=0)
    weight_decay: Dimensionless = Field(default=10.0, ge=0)
    schedule: Literal["cosine", "plateau", "constant"] = "plateau"


def plan(model: torch.nn.Module, elements: Iterable[int], options: EquitrainOptions) -> TuningPlan:
    """Move the early layers in full."""
    from phonotune.models.terms import Term, weight_blocks

    numbers = list(elements)
    return plan_terms(
        model,
        numbers,
        (
            Term(block=block)
            for block in weight_blocks(model, numbers)
            if block.parameter.startswith(EARLY_LAYERS)
        ),
    )


STRATEGY: Final = Strategy(EquitrainOptions, plan)
