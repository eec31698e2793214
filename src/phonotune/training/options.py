"""Options that every strategy shares; a strategy's own file adds its own and sets its defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phonotune.schemas.base import Part
from phonotune.units import Dimensionless, Second


class LossOptions(Part):
    """Weights of the loss terms, and the Huber threshold that they share."""

    energy: Dimensionless = Field(default=10.0, ge=0, description="weight of the energy per atom")
    forces: Dimensionless = Field(default=100.0, ge=0, description="weight of the forces")
    stress: Dimensionless = Field(default=1000.0, ge=0, description="weight of the stress")
    delta: Dimensionless = Field(
        default=0.01, gt=0, description="Huber threshold in eV, eV/Å and eV/Å^3"
    )


class Options(Part):
    """How a training runs; frozen, unknown keys are refused, stored with the result."""

    strategy: str
    max_epochs: int = Field(ge=0, description="0 keeps the foundation model")
    max_seconds: Second | None = Field(
        default=None,
        gt=0,
        description="stop in time and keep the best; not part of the checkpoint's name",
    )
    batch_size: int = Field(
        default=2, ge=1, description="frames in a step; the last step may hold fewer"
    )
    lr: Dimensionless = Field(gt=0, description="learning rate of AdamW")
    weight_decay: Dimensionless = Field(
        ge=0, description="decoupled decay of the change, not of the weights"
    )
    schedule: Literal["cosine", "plateau", "constant"]
    plateau_factor: Dimensionless = Field(default=0.5, gt=0, lt=1)
    plateau_patience: int = Field(
        default=2, ge=0, description="epochs without progress before a cut"
    )
    clip_norm: Dimensionless | None = Field(default=None, gt=0, description="largest gradient norm")
    ema: Dimensionless | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the averaged change that is validated and kept",
    )
    patience: int | None = Field(
        default=None, ge=1, description="stop after so many epochs without a better validation loss"
    )
    refit_energies: bool = Field(
        default=True, description="fit atomic energies to the labels before the first step"
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float32", description="of the training; models are evaluated in float64"
    )
    seed: int = Field(default=0, ge=0)
    loss: LossOptions = Field(default_factory=LossOptions)
