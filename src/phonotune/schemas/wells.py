"""The potential along one phonon mode."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phonotune.schemas.base import Matrix3, Part, PropertyDocument, Vector3
from phonotune.schemas.blob import Blob
from phonotune.units import MilliElectronVoltPerFormula, ModeAmplitude, TeraHertz


class WellDirection(Part):
    """E(Q) along one direction of a degenerate space; ``depth`` is 0 where it has no double well."""

    direction: str | None = Field(
        description="components along the most symmetric axes, e.g. aa0; None: no symmetry chose it"
    )
    even: bool = Field(description="a symmetry of the supercell turns Q into -Q")
    curvature_frequency: TeraHertz
    has_double_well: bool
    minimum_in_range: bool
    depth: MilliElectronVoltPerFormula
    q0: ModeAmplitude = Field(description="negative where an uneven curve is lowest at Q < 0")
    fit_residual: MilliElectronVoltPerFormula
    levels: list[TeraHertz] = Field(
        description="first levels of the 1-D Schrödinger equation of the supercell's coordinate, "
        "relative to E(Q = 0); those below the ends of the curve"
    )
    transition_frequency: TeraHertz | None = Field(description="from the lowest level to the next")
    tunnel_splitting: TeraHertz | None = Field(
        description="the same, where the curve is even and both levels lie below the barrier at Q = 0"
    )


class WellDocument(PropertyDocument):
    """E(Q) along a mode; ``depth`` is 0 where the mode has no double well.

    Where several directions were followed, the numbers are those of the deepest.

    ``data`` arrays: ``amplitudes`` (n,) Å·sqrt(amu), per formula unit normalisation stated in
    ``normalisation``; ``energies`` (n,) meV/f.u. relative to Q = 0; ``forces`` (n,) meV/f.u. per
    Å·sqrt(amu), the projection -dE/dQ; ``orders`` and ``coefficients`` of the polynomial;
    ``pattern`` (n_super, 3) Å: the displacement of each atom at Q = 1. Where several directions were
    followed, also ``amplitudes_0`` and so on, in the order of ``directions``.
    """

    kind: Literal["well"] = "well"
    q: Vector3 = Field(description="in reciprocal vectors of the primitive cell")
    band: int
    mode_source: str = Field(description="whose eigenvector: reference, or this evaluator's own")
    mode_frequency: TeraHertz = Field(description="frequency of the followed mode, by mode_source")
    curvature_frequency: TeraHertz = Field(
        description="from the fitted quadratic coefficient, signed"
    )
    supercell_matrix: Matrix3 = Field(description="rows, in units of the primitive vectors")
    formula_units: int = Field(description="formula units in the supercell")
    normalisation: str
    has_double_well: bool
    minimum_in_range: bool = Field(
        description="False: E(Q) still falls at the end of the grid; depth and q0 are its values there"
    )
    depth: MilliElectronVoltPerFormula = Field(description="energy gained at Q0, >= 0")
    q0: ModeAmplitude = Field(
        description="amplitude of the minimum, 0 without a double well; negative where an uneven "
        "curve is lowest at Q < 0"
    )
    fit_residual: MilliElectronVoltPerFormula = Field(
        description="largest deviation of the fit, weighted as in the fit: low energies count"
    )
    direction: str | None = Field(
        default=None, description="of these numbers; None: no symmetry chose it"
    )
    irrep: str | None = Field(
        default=None, description="Mulliken symbol at q, for the origin of the primitive cell"
    )
    even: bool = Field(default=True, description="a symmetry of the supercell turns Q into -Q")
    levels: list[TeraHertz] = Field(default_factory=list, description="as in WellDirection")
    transition_frequency: TeraHertz | None = Field(
        default=None, description="from the lowest level to the next"
    )
    tunnel_splitting: TeraHertz | None = Field(
        default=None, description="the same, where both levels lie below the barrier at Q = 0"
    )
    directions: list[WellDirection] = Field(
        default_factory=list, description="every direction followed, the most symmetric first"
    )
    dropped_directions: list[str] = Field(
        default_factory=list,
        description="labels of further directions that differ by symmetry and that 'all' asked for, but "
        "that were left out: only the most symmetric are followed",
    )
    all_directions_found: bool = Field(
        default=True,
        description="False: the search for directions stopped at its limit, there may be others",
    )
    data: Blob
