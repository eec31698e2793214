"""Models against their reference."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phonotune.schemas.base import Document, Part, Source
from phonotune.units import (
    GPa,
    JoulePerKelvinMole,
    MilliElectronVoltPerFormula,
    ModeAmplitude,
    Percent,
    TeraHertz,
)


class Properties(Part):
    """The headline numbers of one evaluator; None where a property was not computed."""

    lowest_frequency: TeraHertz | None = None
    highest_frequency: TeraHertz | None = None
    heat_capacity_300: JoulePerKelvinMole | None = None
    bulk_modulus: GPa | None = None
    shear_modulus: GPa | None = None
    well_depth: MilliElectronVoltPerFormula | None = None
    well_q0: ModeAmplitude | None = None


class ImaginaryConfusion(Part):
    """Modes on the mesh, weighted to the full zone: is a mode imaginary, by reference and by model."""

    both: int
    only_reference: int
    only_model: int
    neither: int


class Deviations(Part):
    """One model against the reference; None where either side lacks the property."""

    frequency_mae: TeraHertz | None = Field(default=None, description="weighted, over the mesh")
    frequency_rmse: TeraHertz | None = None
    frequency_max: TeraHertz | None = Field(default=None, description="largest absolute deviation")
    highest_frequency_bias: Percent | None = None
    dos_error: Percent | None = Field(
        default=None, description="half the area between the two DOS, each of area 1"
    )
    imaginary: ImaginaryConfusion | None = None
    helmholtz_300: Percent | None = None
    entropy_300: Percent | None = None
    heat_capacity_300: Percent | None = None
    bulk_modulus: Percent | None = None
    shear_modulus: Percent | None = None
    well_depth: Percent | None = None
    well_q0: Percent | None = None


class ComparisonRow(Part):
    """One model: its numbers and its deviations."""

    source: Source
    properties: Properties
    deviations: Deviations


class ComparisonDocument(Document):
    """Reference and models side by side (output of CompareMaker)."""

    kind: Literal["comparison"] = "comparison"
    formula: str
    material_id: str
    reference: Source
    reference_properties: Properties
    rows: list[ComparisonRow]
