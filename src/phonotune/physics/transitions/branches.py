"""From the imaginary modes of a phase to the phases below it: what to displace, and how far.

For one arm of the star of each imaginary mode, every symmetry-distinct direction of its degenerate space
(the isotropy subgroups of Stokes and Hatch, Isotropy Subgroups of the 230 Crystallographic Space Groups,
1988) is displaced in its smallest commensurate supercell to the minimum of E(Q).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from pydantic import Field, field_validator
from pymatgen.core import Lattice, Structure
from scipy.interpolate import CubicHermiteSpline

from phonotune.errors import InputError
from phonotune.physics.answer_checks import require_answers
from phonotune.physics.phonon.modes import Mode, displacement_pattern
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import (
    commensurate_matrix,
    displaced,
    formula_units,
    make_supercell,
)
from phonotune.physics.symmetry import space_group
from phonotune.physics.wells.directions import MOST_DIRECTIONS, mode_directions
from phonotune.physics.wells.double_well import reverses_by_symmetry
from phonotune.ports import Answers, FloatArray
from phonotune.schemas.base import Matrix3, Part
from phonotune.schemas.phonon import ImaginaryMode, PhononDocument
from phonotune.schemas.transition import Outcome, PhaseBranch
from phonotune.units import (
    Angstrom,
    ElectronVoltPerAngstrom,
    MilliElectronVoltPerAtom,
    TeraHertz,
)

SMALLEST_DEPTH: Final[float] = 1e-3
"""meV per formula unit: a shallower well is noise."""
SAME_SIDE: Final[float] = 1e-3
"""Å: symmetry tolerance for cells during the relaxation; a smaller distortion does not count."""
_DENSER_NEAR_ZERO: Final = 1.5


class TransitionSettings(Part):
    """How imaginary modes are followed; the same for the reference and for every model."""

    max_depth: int = Field(default=3, ge=0, description="modes followed one after another")
    max_atoms: int = Field(
        default=40, ge=1, description="most atoms in a cell that is relaxed, and in a phase's"
    )
    max_cells: int = Field(default=8, ge=1, description="most parent cells in a mode's supercell")
    max_branches: int = Field(
        default=24, ge=1, description="most directions followed from one phase, softest modes first"
    )
    max_phases: int = Field(default=40, ge=1, description="most phases in the tree")
    max_displacement: Angstrom = Field(
        default=0.4, gt=0, description="largest displacement of an atom at the end of E(Q)"
    )
    n_amplitudes: int = Field(default=9, ge=4, description="from Q = 0 to the largest, both in")
    degeneracy: TeraHertz = Field(default=0.01, gt=0, description="closer modes are degenerate")
    relax_root: bool = Field(
        default=True, description="relax the crystal given, its symmetry kept, before its phonons"
    )
    fmax: ElectronVoltPerAngstrom = Field(
        default=1e-4, gt=0, description="largest force left by a relaxation of cell and ions"
    )
    max_steps: int = Field(default=1000, ge=1, description="of one relaxation")
    symprec: Angstrom = Field(default=0.01, gt=0, description="tolerance of the space groups")
    same_energy: MilliElectronVoltPerAtom = Field(
        default=0.05, gt=0, description="phases closer in energy may be the same"
    )
    n_path: int = Field(default=11, ge=2, description="points of E(λ), parent and child in")
    phonon: PhononSettings = Field(default=PhononSettings(mesh_density=25.0))

    @field_validator("phonon")
    @classmethod
    def _no_fixed_supercell(cls, value: PhononSettings) -> PhononSettings:
        if value.supercell_matrix is not None:
            raise ValueError(
                "a tree holds phases of different cells, and no supercell_matrix fits all of them; "
                "set min_length instead"
            )
        return value


@dataclass(frozen=True, eq=False)
class ModePlan:
    """Supercells displaced along one direction of one imaginary mode.

    Attributes
    ----------
    parent
        Id of the phase.
    mode
        The direction followed.
    matrix
        Supercell in units of the primitive vectors, rows are vectors.
    supercell
        The undistorted supercell.
    pattern
        shape (n_super, 3), Å per Å·sqrt(amu): the displacements at Q = 1.
    amplitudes
        shape (n,), Å·sqrt(amu), ascending; from -Q where symmetry does not make E(Q) even.
    structures
        One supercell per amplitude.
    """

    parent: int
    mode: Mode
    matrix: Matrix3
    supercell: Structure
    pattern: FloatArray
    amplitudes: FloatArray
    structures: tuple[Structure, ...]

    def record(self, **fields: Any) -> PhaseBranch:
        """Return the stored record of this direction; ``fields`` give its outcome."""
        size = {"supercell_matrix": self.matrix, "n_atoms": len(self.supercell)}
        return _branch(self.parent, self.mode, **size, **fields)


@dataclass(frozen=True, eq=False)
class Start:
    """Where a relaxation starts: a supercell displaced to a minimum of E(Q).

    Attributes
    ----------
    plan
        The direction it belongs to.
    q0
        Å·sqrt(amu), signed.
    depth
        Energy gained there, meV per formula unit.
    structure
        The displaced supercell, sites in the order of ``plan.supercell``.
    space_group
        Its symbol: an isotropy subgroup of the parent.
    """

    plan: ModePlan
    q0: float
    depth: float
    structure: Structure
    space_group: str

    def record(self, outcome: Outcome, n_steps: int, child: int | None = None) -> PhaseBranch:
        """Return the stored record of this direction."""
        return self.plan.record(
            outcome=outcome,
            n_steps=n_steps,
            child=child,
            q0=self.q0,
            depth=self.depth,
            start_space_group=self.space_group,
        )


def distinct_modes(phonons: PhononDocument, degeneracy: float) -> list[ImaginaryMode]:
    """Return one imaginary mode per degenerate space and star, softest first.

    Parameters
    ----------
    phonons
        Phonons of the phase.
    degeneracy
        Frequencies at the same q belong to the same space if they differ by less from the one before, THz.
    """
    kept: list[ImaginaryMode] = []
    last: dict[tuple[float, ...], float] = {}
    for mode in phonons.imaginary_modes:
        if mode.frequency - last.get(mode.q, -np.inf) >= degeneracy:
            kept.append(mode)
        last[mode.q] = mode.frequency
    return kept


def plan_modes(
    parent: int, phonons: PhononDocument, settings: TransitionSettings
) -> tuple[list[ModePlan], list[PhaseBranch]]:
    """Plan E(Q) along every distinct direction of every distinct imaginary mode of a phase.

    Parameters
    ----------
    parent
        Id of the phase.
    phonons
        Its phonons, on its primitive cell.
    settings
        Grid and limits.

    Returns
    -------
    What to evaluate, and one record per direction that a limit excludes, among them those beyond the
    MOST_DIRECTIONS most symmetric of a mode. "direction limit" stands for the unknown directions of a mode
    whose search for directions stopped.
    """
    plans: list[ModePlan] = []
    refused: list[PhaseBranch] = []
    for imaginary in distinct_modes(phonons, settings.degeneracy):
        q = np.array(imaginary.q)
        modes = mode_directions(phonons, q, imaginary.band, settings.degeneracy)
        if not modes[0].complete:
            unknown = replace(modes[0], direction=None)
            refused.append(_refused(parent, unknown, "direction limit"))
        for number, mode in enumerate(modes):
            if number >= MOST_DIRECTIONS or len(plans) == settings.max_branches:
                refused.append(_refused(parent, mode, "branch limit"))
                continue
            try:
                matrix = commensurate_matrix(
                    list(mode.q), settings.max_cells, mode.primitive.lattice
                )
            except InputError:
                refused.append(_refused(parent, mode, "cell limit"))
                continue
            supercell = make_supercell(mode.primitive, matrix)
            if len(supercell) > settings.max_atoms:
                size = {"supercell_matrix": matrix, "n_atoms": len(supercell)}
                refused.append(_refused(parent, mode, "atom limit", **size))
                continue
            pattern = displacement_pattern(mode, supercell, formula_units(supercell))
            top = settings.max_displacement / np.linalg.norm(pattern, axis=1).max()
            amplitudes = top * np.linspace(0, 1, settings.n_amplitudes) ** _DENSER_NEAR_ZERO
            if not reverses_by_symmetry(supercell, pattern, SAME_SIDE):
                amplitudes = np.concatenate([-amplitudes[:0:-1], amplitudes])
            plans.append(
                ModePlan(
                    parent=parent,
                    mode=mode,
                    matrix=matrix,
                    supercell=supercell,
                    pattern=pattern,
                    amplitudes=amplitudes,
                    structures=tuple(displaced(supercell, a * pattern) for a in amplitudes),
                )
            )
    return plans, refused


def _refused(parent: int, mode: Mode, outcome: Outcome, **size: Any) -> PhaseBranch:
    size = {"supercell_matrix": None, "n_atoms": None, **size}
    return _branch(parent, mode, outcome=outcome, **size)


def _branch(parent: int, mode: Mode, **fields: Any) -> PhaseBranch:
    nothing = {"child": None, "start_space_group": None, "q0": 0.0, "depth": 0.0, "n_steps": 0}
    content = {
        "parent": parent,
        "q": tuple(float(x) for x in mode.q),
        "band": mode.band,
        "irrep": mode.irrep,
        "direction": mode.direction,
        "frequency": mode.frequency,
    }
    return PhaseBranch.model_validate(nothing | content | fields)


def find_starts(plan: ModePlan, answers: Answers, symprec: float) -> list[Start]:
    """Return the supercells at the minima of E(Q): one, two where E(Q) is not even, or none.

    E(Q) between the amplitudes is the cubic spline through energies and projected forces. A minimum at the
    end of the range counts as well: a relaxation starts there, it does not end there.

    Parameters
    ----------
    plan
        The direction.
    answers
        One answer per amplitude.
    symprec
        For the space group of the starts, Å.

    Raises
    ------
    LabelError
        A missing or broken answer; the frames are named.
    """
    complete = require_answers(plan.structures, answers, "E(Q) of an imaginary mode")
    per_unit = 1000 / formula_units(plan.supercell)
    energies = per_unit * np.array([a.energy for a in complete])
    slopes = -per_unit * np.array([np.sum(a.forces * plan.pattern) for a in complete])
    starts = []
    for q0, depth in well_minima(plan.amplitudes, energies, slopes):
        structure = displaced(plan.supercell, q0 * plan.pattern)
        symbol = space_group(structure, symprec).symbol
        starts.append(Start(plan, q0, depth, structure, symbol))
    return starts


def well_minima(
    amplitudes: FloatArray, energies: FloatArray, slopes: FloatArray
) -> list[tuple[float, float]]:
    """Return amplitude and depth of the lowest point on each side of Q = 0 that lies below it.

    Parameters
    ----------
    amplitudes
        shape (n,), ascending, 0 among them.
    energies
        shape (n,), meV per formula unit.
    slopes
        shape (n,), dE/dQ.
    """
    spline = CubicHermiteSpline(amplitudes, energies, slopes)
    turning = spline.derivative().roots(extrapolate=False)
    points = np.concatenate([turning[np.isfinite(turning)], amplitudes[[0, -1]]])
    origin = float(spline(0.0))
    found = []
    for side in (points[points > 0], points[points < 0]):
        if len(side):
            depths = origin - spline(side)
            best = int(np.argmax(depths))
            if depths[best] > SMALLEST_DEPTH:
                found.append((float(side[best]), float(depths[best])))
    return found


def interpolate(parent: Structure, child: Structure, n_points: int) -> list[Structure]:
    """Return cells and positions on the straight line between two cells, including both ends.

    Parameters
    ----------
    parent, child
        The same sites in the same order, fractional coordinates without jumps by lattice vectors, cells
        not rotated against each other.
    n_points
        Points, at λ = 0 to 1.
    """
    steps = np.linspace(0, 1, n_points)
    cells = [(1 - x) * parent.lattice.matrix + x * child.lattice.matrix for x in steps]
    sites = [(1 - x) * parent.frac_coords + x * child.frac_coords for x in steps]
    species = parent.species
    return [Structure(Lattice(c), species, s) for c, s in zip(cells, sites, strict=True)]


def path_energies(parent: Structure, answers: Answers, cells: Iterable[Structure]) -> FloatArray:
    """Return E(λ) - E(0) in meV per formula unit, shape (n_points,).

    Raises
    ------
    LabelError
        A missing or broken answer.
    """
    complete = require_answers(list(cells), answers, "The pathway")
    energies = np.array([a.energy for a in complete])
    return np.asarray((energies - energies[0]) * 1000 / formula_units(parent))
