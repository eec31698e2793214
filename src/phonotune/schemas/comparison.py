"""Models against their reference."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phonotune.schemas.base import Document, Part, Source
from phonotune.units import (
    GPa,
    JoulePerKelvinMole,
    Kelvin,
    KiloJoulePerMole,
    MilliElectronVoltPerFormula,
    ModeAmplitude,
    Percent,
    TeraHertz,
    UnitOfField,
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
    others: dict[str, UnitOfField] = Field(
        default_factory=dict,
        description="of kinds without a field here, by kind and field: "
        "conductivity.mean_conductivity_300",
    )


class ImaginaryConfusion(Part):
    """Modes on the mesh, weighted to the full zone: is a mode imaginary, by reference and by model."""

    both: int
    only_reference: int
    only_model: int
    neither: int
    precision: Percent | None = Field(
        default=None,
        description="share of the model's imaginary modes that are the reference's, too; None if "
        "the model has none",
    )
    recall: Percent | None = Field(
        default=None,
        description="share of the reference's imaginary modes that the model has, too; None if the "
        "reference has none",
    )
    threshold: TeraHertz | None = Field(
        default=None, description="a mode below this counts as imaginary"
    )


class SpectrumDeviations(Part):
    """The spectra of reference and model, every mode of the common mesh weighted to the full zone."""

    wasserstein: TeraHertz = Field(
        description="distance W1 of the two densities of states: mean shift that turns one into the other"
    )
    average_reference: TeraHertz = Field(
        description="mean of all frequencies, imaginary ones negative"
    )
    average_model: TeraHertz


class ThermalDeviations(Part):
    """Model minus reference, harmonic, per mole of formula units; the largest keep their sign."""

    helmholtz_300: KiloJoulePerMole
    entropy_300: JoulePerKelvinMole
    heat_capacity_300: JoulePerKelvinMole
    helmholtz_largest: KiloJoulePerMole
    entropy_largest: JoulePerKelvinMole
    heat_capacity_largest: JoulePerKelvinMole
    highest_temperature: Kelvin = Field(description="the largest are those from 0 to here")


class ElasticDeviations(Part):
    """Model minus reference, constant by constant, with relaxed ions."""

    constants: dict[str, GPa] = Field(
        description="by name, C11 to C66; those left out are below 1 % of the largest on both sides"
    )
    largest: str = Field(description="name of the constant that deviates most")
    young_modulus: Percent | None = None
    clamped_largest: GPa = Field(description="largest deviation of the clamped-ion tensor, signed")


class PhaseConfusion(Part):
    """Phases below the crystal that imaginary modes lead to: found by reference and by model."""

    both: int
    only_reference: int
    only_model: int
    precision: Percent | None = Field(default=None, description="None if the model found none")
    recall: Percent | None = Field(default=None, description="None if the reference found none")
    f1: Percent | None = Field(default=None, description="harmonic mean; None if neither found any")
    ground_state_reference: str = Field(description="space group of the lowest phase")
    ground_state_model: str


class Deviations(Part):
    """One model against the reference; None where either side lacks the property."""

    frequency_mae: TeraHertz | None = Field(default=None, description="weighted, over the mesh")
    frequency_rmse: TeraHertz | None = None
    frequency_max: TeraHertz | None = Field(default=None, description="largest absolute deviation")
    acoustic_mae: TeraHertz | None = Field(
        default=None,
        description="the three lowest branches, a soft mode among them if there is one",
    )
    optical_mae: TeraHertz | None = Field(default=None, description="the other branches")
    branch_mae: tuple[TeraHertz, ...] | None = Field(
        default=None,
        description="of each branch, counted from below at every q, rounded to 1e-6",
    )
    mesh: tuple[int, int, int] | None = Field(
        default=None, description="on which frequencies and DOS are compared: the denser of the two"
    )
    highest_frequency_bias: Percent | None = None
    dos_error: Percent | None = Field(
        default=None, description="half the area between the two DOS, each of area 1"
    )
    spectrum: SpectrumDeviations | None = Field(
        default=None, description="None in comparisons of older versions"
    )
    imaginary: ImaginaryConfusion | None = None
    helmholtz_300: Percent | None = None
    entropy_300: Percent | None = None
    heat_capacity_300: Percent | None = None
    thermal: ThermalDeviations | None = None
    bulk_modulus: Percent | None = None
    shear_modulus: Percent | None = None
    elastic: ElasticDeviations | None = None
    well_depth: Percent | None = None
    well_q0: Percent | None = None
    volume_300: Percent | None = Field(default=None, description="quasi-harmonic, no pressure")
    thermal_expansion_300: Percent | None = Field(default=None, description="quasi-harmonic")
    phases: PhaseConfusion | None = None
    others: dict[str, Percent] = Field(
        default_factory=dict, description="of kinds without a field here, by kind and field"
    )


class ComparisonRow(Part):
    """One model: its numbers and its deviations."""

    source: Source
    properties: Properties
    deviations: Deviations
    error_bars: Properties | None = Field(
        default=None,
        description="standard deviations of the properties over a committee; None for one model",
    )


class ComparisonDocument(Document):
    """Reference and models side by side (output of CompareMaker)."""

    kind: Literal["comparison"] = "comparison"
    formula: str
    material_id: str
    reference: Source
    reference_properties: Properties
    rows: list[ComparisonRow]
    missing: list[str] = Field(
        default_factory=list,
        description="properties that should have been compared and have no result, with who should have "
        "computed them",
    )
