"""Phonons by finite displacements: plan the supercells, analyse their forces.

Residual forces of the undeformed cell need no extra structure: a site's set of displacements always
holds the opposite of each, by symmetry or explicitly, so that whatever does not change sign drops
out of the fit.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from phonopy import Phonopy
from pydantic import Field
from pymatgen.core import Structure

from phonotune.physics.answers import require_answers
from phonotune.physics.bands import BandPath
from phonotune.physics.phonon_cells import (
    BornCharges,
    Rows3,
    as_identity,
    build_phonopy,
    float_rows,
    nac_params,
    primitive_cell,
    primitive_rows,
    to_structure,
)
from phonotune.physics.phonon_spectrum import (
    Spectrum,
    compute_spectrum,
    star_representatives,
    without_acoustic,
)
from phonotune.physics.supercell import check_structure, formula_units, supercell_matrix
from phonotune.physics.thermal import thermal_curves
from phonotune.ports import Answers, FloatArray, IntArray
from phonotune.schemas.base import Matrix3, Part, Source, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.phonon import BandLabel, ImaginaryMode, PhononDocument, ThermalPoint
from phonotune.units import Angstrom, Kelvin, TeraHertz

__all__ = [
    "BornCharges",
    "PhononPlan",
    "PhononSettings",
    "analyse_force_constants",
    "analyse_forces",
    "fit_force_constants",
    "gamma_force_constants",
    "phonopy_of",
    "plan_displacements",
    "plan_gamma_displacements",
]

_SUM_RULE_ROUNDS: Final[int] = 3
_TEMPERATURE_STEP: Final[float] = 10.0


class PhononSettings(Part):
    """How phonons are computed; the same for the reference and for every model."""

    supercell_matrix: Matrix3 | None = Field(
        default=None, description="rows are supercell vectors; None chooses one by min_length"
    )
    min_length: Angstrom = Field(
        default=10.0, gt=0, description="shortest distance between periodic images"
    )
    max_atoms: int = Field(default=300, gt=0, description="most atoms in a chosen supercell")
    displacement: Angstrom = Field(default=0.01, gt=0)
    symprec: Angstrom = Field(default=1e-5, gt=0, description="symmetry tolerance")
    imaginary_threshold: TeraHertz = Field(
        default=-0.1, le=0, description="a mode below this counts as imaginary"
    )
    mesh_density: Angstrom = Field(
        default=50.0, gt=0, description="mesh points per 1/Å of reciprocal vector (no 2π)"
    )
    max_temperature: Kelvin = Field(default=1000.0, gt=0)


@dataclass(frozen=True, eq=False)
class PhononPlan:
    """Displaced supercells, in phonopy's order.

    Attributes
    ----------
    structure
        The cell given.
    settings
        Settings with the supercell matrix resolved.
    matrix
        Supercell matrix, rows are vectors.
    primitive
        Primitive vectors (rows) in units of the cell vectors.
    structures
        The supercells to evaluate, one displaced atom each.
    sites
        shape (n_d,), index of the displaced atom.
    vectors
        shape (n_d, 3), its displacement, Å, Cartesian.
    phonon
        The Phonopy object behind it, kept for its symmetry search (the slow part); never changed.
    """

    structure: Structure
    settings: PhononSettings
    matrix: Matrix3
    primitive: Rows3
    structures: tuple[Structure, ...]
    sites: IntArray
    vectors: FloatArray
    phonon: Phonopy = field(repr=False)


def plan_displacements(structure: Structure, settings: PhononSettings) -> PhononPlan:
    """Plan symmetry-reduced displacements, both signs where symmetry does not relate them.

    Raises
    ------
    StructureError
        The structure is unusable.
    InputError
        phonopy cannot build the supercell.
    """
    check_structure(structure)
    matrix = settings.supercell_matrix or supercell_matrix(
        structure, settings.min_length, settings.max_atoms
    )
    primitive = primitive_rows(structure, settings.symprec)
    phonon = build_phonopy(structure, matrix, primitive, settings.symprec)
    phonon.generate_displacements(distance=settings.displacement)
    first_atoms = phonon.dataset["first_atoms"]
    return PhononPlan(
        structure=structure,
        settings=settings.model_copy(update={"supercell_matrix": matrix}),
        matrix=matrix,
        primitive=primitive,
        structures=tuple(to_structure(cell) for cell in phonon.supercells_with_displacements),
        sites=np.array([d["number"] for d in first_atoms]),
        vectors=np.array([d["displacement"] for d in first_atoms]),
        phonon=phonon,
    )


def analyse_forces(
    plan: PhononPlan, answers: Answers, source: Source, born: BornCharges | None = None
) -> PhononDocument:
    """Turn the forces on displaced supercells into a PhononDocument.

    Force constants are fitted by phonopy from the symmetry-expanded displacements, then made to
    obey the acoustic sum rule and index symmetry.

    Parameters
    ----------
    plan
        What was planned.
    answers
        One answer a structure; all are needed.
    source
        Who gave the answers.
    born
        Born charges for the NAC at q -> 0, the same for reference and models; None for no NAC.

    Raises
    ------
    LabelError
        A missing or broken answer; the message names the frames.
    """
    complete = require_answers(plan.structures, answers, "Phonons")
    forces = np.array([a.forces for a in complete])
    phonon = fit_force_constants(plan, forces)
    displaced = {
        "displacement_sites": plan.sites,
        "displacement_vectors": plan.vectors,
        "displacement_forces": forces,
    }
    return analyse_force_constants(phonon, plan.structure, plan.settings, source, born, displaced)


def fit_force_constants(plan: PhononPlan, forces: FloatArray) -> Phonopy:
    """Return a Phonopy object with symmetrised compact force constants.

    Parameters
    ----------
    plan
        The displacements.
    forces
        shape (n_d, n_super, 3), eV/Å, one set a displacement of the plan.
    """
    phonon = copy(plan.phonon)
    phonon.dataset = {
        "natom": len(phonon.supercell),
        "first_atoms": [
            {"number": int(site), "displacement": vector, "forces": force}
            for site, vector, force in zip(plan.sites, plan.vectors, forces, strict=True)
        ],
    }
    phonon.produce_force_constants(calculate_full_force_constants=False)
    phonon.symmetrize_force_constants(level=_SUM_RULE_ROUNDS)
    return phonon


def analyse_force_constants(
    phonon: Phonopy,
    structure: Structure,
    settings: PhononSettings,
    source: Source,
    born: BornCharges | None = None,
    displaced: dict[str, Any] | None = None,
) -> PhononDocument:
    """Compute everything in a PhononDocument from a Phonopy object that holds force constants.

    Parameters
    ----------
    phonon
        With compact force constants; its NAC is set here.
    structure
        The cell given (``phonon.unitcell``).
    settings
        Mesh, thresholds, temperatures.
    source
        Whose force constants these are.
    born
        Born charges or None.
    displaced
        The ``displacement_*`` arrays behind the force constants; empty ones if there are none.
    """
    phonon.nac_params = nac_params(born, len(phonon.primitive))
    spectrum = compute_spectrum(phonon, settings.mesh_density, settings.symprec)
    units = formula_units(to_structure(phonon.primitive))
    thermal, point = _thermal(spectrum.arrays, settings, units)
    arrays = {
        "force_constants": phonon.force_constants,
        **spectrum.arrays,
        **thermal,
        **_no_displacements(len(phonon.supercell)),
        **(displaced or {}),
        **({} if born is None else {"born": born.charges, "dielectric": born.dielectric}),
    }
    matrix = _rows_of(phonon)
    return PhononDocument(
        formula=structure.reduced_formula,
        material_id=structure_hash(structure),
        source=source,
        settings=settings.model_copy(update={"supercell_matrix": matrix}).model_dump(mode="json"),
        unitcell=structure,
        supercell_matrix=matrix,
        primitive_matrix=float_rows(phonon.primitive_matrix.T),
        mesh=spectrum.mesh,
        has_nac=born is not None,
        n_displacements=len(arrays.get("random_displacements", arrays["displacement_vectors"])),
        imaginary_threshold=settings.imaginary_threshold,
        lowest_frequency=spectrum.lowest,
        highest_frequency=spectrum.highest,
        imaginary_modes=_imaginary_modes(phonon, spectrum, settings.imaginary_threshold),
        formula_units=units,
        thermal_300=point,
        band_labels=_band_labels(spectrum.path),
        data=Blob.pack(**arrays),
    )


def _no_displacements(n_super: int) -> dict[str, Any]:
    return {
        "displacement_sites": np.zeros(0, dtype=np.int64),
        "displacement_vectors": np.zeros((0, 3)),
        "displacement_forces": np.zeros((0, n_super, 3)),
    }


def _rows_of(phonon: Phonopy) -> Matrix3:
    rows = [tuple(int(x) for x in row) for row in np.rint(phonon.supercell_matrix.T)]
    return (rows[0], rows[1], rows[2])  # type: ignore[return-value]


def _thermal(
    mesh: dict[str, FloatArray], settings: PhononSettings, units: int
) -> tuple[dict[str, FloatArray], ThermalPoint]:
    """Return the thermal arrays and the point at 300 K."""
    grid = np.arange(0.0, settings.max_temperature + 1e-6, _TEMPERATURE_STEP)
    nu, weights = mesh["mesh_frequencies"], mesh["mesh_weights"]
    curves = thermal_curves(nu, weights, grid, units)
    at_300 = thermal_curves(nu, weights, [300.0], units)
    point = ThermalPoint(
        temperature=300.0,
        helmholtz=float(at_300.helmholtz[0]),
        entropy=float(at_300.entropy[0]),
        heat_capacity=float(at_300.heat_capacity[0]),
    )
    arrays = {
        "temperatures": curves.temperatures,
        "helmholtz": curves.helmholtz,
        "entropy": curves.entropy,
        "heat_capacity": curves.heat_capacity,
    }
    return arrays, point


def _imaginary_modes(phonon: Phonopy, spectrum: Spectrum, threshold: float) -> list[ImaginaryMode]:
    """Return the imaginary modes at commensurate points, one q a star, softest first."""
    q, nu = spectrum.arrays["commensurate_q"], spectrum.arrays["commensurate_frequencies"]
    own = star_representatives(phonon, q) == np.arange(len(q))
    modes = [
        ImaginaryMode(
            q=(float(q[i, 0]), float(q[i, 1]), float(q[i, 2])),
            band=int(band),
            frequency=float(nu[i, band]),
        )
        for i, band in np.argwhere(without_acoustic(q, nu) < threshold)
        if own[i]
    ]
    return sorted(modes, key=lambda m: m.frequency)


def _band_labels(path: BandPath) -> list[BandLabel]:
    return [
        BandLabel(index=int(index), label=label)
        for ends, labels in zip(path.segments, path.labels, strict=True)
        for index, label in zip(ends, labels, strict=True)
    ]


def phonopy_of(document: PhononDocument, symmetry: bool = True) -> Phonopy:
    """Rebuild a document's Phonopy object: cells, displacements, forces, NAC, force constants.

    Parameters
    ----------
    document
        The phonons.
    symmetry
        False skips phonopy's symmetry search, which single q-points do not need.
    """
    arrays = document.data.arrays()
    structure = document.unitcell
    symprec = float(document.settings["symprec"])
    phonon = build_phonopy(
        structure, document.supercell_matrix, document.primitive_matrix, symprec, symmetry
    )
    if "random_displacements" in arrays:
        phonon.dataset = {
            "displacements": arrays["random_displacements"],
            "forces": arrays["random_forces"],
        }
    elif len(arrays["displacement_sites"]):
        rows = zip(
            arrays["displacement_sites"],
            arrays["displacement_vectors"],
            arrays["displacement_forces"],
            strict=True,
        )
        phonon.dataset = {
            "natom": len(phonon.supercell),
            "first_atoms": [{"number": int(n), "displacement": d, "forces": f} for n, d, f in rows],
        }
    if document.has_nac:
        born = BornCharges(arrays["born"], arrays["dielectric"])
        phonon.nac_params = nac_params(born, len(phonon.primitive))
    phonon.force_constants = arrays["force_constants"]
    return phonon


def plan_gamma_displacements(
    structure: Structure, displacement: float, symprec: float
) -> PhononPlan:
    """Plan displacements in the primitive cell itself: force constants at Γ only.

    The plan's ``structure`` is the primitive cell, in the orientation of the cell given.
    """
    settings = PhononSettings(
        supercell_matrix=as_identity(), displacement=displacement, symprec=symprec
    )
    return plan_displacements(primitive_cell(structure, symprec), settings)


def gamma_force_constants(plan: PhononPlan, answers: Answers) -> FloatArray:
    """Return the Γ force constants of a :func:`plan_gamma_displacements` plan.

    Returns
    -------
    shape (3 n_prim, 3 n_prim), eV/Å^2, symmetric, rows sum to zero over atoms.

    Raises
    ------
    LabelError
        A missing or broken answer.
    """
    complete = require_answers(plan.structures, answers, "Γ force constants")
    constants = fit_force_constants(plan, np.array([a.forces for a in complete])).force_constants
    n = len(plan.structure)
    return np.asarray(np.swapaxes(constants, 1, 2).reshape(3 * n, 3 * n))
