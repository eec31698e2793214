"""Freezing: some blocks keep the foundation's weights, the others change in full."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field

from phonotune.errors import unknown_name
from phonotune.training.options import Options
from phonotune.training.plan import Strategy, TuningPlan, full_change
from phonotune.units import Dimensionless

if TYPE_CHECKING:
    import torch

EARLY: Final = ("node_embedding", "interactions.0", "products.0")
"""Blocks that see the elements and the nearest neighbours only."""


class FreezeOptions(Options):
    """The recipe ``mace`` has the numbers of MACE's guidance of 2026."""

    RECIPES: ClassVar = {"mace": {"lr": 1e-3, "clip_norm": 1.0, "ema": 0.999}}

    strategy: Literal["freeze"] = "freeze"
    frozen: str = Field(
        default="early",
        description="blocks that stay: early, late, or names with commas, e.g. interactions.0,readouts",
    )
    max_epochs: int = Field(default=100, ge=0)
    lr: Dimensionless = Field(default=0.01, gt=0)
    clip_norm: Dimensionless | None = Field(default=10.0, gt=0)


def plan(model: torch.nn.Module, elements: Iterable[int], options: FreezeOptions) -> TuningPlan:
    """Move every block that is not frozen, in full.

    Raises
    ------
    ConfigError
        A frozen block is unknown to the model, or nothing is left to move.
    """
    frozen = tuple(f"{block}." for block in frozen_blocks(model, options.frozen))
    return full_change(model, elements, lambda name: not name.startswith(frozen))


def frozen_blocks(model: torch.nn.Module, frozen: str) -> tuple[str, ...]:
    """Return the names of the frozen blocks; ConfigError with the model's blocks if one is unknown."""
    parts = [name.split(".") for name, _ in model.named_parameters()]
    numbered = {
        ".".join(p[:2]) for p in parts if p[1].isdigit()
    }  # interactions.0, beside interactions
    known = sorted({p[0] for p in parts} | numbered)
    if frozen == "early":
        return tuple(name for name in known if name in EARLY)
    if frozen == "late":
        whole = {name.partition(".")[0] for name in known}
        return tuple(name for name in known if name not in EARLY and name not in whole)
    names = tuple(name.strip() for name in frozen.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise unknown_name("block", name, ("early", "late", *known))
    return names


STRATEGY: Final = Strategy("all blocks that are not frozen", FreezeOptions, plan)
