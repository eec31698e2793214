"""The potential along one phonon mode, E(Q), in the smallest commensurate supercell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import spglib
from pydantic import Field
from pymatgen.core import Structure
from scipy import constants

from phonotune.physics.answers import require_answers
from phonotune.physics.phonon_modes import Mode, displacement_pattern, mode_of, softest_mode
from phonotune.physics.supercell import (
    check_structure,
    commensurate_matrix,
    formula_units,
    make_supercell,
)
from phonotune.ports import Answers, Evaluation, FloatArray
from phonotune.schemas.base import Matrix3, Part, Source, Vector3, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.wells import WellDocument
from phonotune.units import Angstrom, TeraHertz

NORMALISATION: Final[str] = (
    "Q² = Σ m u² over the supercell, divided by its formula units, so that E per formula unit = "
    "½ (2πν)² Q² for a harmonic mode"
)
_ORDERS: Final[FloatArray] = np.array([2.0, 4.0, 6.0])
_DENSER_NEAR_ZERO: Final = 1.5
"""Exponent of the grid: a shallow well lies in the first third of the range."""
_LOW: Final = 0.02
"""Share of the highest energy that counts as low where there is no well."""
_SMALLEST_DEPTH: Final[float] = 1e-3
"""meV per formula unit: a shallower well is noise."""
_THZ: Final[float] = float(
    np.sqrt(1e-3 * constants.e / constants.atomic_mass) * 1e10 / (2 * np.pi) / 1e12
)
"""Frequency (THz) of 1 meV/Å^2/amu."""


class WellSettings(Part):
    """Which mode is followed, and how far; the same for the reference and for every model."""

    q: Vector3 | None = Field(
        default=None, description="None: the softest mode at the commensurate points"
    )
    band: int | None = Field(default=None, ge=0, description="None: the softest at q")
    max_displacement: Angstrom = Field(
        default=0.4, gt=0, description="largest displacement of an atom at the end of the grid"
    )
    n_amplitudes: int = Field(default=11, ge=5, description="from Q = 0 to the largest, both in")
    max_cells: int = Field(default=16, ge=1, description="most primitive cells in the supercell")
    degeneracy: TeraHertz = Field(default=0.01, gt=0, description="closer modes are degenerate")
    symprec: Angstrom = Field(default=1e-3, gt=0, description="for the symmetry of E(Q)")


@dataclass(frozen=True, eq=False)
class WellPlan:
    """Supercells displaced along one mode.

    Attributes
    ----------
    structure
        The cell given.
    settings
        Resolved settings.
    mode
        The mode followed.
    mode_source
        Whose eigenvector it is.
    matrix
        Supercell in units of the primitive vectors, rows are vectors.
    pattern
        shape (n_super, 3), Å per Å·sqrt(amu): the displacements at Q = 1.
    amplitudes
        shape (n,), Å·sqrt(amu), ascending from 0; from -Q where symmetry does not make E(Q) even.
    formula_units
        In the supercell.
    structures
        One supercell an amplitude.
    """

    structure: Structure
    settings: WellSettings
    mode: Mode
    mode_source: Source
    matrix: Matrix3
    pattern: FloatArray
    amplitudes: FloatArray
    formula_units: int
    structures: tuple[Structure, ...]


def plan_well(structure: Structure, phonons: PhononDocument, settings: WellSettings) -> WellPlan:
    """Plan supercells along a mode of ``phonons``.

    Raises
    ------
    InputError
        q needs too large a supercell, or there is no such band.
    """
    check_structure(structure)
    q, band = (
        (np.array(settings.q), settings.band)
        if settings.q is not None
        else softest_mode(phonons, settings.degeneracy)
    )
    mode = mode_of(phonons, q, band, settings.degeneracy)
    matrix = commensurate_matrix(list(q), settings.max_cells, mode.primitive.lattice)
    supercell = make_supercell(mode.primitive, matrix)
    units = formula_units(supercell)
    pattern = displacement_pattern(mode, supercell, units)
    top = settings.max_displacement / np.linalg.norm(pattern, axis=1).max()
    amplitudes = top * np.linspace(0, 1, settings.n_amplitudes) ** _DENSER_NEAR_ZERO
    if not reverses_by_symmetry(supercell, pattern, settings.symprec):
        amplitudes = np.concatenate([-amplitudes[:0:-1], amplitudes])
    return WellPlan(
        structure=structure,
        settings=settings,
        mode=mode,
        mode_source=phonons.source,
        matrix=matrix,
        pattern=pattern,
        amplitudes=amplitudes,
        formula_units=units,
        structures=tuple(_displaced(supercell, amplitude * pattern) for amplitude in amplitudes),
    )


def _displaced(supercell: Structure, displacements: FloatArray) -> Structure:
    return Structure(
        supercell.lattice,
        supercell.species,
        supercell.cart_coords + displacements,
        coords_are_cartesian=True,
    )


def reverses_by_symmetry(supercell: Structure, pattern: FloatArray, symprec: float) -> bool:
    """Return whether a symmetry of the supercell turns a displacement pattern into its opposite.

    Then E(-Q) = E(Q) and one side is enough.

    Parameters
    ----------
    supercell
        The undistorted supercell.
    pattern
        shape (n_super, 3), any length unit.
    symprec
        Tolerance on positions, Å.
    """
    lattice, x = supercell.lattice, supercell.frac_coords
    cell = (lattice.matrix, x, list(supercell.atomic_numbers))
    found = spglib.get_symmetry(cell, symprec=symprec)
    if found is None:
        return False
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        offsets = (x @ rotation.T + shift)[:, None] - x[None]
        offsets -= np.rint(offsets)
        images = np.argmin(np.linalg.norm(offsets @ lattice.matrix, axis=2), axis=1)
        cartesian = np.linalg.inv(lattice.matrix) @ rotation.T @ lattice.matrix
        if np.allclose(pattern @ cartesian, -pattern[images], atol=1e-3 * np.abs(pattern).max()):
            return True
    return False


def analyse_well(plan: WellPlan, answers: Answers, source: Source) -> WellDocument:
    """Fit an even polynomial of order 6 to energies and projected forces, and find its minimum.

    Raises
    ------
    LabelError
        A missing or broken answer; the frames are named.
    """
    complete = require_answers(plan.structures, answers, "The double well")
    energies, forces = _curves(plan, complete)
    coefficients, residual = fit_even(plan.amplitudes, energies, forces)
    top = float(plan.amplitudes.max())
    q0, lowest = lowest_point(coefficients, top)
    has_well = lowest < -_SMALLEST_DEPTH
    own = plan.mode_source == source
    return WellDocument(
        formula=plan.structure.reduced_formula,
        material_id=structure_hash(plan.structure),
        source=source,
        settings=plan.settings.model_dump(mode="json"),
        q=(float(plan.mode.q[0]), float(plan.mode.q[1]), float(plan.mode.q[2])),
        band=plan.mode.band,
        mode_source="this evaluator's own" if own else plan.mode_source.role,
        mode_frequency=plan.mode.frequency,
        curvature_frequency=float(
            np.sign(coefficients[0]) * np.sqrt(2 * abs(coefficients[0])) * _THZ
        ),
        supercell_matrix=plan.matrix,
        formula_units=plan.formula_units,
        normalisation=NORMALISATION,
        has_double_well=has_well,
        minimum_in_range=not has_well or q0 < top * (1 - 1e-6),
        depth=-lowest if has_well else 0.0,
        q0=q0 if has_well else 0.0,
        fit_residual=residual,
        data=Blob.pack(
            amplitudes=plan.amplitudes,
            energies=energies,
            forces=forces,
            coefficients=coefficients,
            pattern=plan.pattern,
        ),
    )


def _curves(plan: WellPlan, complete: list[Evaluation]) -> tuple[FloatArray, FloatArray]:
    """Return E - E(0) in meV/f.u. and -dE/dQ in meV/f.u. per Å·sqrt(amu)."""
    total = np.array([a.energy for a in complete])
    origin = int(np.argmin(np.abs(plan.amplitudes)))
    along = np.array([np.sum(a.forces * plan.pattern) for a in complete])
    per_unit = 1000 / plan.formula_units
    return (total - total[origin]) * per_unit, along * per_unit


def fit_even(
    amplitudes: FloatArray, energies: FloatArray, forces: FloatArray
) -> tuple[FloatArray, float]:
    """Fit c2 Q² + c4 Q⁴ + c6 Q⁶ to energies and forces together, by weighted least squares.

    A point weighs 1 / (1 + ((E - E_min) / E_low)²), with E_low the depth of the lowest point or, where
    none is below zero, 2 % of the highest energy: the repulsive walls, orders of magnitude above the
    well, must not decide its depth.

    Parameters
    ----------
    amplitudes
        shape (n,).
    energies
        shape (n,), zero at Q = 0.
    forces
        shape (n,), -dE/dQ.

    Returns
    -------
    coefficients c2, c4, c6, and the largest weighted deviation of an energy from the fit.
    """
    weights = low_energy_weights(energies)
    scale = float(np.abs(amplitudes).max())
    x = (amplitudes / scale)[:, None]
    design = np.concatenate([x**_ORDERS, -_ORDERS * x ** (_ORDERS - 1)])
    target = np.concatenate([energies, forces * scale])
    twice = np.concatenate([weights, weights])
    scaled = np.linalg.lstsq(design * twice[:, None], target * twice, rcond=None)[0]
    residual = float((weights * np.abs(x**_ORDERS @ scaled - energies)).max())
    return np.asarray(scaled / scale**_ORDERS), residual


def low_energy_weights(energies: FloatArray) -> FloatArray:
    """Return the weight of each point of :func:`fit_even`, shape (n,), at most 1."""
    lowest = float(energies.min())
    low = max(-lowest, _LOW * float(energies.max()), np.finfo(float).tiny)
    return np.asarray(1 / (1 + ((energies - lowest) / low) ** 2))


def lowest_point(coefficients: FloatArray, top: float) -> tuple[float, float]:
    """Return Q >= 0 and E of the lowest point of an even polynomial on [0, top]; never beyond.

    Parameters
    ----------
    coefficients
        c2, c4, c6.
    top
        End of the range that was sampled.
    """
    c2, c4, c6 = coefficients
    squares = np.roots([3 * c6, 2 * c4, c2])
    real = squares[np.abs(squares.imag) < 1e-9 * np.abs(squares)].real
    inside = np.sqrt(real[(real > 0) & (real < top**2)])
    points = np.concatenate([[0.0], inside, [top]])
    values = points[:, None] ** _ORDERS @ coefficients
    best = int(np.argmin(values))
    return float(points[best]), float(values[best])
