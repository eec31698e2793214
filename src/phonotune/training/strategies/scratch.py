"""Training from scratch: fresh weights in the foundation's architecture, the baseline of the others.

Architecture, cutoff, scale and mean number of neighbours stay the foundation's; every weight that
the material's elements use starts from a random draw. Epoch 0 is this random model.
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


class ScratchOptions(Options):
    """The recipe ``paper`` has the rate and schedule of arXiv 2604.01017."""

    RECIPES: ClassVar = {"paper": {"max_epochs": 200, "lr": 0.01, "schedule": "plateau"}}

    strategy: Literal["scratch"] = "scratch"
    max_epochs: int = Field(default=200, ge=0)
    lr: Dimensionless = Field(default=0.01, gt=0)
    decay: Literal["change", "weights"] = "weights"
    clip_norm: Dimensionless | None = Field(default=10.0, gt=0)


def plan(model: torch.nn.Module, elements: Iterable[int], options: ScratchOptions) -> TuningPlan:
    """Move every weight that the elements use, from random values."""
    from phonotune.models.architecture import fresh_like

    return full_change(model, elements, origin=fresh_like(model, options.seed))


STRATEGY: Final = Strategy("every weight, from random values", ScratchOptions, plan)
