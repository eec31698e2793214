"""Phonons and harmonic thermal properties of one crystal by one evaluator."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator
from pymatgen.core import Structure

from phonotune.schemas.base import Matrix3, Part, PropertyDocument, Vector3
from phonotune.schemas.blob import Blob
from phonotune.units import (
    Dimensionless,
    ElectronVoltAngstrom,
    ElectronVoltPerAngstrom,
    ElementaryCharge,
    JoulePerKelvinMole,
    Kelvin,
    KiloJoulePerMole,
    TeraHertz,
)

_Charge = tuple[ElementaryCharge, ElementaryCharge, ElementaryCharge]
_Constant = tuple[Dimensionless, Dimensionless, Dimensionless]
ChargeTensor = tuple[_Charge, _Charge, _Charge]
DielectricTensor = tuple[_Constant, _Constant, _Constant]


class BornCharges(Part):
    """What the non-analytical term correction needs, in the crystal's own orientation.

    Arrays are accepted, too: ``charges`` of shape (n_prim, 3, 3), ``dielectric`` of shape (3, 3).
    """

    charges: tuple[ChargeTensor, ...] = Field(
        description="Born effective charges, one tensor per atom of the primitive cell, in its order"
    )
    dielectric: DielectricTensor = Field(description="high-frequency dielectric tensor")
    factor: ElectronVoltAngstrom = Field(
        default=14.39965172592227, gt=0, description="e²/4πε₀; a BORN file may state a rounded one"
    )

    @field_validator("charges", "dielectric", mode="before")
    @classmethod
    def _nested(cls, value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray) else value


class ImaginaryMode(Part):
    """A mode below the imaginary threshold at a commensurate q-point."""

    q: Vector3 = Field(description="in reciprocal vectors of the primitive cell")
    band: int
    frequency: TeraHertz = Field(description="negative where the square is negative")


class ThermalPoint(Part):
    """Harmonic thermal properties at one temperature, per mole of formula units."""

    temperature: Kelvin
    helmholtz: KiloJoulePerMole
    entropy: JoulePerKelvinMole
    heat_capacity: JoulePerKelvinMole = Field(description="C_v")


class BandLabel(Part):
    """A named q-point on the band path."""

    index: int = Field(description="index into the path arrays")
    label: str


class FrequencyRange(Part):
    """Lowest and highest frequency on the commensurate points and on the mesh."""

    lowest_frequency: TeraHertz = Field(description="without the acoustic modes at Γ")
    highest_frequency: TeraHertz


class ResidualSummary(Part):
    """What labelled frames of the undeformed supercell added to the force constants of a model."""

    settings: dict[str, Any] = Field(description="resolved settings of the fit")
    n_frames: int = Field(description="labelled frames of the supercell")
    n_pairs: int = Field(default=0, description="pairs of them with opposite displacements")
    n_others: int = Field(description="frames left out: of another cell, or without forces")
    n_data: int = Field(description="force components")
    n_parameters: int = Field(description="independent force constants of the supercell")
    effective_parameters: Dimensionless = Field(description="how many of them the data decided")
    ridge: Dimensionless = Field(
        description="penalty, in units of the largest squared singular value of the fit"
    )
    error_before: ElectronVoltPerAngstrom = Field(
        description="rms of reference minus model forces, frames weighted"
    )
    error_after: ElectronVoltPerAngstrom = Field(
        description="rms that is left on frames (or images) that the fit did not see"
    )
    frequency_uncertainty: TeraHertz = Field(
        description="standard deviation by the fit and by the model's anharmonic error, mean over the zone"
    )
    kept: Dimensionless | None = Field(
        default=None,
        description="share of the fitted ΔΦ that is kept; 0 where anharmonic forces may have made it up",
    )
    noise: ElectronVoltPerAngstrom | None = Field(
        default=None, description="rms force that neither ΔΦ nor bonds explain, frames weighted"
    )
    advice: str | None = Field(
        default=None, description="what to label for a better ΔΦ; None where nothing is lacking"
    )
    model: FrequencyRange = Field(description="the model alone")
    symfc: FrequencyRange = Field(description="plain symfc fit of the same frames, no model")


class PhononDocument(PropertyDocument):
    """Phonons of one crystal (finite displacements, acoustic sum rule).

    ``data`` arrays, in THz, Å, J/K/mol, kJ/mol, with n_prim atoms in the primitive cell:

    ``force_constants`` (n_prim, n_super, 3, 3) eV/Å^2, compact;
    ``mesh_q`` (n_q, 3), ``mesh_weights`` (n_q,), ``mesh_frequencies`` (n_q, 3 n_prim);
    ``commensurate_q`` (n_c, 3), ``commensurate_frequencies`` (n_c, 3 n_prim);
    ``band_q`` (n_b, 3), ``band_distances`` (n_b,), ``band_frequencies`` (n_b, 3 n_prim),
    ``band_segments`` (n_seg, 2): first and last index of each segment of the path;
    ``dos_frequencies`` (n_points,), ``dos_total`` (n_points,), ``dos_projected`` (n_prim, n_points): by
    atom of the primitive cell (states/THz/primitive cell);
    ``temperatures``, ``helmholtz``, ``entropy``, ``heat_capacity``;
    ``displacement_sites`` (n_d,), ``displacement_vectors`` (n_d, 3) Å, ``displacement_forces``
    (n_d, n_super, 3) eV/Å.

    With ``residual``, the above are those of model + ΔΦ, the displacement forces included;
    ``force_constants_model`` are those of the model alone, ``force_constants_symfc`` those of the plain
    symfc fit. Their frequencies come from :func:`~phonotune.physics.phonon.residual.residual_variant`.
    """

    kind: Literal["phonon"] = "phonon"
    unitcell: Structure = Field(description="the cell given, in its own orientation")
    supercell_matrix: Matrix3
    primitive_matrix: tuple[Vector3, Vector3, Vector3] = Field(
        description="rows are the primitive vectors in units of the cell vectors"
    )
    mesh: tuple[int, int, int]
    mesh_error: TeraHertz | None = Field(
        default=None,
        description="how far the mean frequency lies from that of a mesh half as dense; doubling "
        "stops below settings.mesh_tolerance",
    )
    has_nac: bool
    n_displacements: int
    imaginary_threshold: TeraHertz = Field(description="a mode below this counts as imaginary")
    lowest_frequency: TeraHertz = Field(
        description="lowest on the commensurate points and on the mesh"
    )
    highest_frequency: TeraHertz
    imaginary_modes: list[ImaginaryMode] = Field(
        description="at the commensurate points, one q per star, softest first"
    )
    formula_units: int = Field(description="formula units in the primitive cell")
    thermal_300: ThermalPoint = Field(description="at 300 K; imaginary modes are left out")
    band_labels: list[BandLabel]
    residual: ResidualSummary | None = Field(
        default=None, description="None without labelled frames of this supercell"
    )
    data: Blob

    @property
    def is_stable(self) -> bool:
        """True if no frequency lies below the imaginary threshold."""
        return self.lowest_frequency >= self.imaginary_threshold
