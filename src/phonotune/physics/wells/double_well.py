"""The potential along one phonon mode, E(Q), in the smallest commensurate supercell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
from pydantic import Field
from pymatgen.core import Structure
from scipy import constants

from phonotune.errors import ConfigError, InputError, unknown_name
from phonotune.physics.answer_checks import require_answers
from phonotune.physics.little_group import little_group
from phonotune.physics.phonon.irreps import irrep_label
from phonotune.physics.phonon.modes import (
    Mode,
    displacement_pattern,
    longest_projection,
    mode_space,
    softest_mode,
)
from phonotune.physics.supercell import (
    check_structure,
    commensurate_matrix,
    displaced,
    formula_units,
    make_supercell,
)
from phonotune.physics.symmetry import symmetry_operations
from phonotune.physics.wells.directions import MOST_DIRECTIONS, mode_directions
from phonotune.physics.wells.fit import around_lowest, fit_well
from phonotune.physics.wells.levels import sampled_potential, supercell_levels
from phonotune.ports import Answers, FloatArray, IntArray
from phonotune.schemas.base import Matrix3, Part, Source, Vector3, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.masses import masses_in_words, same_masses, with_masses
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.wells import WellDirection, WellDocument
from phonotune.units import Angstrom, TeraHertz

ALL: Final[str] = "all"
"""Follow every symmetry-distinct direction."""
NORMALISATION: Final[str] = (
    "Q² = Σ m u² over the supercell, divided by its formula units, so that E per formula unit = "
    "½ (2πν)² Q² for a harmonic mode"
)
_DENSER_NEAR_ZERO: Final = 1.5
"""Exponent of the grid: the minimum of a shallow well lies in the first third of the range."""
_SMALLEST_DEPTH: Final[float] = 1e-3
"""meV per formula unit: a shallower well is noise."""
_N_LEVELS: Final = 8
_THZ: Final[float] = float(
    np.sqrt(1e-3 * constants.e / constants.atomic_mass) * 1e10 / (2 * np.pi) / 1e12
)
"""Frequency (THz) of 1 meV/Å^2/amu."""


_SAME_CELL: Final = 1e-3
"""Å, on the components of the cell vectors."""


class WellSettings(Part):
    """Which mode is followed and how far; the same for the reference and for every model."""

    q: Vector3 | None = Field(
        default=None, description="None: the softest mode at the commensurate points"
    )
    band: int | None = Field(default=None, ge=0, description="None: the softest at q")
    directions: tuple[str, ...] | None = Field(
        default=None,
        description="of a degenerate mode: labels such as a00 and aaa, or all; None: one direction, "
        "the longest projection of the motion of one atom along one axis",
    )
    max_displacement: Angstrom = Field(
        default=0.4, gt=0, description="largest displacement of an atom at the end of the grid"
    )
    n_amplitudes: int = Field(default=11, ge=5, description="from Q = 0 to the largest, both in")
    max_cells: int = Field(default=16, ge=1, description="most primitive cells in the supercell")
    degeneracy: TeraHertz = Field(default=0.01, gt=0, description="closer modes are degenerate")
    symprec: Angstrom = Field(default=1e-3, gt=0, description="for the symmetry of E(Q)")


@dataclass(frozen=True, eq=False)
class WellPath:
    """The displaced supercells along one direction.

    Attributes
    ----------
    mode
        The mode followed.
    pattern
        shape (n_super, 3), Å per Å·sqrt(amu): the displacements at Q = 1.
    amplitudes
        shape (n,), Å·sqrt(amu), ascending from 0; from -Q where symmetry does not make E(Q) even.
    even
        Whether it does.
    rows
        shape (n,): which structures of the plan they are; all paths share the undisplaced one.
    """

    mode: Mode
    pattern: FloatArray
    amplitudes: FloatArray
    even: bool
    rows: IntArray


@dataclass(frozen=True, eq=False)
class WellPlan:
    """Supercells displaced along one mode, in one or several directions.

    Attributes
    ----------
    structure
        The cell given.
    settings
        Resolved settings.
    mode_source
        Whose eigenvector it is.
    matrix
        Supercell in units of the primitive vectors, rows are vectors.
    formula_units
        In the supercell.
    paths
        One per direction.
    structures
        The supercells to evaluate.
    dropped
        Labels of directions that "all" includes and that are beyond MOST_DIRECTIONS.
    """

    structure: Structure
    settings: WellSettings
    mode_source: Source
    matrix: Matrix3
    formula_units: int
    paths: tuple[WellPath, ...]
    structures: tuple[Structure, ...]
    dropped: tuple[str, ...] = ()

    @property
    def mode(self) -> Mode:
        """The mode of the first path."""
        return self.paths[0].mode

    @property
    def pattern(self) -> FloatArray:
        """The displacements of the first path at Q = 1."""
        return self.paths[0].pattern

    @property
    def amplitudes(self) -> FloatArray:
        """The amplitudes of the first path."""
        return self.paths[0].amplitudes


def plan_well(structure: Structure, phonons: PhononDocument, settings: WellSettings) -> WellPlan:
    """Plan supercells along a mode of ``phonons``.

    A wavevector given in decimal fractions is replaced by the rational one that it approximates.

    Raises
    ------
    InputError
        q needs too large a supercell, there is no such band or direction, or a band without q.
    """
    check_structure(structure)
    other = phonons.unitcell
    structure = with_masses(structure)
    alike = structure.species == other.species and np.allclose(
        structure.lattice.matrix, other.lattice.matrix, atol=_SAME_CELL
    )
    if alike and not same_masses(structure, other):
        raise InputError(
            f"The phonons of {other.formula} have other masses than the crystal: {masses_in_words(other)} and "
            f"{masses_in_words(structure)}. Compute both with the same masses."
        )
    if not alike:
        raise InputError(
            f"A well of {structure.formula} was requested with phonons of another cell, "
            f"{other.formula} of {other.volume:.3f} Å^3 instead of {structure.volume:.3f} Å^3. Give "
            "the unit cell of the phonons, without relaxing it again."
        )
    band = settings.band
    if settings.q is not None:
        parts = [Fraction(x).limit_denominator(settings.max_cells) for x in settings.q]
        q = np.array([float(part) for part in parts])
        if not np.allclose(q, settings.q, atol=1e-5):
            q = np.array(settings.q)
    elif band is None:
        q, band = softest_mode(phonons, settings.degeneracy)
    else:
        raise ConfigError(
            f"Band {band} was requested without its wavevector; give q as well, or neither."
        )
    modes, dropped = modes_to_follow(phonons, q, band, settings)
    matrix = commensurate_matrix(list(q), settings.max_cells, modes[0].primitive.lattice)
    supercell = make_supercell(modes[0].primitive, matrix)
    units = formula_units(supercell)
    paths: list[WellPath] = []
    structures: list[Structure] = []
    for mode in modes:
        pattern = displacement_pattern(mode, supercell, units)
        top = settings.max_displacement / np.linalg.norm(pattern, axis=1).max()
        amplitudes = top * np.linspace(0, 1, settings.n_amplitudes) ** _DENSER_NEAR_ZERO
        even = reverses_by_symmetry(supercell, pattern, settings.symprec)
        if not even:
            amplitudes = np.concatenate([-amplitudes[:0:-1], amplitudes])
        rows, planned = np.arange(len(amplitudes)), len(structures)
        if paths:  # Q = 0 is that of the first path
            moved, origin = amplitudes != 0, paths[0].rows[paths[0].amplitudes == 0]
            rows = np.where(moved, planned - 1 + np.cumsum(moved), origin)
        steps = amplitudes[rows >= planned]
        structures += [displaced(supercell, step * pattern) for step in steps]
        paths.append(WellPath(mode, pattern, amplitudes, even, rows))
    return WellPlan(
        structure=structure,
        settings=settings,
        mode_source=phonons.source,
        matrix=matrix,
        formula_units=units,
        paths=tuple(paths),
        structures=tuple(structures),
        dropped=dropped,
    )


def modes_to_follow(
    phonons: PhononDocument, q: FloatArray, band: int | None, settings: WellSettings
) -> tuple[list[Mode], tuple[str, ...]]:
    """Return the modes of the directions that the settings request, and the labels of those dropped.

    ``all`` means the MOST_DIRECTIONS most symmetric ones; further ones are followed if they are named.

    Raises
    ------
    InputError
        There is no such band.
    ConfigError
        There is no such direction; the message lists those that exist.
    """
    if settings.directions is None:
        space = mode_space(phonons, q, band, settings.degeneracy)
        symmetry = little_group(space.primitive, space.q, float(phonons.settings["symprec"]))
        return [replace(longest_projection(space), irrep=irrep_label(space, symmetry))], ()
    modes = mode_directions(phonons, q, band, settings.degeneracy)
    if ALL in settings.directions:
        named = [m for m in modes[MOST_DIRECTIONS:] if m.direction in settings.directions]
        dropped = [str(m.direction) for m in modes[MOST_DIRECTIONS:] if m not in named]
        return modes[:MOST_DIRECTIONS] + named, tuple(dropped)
    found = {str(mode.direction): mode for mode in modes}
    for wanted in settings.directions:
        if wanted not in found:
            raise unknown_name("direction", wanted, [ALL, *found])
    return [mode for name, mode in found.items() if name in settings.directions], ()


def reverses_by_symmetry(supercell: Structure, pattern: FloatArray, symprec: float) -> bool:
    """Return whether a symmetry of the supercell turns a displacement pattern into its opposite.

    If so, E(-Q) = E(Q) and one side is enough.

    Parameters
    ----------
    supercell
        The undistorted supercell.
    pattern
        shape (n_super, 3), any length unit.
    symprec
        Tolerance on positions, Å.
    """
    operations = symmetry_operations(supercell, symprec)
    tolerance = 1e-3 * float(np.abs(pattern).max())
    return any(
        np.allclose(pattern @ rotation, -pattern[images], atol=tolerance)
        for rotation, images in zip(operations.rotations, operations.images, strict=True)
    )


def analyse_well(plan: WellPlan, answers: Answers, source: Source) -> WellDocument:
    """Fit a polynomial to energies and projected forces of each path, and find the lowest minimum.

    Levels are those of the coordinate of the plan's supercell, the smallest one commensurate with the mode.

    Raises
    ------
    LabelError
        A missing or broken answer; the frames are named.
    """
    complete = require_answers(plan.structures, answers, "The double well")
    parts: list[WellDirection] = []
    curves: list[dict[str, Any]] = []
    for path in plan.paths:
        # E - E(0) in meV per formula unit, -dE/dQ in meV per formula unit and Å·sqrt(amu)
        own = [complete[row] for row in path.rows]
        total = np.array([answer.energy for answer in own])
        along = np.array([np.sum(answer.forces * path.pattern) for answer in own])
        per_unit = 1000 / plan.formula_units
        energies = (total - total[int(np.argmin(np.abs(path.amplitudes)))]) * per_unit
        forces = along * per_unit
        fit = fit_well(path.amplitudes, energies, forces, path.even)
        top = float(path.amplitudes.max())
        q0, lowest = fit.lowest_point(*around_lowest(path.amplitudes, energies))
        has_well = lowest < -_SMALLEST_DEPTH and fit.leaves_zero(q0)
        potential = sampled_potential(fit, path.amplitudes, energies, forces, path.even)
        levels = supercell_levels(potential, (-top, top), plan.formula_units)[:_N_LEVELS]
        step = float(levels[1] - levels[0]) if len(levels) > 1 else None
        tunnels = step is not None and path.even and bool(levels[1] < 0)
        frequency = np.sign(fit.curvature) * np.sqrt(abs(fit.curvature)) * _THZ
        parts.append(
            WellDirection(
                direction=path.mode.direction,
                even=path.even,
                curvature_frequency=float(frequency),
                has_double_well=has_well,
                minimum_in_range=not has_well or abs(q0) < top * (1 - 1e-6),
                depth=-lowest if has_well else 0.0,
                q0=q0 if has_well else 0.0,
                fit_residual=fit.residual,
                levels=[float(x) for x in levels],
                transition_frequency=step,
                tunnel_splitting=step if tunnels else None,
            )
        )
        curves.append(
            {
                "amplitudes": path.amplitudes,
                "energies": energies,
                "forces": forces,
                "orders": fit.orders.astype(int),
                "coefficients": fit.coefficients,
                "pattern": path.pattern,
            }
        )
    deepest = int(np.argmax([part.depth for part in parts]))
    arrays = dict(curves[deepest])
    if len(curves) > 1:
        for index, curve in enumerate(curves):
            arrays |= {f"{name}_{index}": values for name, values in curve.items()}
    mode = plan.paths[deepest].mode
    own_mode = plan.mode_source == source
    return WellDocument(
        formula=plan.structure.reduced_formula,
        material_id=structure_hash(plan.structure),
        source=source,
        settings=plan.settings.model_dump(mode="json"),
        q=(float(mode.q[0]), float(mode.q[1]), float(mode.q[2])),
        band=mode.band,
        mode_source="this evaluator's own" if own_mode else plan.mode_source.role,
        mode_frequency=mode.frequency,
        supercell_matrix=plan.matrix,
        formula_units=plan.formula_units,
        normalisation=NORMALISATION,
        irrep=mode.irrep,
        directions=parts,
        dropped_directions=list(plan.dropped),
        all_directions_found=all(path.mode.complete for path in plan.paths),
        data=Blob.pack(**arrays),
        **dict(parts[deepest]),
    )
