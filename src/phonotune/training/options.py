"""Options that every strategy shares; a strategy's own file adds its own and sets its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from phonotune.schemas.base import Part
from phonotune.units import Dimensionless, Second

Schedule = Literal["cosine", "plateau", "constant"]


class LossOptions(Part):
    """Weights of the loss terms, and the form of the penalty that they share."""

    energy: Dimensionless = Field(default=10.0, ge=0, description="weight of the energy per atom")
    forces: Dimensionless = Field(default=100.0, ge=0, description="weight of the forces")
    stress: Dimensionless = Field(default=1000.0, ge=0, description="weight of the stress")
    l2sp: Dimensionless = Field(
        default=0.0,
        ge=0,
        description="weight of half the squared change of the weights (L2-SP as a loss term)",
    )
    penalty: Literal["huber", "l2", "l1"] = "huber"
    delta: Dimensionless = Field(
        default=0.01, gt=0, description="Huber threshold in eV, eV/Å and eV/Å^3"
    )


class ReplayOptions(Part):
    """Frames with the foundation's own labels, trained along with the material's."""

    file: Path | None = Field(default=None, description="labelled extxyz; none: frames are made")
    frames: int = Field(
        default=0,
        ge=0,
        description="prototype cells that the foundation labels if there is no file",
    )
    weight: Dimensionless = Field(default=1.0, gt=0, description="of the replay loss")
    batch_size: int = Field(default=16, ge=1, description="replay frames in a step")

    @property
    def active(self) -> bool:
        """Whether there is anything to replay."""
        return self.file is not None or self.frames > 0


class HessianOptions(Part):
    """Second derivatives: one random column of the force constants per step (PFT, arXiv 2601.07742)."""

    file: Path | None = Field(
        default=None, description="phonopy yaml of displacements with forces, or force constants"
    )
    weight: Dimensionless = Field(default=1.0, gt=0, description="of the Hessian loss")
    delta: Dimensionless = Field(default=0.1, gt=0, description="Huber threshold in eV/Å^2")


class Options(Part):
    """How a training runs; frozen, unknown keys are refused, stored with the result.

    A recipe is a named set of defaults; what is given besides it takes precedence.
    """

    RECIPES: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    strategy: str
    recipe: str = Field(default="default", description="named set of defaults")
    max_epochs: int = Field(ge=0, description="0 keeps the foundation model")
    max_seconds: Second | None = Field(
        default=None,
        gt=0,
        description="stop in time and keep the best; not part of the checkpoint's name",
    )
    batch_size: int = Field(
        default=2, ge=1, description="frames in a step; the last step may hold fewer"
    )
    batch_atoms: int | None = Field(
        default=None, ge=1, description="most atoms in a step, besides batch_size"
    )
    lr: Dimensionless = Field(gt=0, description="learning rate of AdamW")
    weight_decay: Dimensionless = Field(default=0.0, ge=0, description="decoupled decay, see decay")
    decay: Literal["change", "weights"] = Field(
        default="change",
        description="what weight_decay draws to zero: the change of the weights (that is, towards "
        "the foundation) or the weights themselves",
    )
    schedule: Schedule = "cosine"
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
    isolated_atoms: bool = Field(
        default=True,
        description="atomic energies of elements with an isolated atom in the dataset are its energy, as in "
        "MACE; false fits all of them",
    )
    committee: int = Field(default=1, ge=1, description="models trained, each from its own seed")
    bootstrap: bool = Field(
        default=True, description="members of a committee see frames drawn with replacement"
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float32", description="of the training; models are evaluated in float64"
    )
    seed: int = Field(default=0, ge=0)
    loss: LossOptions = Field(default_factory=LossOptions)
    replay: ReplayOptions = Field(default_factory=ReplayOptions)
    hessian: HessianOptions = Field(default_factory=HessianOptions)

    @model_validator(mode="before")
    @classmethod
    def _apply_recipe(cls, given: Any) -> Any:
        name = given.get("recipe", "default") if isinstance(given, dict) else "default"
        if name == "default":
            return given
        if name not in cls.RECIPES:
            known = ", ".join(["default", *cls.RECIPES])
            raise ValueError(f"recipe {name!r} is unknown; this strategy knows {known}")
        return _merged(cls.RECIPES[name], given)


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(defaults)
    for key, value in given.items():
        inner = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if inner else value
    return result
