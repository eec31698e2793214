"""Models and trainings: what was tuned, from what, by which settings, and how good it got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from phonotune.schemas.base import Document, Part, Source, hash_json
from phonotune.schemas.blob import Blob
from phonotune.schemas.forgetting import ForgettingProbe
from phonotune.schemas.potential import Potential
from phonotune.units import (
    ElectronVolt,
    MilliElectronVoltPerAngstrom,
    MilliElectronVoltPerAtom,
    MilliElectronVoltPerCubicAngstrom,
    Second,
)

LATER_OPTIONS: Final[Mapping[str, Any]] = {"isolated_atoms": True, "layers": "early"}
"""Options that trainings by phonotune 0.1.1 did not have, each with the value that does what those did."""


def counted_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what counts of a resolved configuration, so that an option added later renames no training."""
    return {k: v for k, v in config.items() if k not in LATER_OPTIONS or v != LATER_OPTIONS[k]}


class FoundationRecord(Part):
    """A foundation: a name and the sha256 of its file, or of what determines an ASE calculator."""

    uncounted_fields = ("potential",)  # what counts of it, sha256 has hashed

    name: str
    sha256: str
    engine: str = Field(default="mace", description="what evaluates it: mace, ase or process")
    potential: Potential | None = Field(
        default=None, description="how the engine `process` makes it; travels with jobs"
    )
    head: str | None = Field(
        default=None, description="the head taken of a multi-head foundation; absent for one head"
    )

    @property
    def label(self) -> str:
        """Short name for tables and legends: ``mini``, or ``mh-1 (omat_pbe)``."""
        return self.name if self.head is None else f"{self.name} ({self.head})"

    @property
    def identity(self) -> str:
        """The sha256 of the file, or of file and head where one was taken of several."""
        return self.sha256 if self.head is None else hash_json([self.sha256, self.head])

    @model_serializer(mode="wrap")
    def _without_none(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        return {name: value for name, value in content.items() if value is not None}


class ModelRecord(Part):
    """A model as stored: foundation plus adapter, never a pickle.

    ``model_id`` is the sha256 over foundation sha256 and head, strategy, adapter sha256, dataset hash and what
    counts of the resolved config (:func:`counted_options`). An untuned foundation has no adapter and
    ``strategy=None``, a committee has one adapter per member.
    """

    uncounted_fields = ("config", "adapters")  # which model_id has hashed

    model_id: str
    foundation: FoundationRecord
    strategy: str | None = None
    dataset_hash: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    adapters: tuple[tuple[Blob, ...], ...] = Field(
        default=(), description="one per member, as the parts of its bytes"
    )

    def source(self, dtype: str | None = None, device: str | None = None) -> Source:
        """Return who this model is, as Documents name it."""
        return Source(
            role=self.strategy or "untuned",
            evaluator=self.foundation.label,
            model_id=self.model_id,
            dtype=dtype,
            device=device,
            potential=None if self.foundation.potential is None else str(self.foundation.potential),
        )

    @property
    def label(self) -> str:
        """Short name for tables and legends: ``mini`` or ``mini + lora``."""
        if self.strategy is None:
            return self.foundation.label
        members = f" ({len(self.adapters)} members)" if len(self.adapters) > 1 else ""
        return f"{self.foundation.label} + {self.strategy}{members}"


class ErrorMetrics(Part):
    """Mean absolute errors on a set of frames; None where no frame has that label."""

    n_frames: int
    energy_mae: MilliElectronVoltPerAtom | None
    forces_mae: MilliElectronVoltPerAngstrom | None
    stress_mae: MilliElectronVoltPerCubicAngstrom | None


class TrainingMetrics(Part):
    """Errors before (foundation, E0s refitted) and after tuning."""

    train_before: ErrorMetrics
    train_after: ErrorMetrics
    valid_before: ErrorMetrics
    valid_after: ErrorMetrics


class PlanSummary(Part):
    """What a strategy moves."""

    parameters_moved: int = Field(description="numbers that are trained")
    parameters_reached: int = Field(description="foundation weights that those numbers change")
    parameters_total: int = Field(description="foundation weights that the material's elements use")
    tensors: int
    text: str = Field(description='e.g. "16 574 of 82 288 parameters, 31 tensors"')


class MemberTraining(Part):
    """How a further member of a committee was trained; fields as in :class:`TrainingDocument`."""

    seed: int
    best_epoch: int
    epochs: int
    seconds: Second
    stop_reason: str
    history: Blob


class TrainingDocument(Document):
    """A finished training (output of FineTuneMaker); ``model`` is what the property Makers take.

    ``history`` holds arrays epoch, seconds, loss, valid_loss, valid_energy (meV/atom),
    valid_forces (meV/Å), valid_stress (meV/Å^3), lr; epoch 0 is the foundation model. Of a committee,
    ``history``, ``epochs``, ``best_epoch`` and ``stop_reason`` are the first member's.
    """

    kind: Literal["training"] = "training"
    formula: str
    model: ModelRecord
    plan: PlanSummary
    metrics: TrainingMetrics
    energy_refit: str = Field(description="how the atomic energies were shifted, in words")
    isolated_atoms: dict[str, ElectronVolt] = Field(
        default_factory=dict, description="energies of isolated atoms in the dataset, by symbol"
    )
    best_epoch: int
    epochs: int
    seconds: Second
    stop_reason: str
    device: str
    history: Blob
    forgetting: ForgettingProbe | None = Field(
        default=None,
        description="deviation from the foundation on a fixed probe",
    )
    forgetting_error: str | None = Field(default=None, description="why there is no probe")
    parity: Blob = Field(
        description="reference, predicted and untuned energies and forces of the validation frames"
    )
    further_members: list[MemberTraining] = Field(default_factory=list)
