"""Settings of phonons by finite displacements."""

from __future__ import annotations

from pydantic import Field

from phonotune.physics.phonon.cells import Rows3
from phonotune.schemas.base import Matrix3, Part
from phonotune.units import Angstrom, Kelvin, TeraHertz


class PhononSettings(Part):
    """How phonons are computed; the same for the reference and for every model."""

    supercell_matrix: Matrix3 | None = Field(
        default=None, description="rows are supercell vectors; None chooses one by min_length"
    )
    min_length: Angstrom = Field(
        default=10.0, gt=0, description="shortest distance between periodic images"
    )
    max_atoms: int = Field(default=300, gt=0, description="most atoms in a chosen supercell")
    primitive_matrix: Rows3 | None = Field(
        default=None,
        description="rows are primitive vectors in units of the cell vectors; None finds them",
    )
    displacement: Angstrom = Field(default=0.01, gt=0)
    symprec: Angstrom = Field(default=1e-5, gt=0, description="symmetry tolerance")
    imaginary_threshold: TeraHertz = Field(
        default=-0.1, le=0, description="a mode below this counts as imaginary"
    )
    mesh_density: Angstrom = Field(
        default=50.0,
        gt=0,
        description="mesh points per 1/Å of reciprocal vector (no 2π), at least",
    )
    mesh_tolerance: TeraHertz = Field(
        default=0.05,
        gt=0,
        description="the mesh is doubled until the zone's mean frequency changes by less",
    )
    max_temperature: Kelvin = Field(default=1000.0, gt=0)
