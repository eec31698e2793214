"""How a dataset was split, and what its frames hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from phonotune.schemas.base import Part
from phonotune.units import Dimensionless, ElectronVoltPerAngstrom, GPa, Unit

ElectronVoltPerAtom = Annotated[float, Unit("eV/atom")]


class SplitRecord(Part):
    """How the frames of a dataset were split, and why so."""

    how: Literal["named", "drawn", "given", "inherited"]
    reason: str = Field(description="in words, with what was asked for")
    train_groups: int
    valid_groups: int
    valid_fraction: Dimensionless | None = Field(default=None, description="asked for, if drawn")
    torn_groups: list[str] = Field(
        default=[], description="groups on both sides; only a split that somebody gave has any"
    )


class DatasetStatistics(Part):
    """What the frames of a dataset hold; numbers are None where no frame has that label."""

    n_frames: int
    n_groups: int
    smallest: int = Field(description="atoms of the smallest frame")
    largest: int = Field(description="atoms of the largest frame")
    compositions: dict[str, int] = Field(description="frames by reduced formula")
    protocols: dict[str, int] = Field(description="frames by labeller and protocol")
    with_energy: int
    with_forces: int
    with_stress: int
    with_magmoms: int
    energy_lowest: ElectronVoltPerAtom | None
    energy_highest: ElectronVoltPerAtom | None
    force_rms: ElectronVoltPerAngstrom | None = Field(description="of one component")
    force_largest: ElectronVoltPerAngstrom | None = Field(description="on one atom")
    pressure_lowest: GPa | None
    pressure_highest: GPa | None
    warnings: list[str] = Field(default=[], description="what looks like a wrong unit")
