"""The potential along one phonon mode."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phonotune.schemas.base import Matrix3, PropertyDocument, Vector3
from phonotune.schemas.blob import Blob
from phonotune.units import MilliElectronVoltPerFormula, ModeAmplitude, TeraHertz


class WellDocument(PropertyDocument):
    """E(Q) along a mode; ``depth`` is 0 where the mode has no double well.

    ``data`` arrays: ``amplitudes`` (n,) Å·sqrt(amu), per formula unit normalisation stated in
    ``normalisation``; ``energies`` (n,) meV/f.u. relative to Q = 0; ``forces`` (n,) meV/f.u. per
    Å·sqrt(amu), the projection -dE/dQ; ``coefficients`` of the even polynomial (order 2, 4, 6);
    ``pattern`` (n_super, 3) Å: the displacement of each atom at Q = 1.
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
    q0: ModeAmplitude = Field(description="amplitude of the minimum, 0 without a double well")
    fit_residual: MilliElectronVoltPerFormula = Field(
        description="largest deviation of the fit, weighted as in the fit: low energies count"
    )
    data: Blob
