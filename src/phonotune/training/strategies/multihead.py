"""Multihead replay: one backbone, two heads; the foundation's head keeps it from forgetting.

Every weight of the material's elements changes. Replay frames with the foundation's own labels are
trained along with the material's frames through a second set of readouts; the backbone serves both. The
material's head is kept: it is a plain model with one head (Batatia et al., arXiv 2401.00096v3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field

from phonotune.training.options import Options, ReplayOptions
from phonotune.training.plan import Strategy, TuningPlan, full_change
from phonotune.units import Dimensionless

if TYPE_CHECKING:
    import torch

HEAD: Final = "readouts."


class MultiheadReplay(ReplayOptions):
    """Without replay there is no second head, so frames are made unless a file is given."""

    frames: int = Field(default=100, ge=1, description="prototype cells that the foundation labels")
    weight: Dimensionless = Field(default=0.01, gt=0, description="of the replay loss")


class MultiheadOptions(Options):
    """Recipes: ``paper`` (arXiv 2604.01017) and ``mace`` (MACE's guidance, 10 000 replay frames)."""

    RECIPES: ClassVar = {
        "paper": {
            "max_epochs": 200,
            "lr": 0.01,
            "weight_decay": 5e-7,
            "schedule": "plateau",
            "clip_norm": None,
            "replay": {"frames": 100, "weight": 1.0},
        },
        "mace": {
            "lr": 1e-4,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
            "ema": 0.9999,
            "replay": {"frames": 10_000, "weight": 1.0},
        },
    }

    strategy: Literal["multihead"] = "multihead"
    max_epochs: int = Field(default=100, ge=0)
    lr: Dimensionless = Field(default=0.01, gt=0)
    decay: Literal["change", "weights"] = "weights"
    clip_norm: Dimensionless | None = Field(default=10.0, gt=0)
    replay: MultiheadReplay = Field(default_factory=MultiheadReplay)


def plan(model: torch.nn.Module, elements: Iterable[int], options: MultiheadOptions) -> TuningPlan:
    """Move every weight that the elements use, with a second head for the replay frames."""
    return full_change(model, elements, replay_head=lambda name: name.startswith(HEAD))


STRATEGY: Final = Strategy(
    "every weight, with replay through a second head", MultiheadOptions, plan
)
