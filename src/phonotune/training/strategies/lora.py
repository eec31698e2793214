"""Low-rank adaptation of every equivariant path (LoRA, arXiv 2106.09685; ELoRA, ICML 2025).

Each path of each linear layer and tensor product gets its own factors, so irreps never mix and the
model stays equivariant; the symmetric contraction, whose weights are not a linear map, changes in full
for the elements of the material.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field, model_validator

from phonotune.training.options import Options
from phonotune.training.plan import Strategy, TuningPlan, plan_terms
from phonotune.units import Dimensionless

if TYPE_CHECKING:
    import torch


class LoraOptions(Options):
    """Rank 4 is enough for one crystal; paths where it would not save anything change in full."""

    RECIPES: ClassVar = {
        "mace": {"rank": 4, "lr": 0.01, "weight_decay": 0.0, "clip_norm": 10.0, "ema": 0.99}
    }

    strategy: Literal["lora"] = "lora"
    rank: int = Field(default=4, ge=1, description="of the change of every path")
    alpha: Dimensionless | None = Field(
        default=None, gt=0, description="the change is alpha / rank * A B; none: alpha = rank"
    )
    max_epochs: int = Field(default=100, ge=0)
    lr: Dimensionless = Field(default=0.02, gt=0)
    clip_norm: Dimensionless | None = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _check_decay(self) -> LoraOptions:
        if self.decay == "weights":
            raise ValueError("decay 'weights' needs a full change; low-rank factors have 'change'")
        return self


def plan(model: torch.nn.Module, elements: Iterable[int], options: LoraOptions) -> TuningPlan:
    """Move every weight that the elements use, through low-rank factors where these are smaller."""
    from phonotune.models.weight_updates import WeightUpdate, low_rank, weight_blocks

    blocks = weight_blocks(model, elements)
    scale = 1.0 if options.alpha is None else options.alpha / options.rank
    return plan_terms(
        blocks,
        (
            WeightUpdate(block=block)
            if ".symmetric_contractions." in block.parameter
            else low_rank(block, options.rank, scale)
            for block in blocks
        ),
    )


STRATEGY: Final = Strategy("low-rank change of every layer", LoraOptions, plan)
