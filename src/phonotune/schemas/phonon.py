"""Phonons and harmonic thermal properties of one crystal by one evaluator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pymatgen.core import Structure

from phonotune.schemas.base import Matrix3, Part, PropertyDocument, Vector3
from phonotune.schemas.blob import Blob
from phonotune.units import JoulePerKelvinMole, Kelvin, KiloJoulePerMole, TeraHertz


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


class PhononDocument(PropertyDocument):
    """Phonons of one crystal (finite displacements, acoustic sum rule).

    ``data`` arrays, in THz, Å, J/K/mol, kJ/mol, with n_prim atoms in the primitive cell:

    ``force_constants`` (n_prim, n_super, 3, 3) eV/Å^2, compact;
    ``mesh_q`` (n_q, 3), ``mesh_weights`` (n_q,), ``mesh_frequencies`` (n_q, 3 n_prim);
    ``commensurate_q`` (n_c, 3), ``commensurate_frequencies`` (n_c, 3 n_prim);
    ``band_distances`` (n_b,), ``band_frequencies`` (n_b, 3 n_prim), ``band_segments`` (n_seg, 2): first and
    last index of each segment of the path;
    ``dos_frequencies``, ``dos_total`` (states/THz/primitive cell);
    ``temperatures``, ``helmholtz``, ``entropy``, ``heat_capacity``;
    ``displacement_sites`` (n_d,), ``displacement_vectors`` (n_d, 3) Å, ``displacement_forces``
    (n_d, n_super, 3) eV/Å.
    """

    kind: Literal["phonon"] = "phonon"
    unitcell: Structure = Field(description="the cell given, in its own orientation")
    supercell_matrix: Matrix3
    primitive_matrix: tuple[Vector3, Vector3, Vector3] = Field(
        description="rows are the primitive vectors in units of the cell vectors"
    )
    mesh: tuple[int, int, int]
    has_nac: bool
    n_displacements: int
    imaginary_threshold: TeraHertz = Field(description="a mode below this counts as imaginary")
    lowest_frequency: TeraHertz = Field(
        description="lowest on the commensurate points and on the mesh"
    )
    highest_frequency: TeraHertz
    imaginary_modes: list[ImaginaryMode] = Field(
        description="at the commensurate points, one q a star, softest first"
    )
    formula_units: int = Field(description="formula units in the primitive cell")
    thermal_300: ThermalPoint = Field(description="at 300 K; imaginary modes are left out")
    band_labels: list[BandLabel]
    data: Blob

    @property
    def is_stable(self) -> bool:
        """True if no frequency lies below the imaginary threshold."""
        return self.lowest_frequency >= self.imaginary_threshold
