"""A property that phonotune does not have, as a contributor writes it: all but figure and docs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from pymatgen.core import Structure

from phonotune.jobs.property import PropertyMaker
from phonotune.ports import Answers
from phonotune.schemas.base import Part, PropertyDocument, Source, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.columns import Column
from phonotune.schemas.kinds import Comparison, Kind
from phonotune.units import Dimensionless, GPa

EV_PER_CUBIC_ANGSTROM = 160.21766


class CompressionDocument(PropertyDocument):
    """Pressure of a crystal that is compressed; ``data``: ``pressures`` (n,) GPa."""

    kind: Literal["compression"] = "compression"
    highest_pressure: GPa
    data: Blob


class CompressionSettings(Part):
    """Which volumes."""

    scales: tuple[Dimensionless, ...] = Field(default=(0.98, 0.97), description="of the edges")


@dataclass(frozen=True)
class CompressionPlan:
    """The compressed cells."""

    crystal: Structure
    settings: CompressionSettings
    structures: tuple[Structure, ...]


def plan_compression(crystal: Structure, settings: CompressionSettings) -> CompressionPlan:
    cells = []
    for scale in settings.scales:
        cell = crystal.copy()
        cell.scale_lattice(crystal.volume * scale**3)
        cells.append(cell)
    return CompressionPlan(crystal, settings, tuple(cells))


def analyse_compression(
    plan: CompressionPlan, answers: Answers, source: Source
) -> CompressionDocument:
    pressures = [
        -EV_PER_CUBIC_ANGSTROM * float(np.trace(answer.stress)) / 3  # type: ignore[union-attr, arg-type]
        for answer in answers
    ]
    return CompressionDocument(
        formula=plan.crystal.reduced_formula,
        material_id=structure_hash(plan.crystal),
        source=source,
        settings=plan.settings.model_dump(mode="json"),
        highest_pressure=max(pressures),
        data=Blob.pack(pressures=pressures),
    )


@dataclass
class CompressionMaker(PropertyMaker):
    """Pressure of compressed cells."""

    document = CompressionDocument

    name: str = "compression"
    settings: CompressionSettings = field(default_factory=CompressionSettings)

    def plan(self, structure: Structure, **inputs: Any) -> CompressionPlan:
        return plan_compression(structure, self.settings)

    def analyse(
        self, plan: CompressionPlan, answers: Answers, source: Source
    ) -> CompressionDocument:
        return analyse_compression(plan, answers, source)


def squeeze(structure: Path) -> None:
    """Compress a crystal."""


ROW = Kind(
    name="compression",
    document="tests.contracts.toy_property:CompressionDocument",
    title="Compression",
    headline="up to {highest_pressure}",
    columns=(Column("highest_pressure", "highest pressure", 2, brief=True),),
    csv="compression.csv",
    file="compression.json",
    command="tests.contracts.toy_property:squeeze",
    maker="tests.contracts.toy_property:CompressionMaker",
    reference="property",
    comparison=Comparison(),
)
