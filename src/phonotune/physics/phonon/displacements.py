"""Phonons by finite displacements: plan the supercells, analyse their forces.

Residual forces of the undeformed cell need no extra structure: the displacements of a site always include the
opposite of each, by symmetry or explicitly, so that whatever does not change sign cancels in the fit.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from phonopy import Phonopy
from pymatgen.core import Structure

from phonotune.physics.answer_checks import require_answers
from phonotune.physics.phonon.cells import (
    Rows3,
    as_identity,
    build_phonopy,
    check_born,
    primitive_cell,
    resolve_primitive,
    to_structure,
    with_isotopes,
)
from phonotune.physics.phonon.document import analyse_force_constants
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import check_structure, supercell_matrix
from phonotune.physics.supercell_memory import check_memory
from phonotune.ports import Answers, FloatArray, IntArray
from phonotune.schemas.base import Matrix3, Source
from phonotune.schemas.masses import with_masses, with_natural_masses
from phonotune.schemas.phonon import BornCharges, PhononDocument

_SUM_RULE_ROUNDS: Final[int] = 3


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
        The supercells to evaluate, one displaced atom each; of elements, since forces know no isotopes.
    sites
        shape (n_d,), index of the displaced atom.
    vectors
        shape (n_d, 3), its displacement, Å, Cartesian.
    phonon
        The Phonopy object with natural masses, kept for its symmetry search (the slow part); never changed.
    """

    structure: Structure
    settings: PhononSettings
    matrix: Matrix3
    primitive: Rows3
    structures: tuple[Structure, ...]
    sites: IntArray
    vectors: FloatArray
    phonon: Phonopy = field(repr=False)


def plan_displacements(
    structure: Structure, settings: PhononSettings, born: BornCharges | None = None
) -> PhononPlan:
    """Plan symmetry-reduced displacements, both signs where symmetry does not relate them.

    Parameters
    ----------
    structure
        The cell to repeat.
    settings
        Supercell, displacement, tolerances.
    born
        The charges that the analysis will use; they are checked here, before anything is computed.

    Raises
    ------
    StructureError
        The structure is unusable.
    InputError
        The primitive matrix or the Born charges do not fit, the supercell does not fit the memory,
        or phonopy cannot build it.
    """
    structure = with_masses(structure)
    check_structure(structure)
    matrix = settings.supercell_matrix or supercell_matrix(
        structure, settings.min_length, settings.max_atoms
    )
    primitive = resolve_primitive(structure, settings.primitive_matrix, settings.symprec)
    check_memory(structure, matrix, primitive)
    elements = with_natural_masses(structure)
    phonon = build_phonopy(elements, matrix, primitive, settings.symprec)
    check_born(born, phonon.primitive, settings.symprec)
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

    phonopy fits force constants to the symmetry-expanded displacements; acoustic sum rule and index symmetry
    are then imposed.

    Parameters
    ----------
    plan
        What was planned.
    answers
        One answer per structure; all are needed.
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
    phonon = with_isotopes(fit_force_constants(plan, forces), plan.structure)
    displaced = {
        "displacement_sites": plan.sites,
        "displacement_vectors": plan.vectors,
        "displacement_forces": forces,
    }
    return analyse_force_constants(phonon, plan.structure, plan.settings, source, born, displaced)


def fit_force_constants(plan: PhononPlan, forces: FloatArray) -> Phonopy:
    """Return a Phonopy object with symmetrised compact force constants and natural masses.

    Parameters
    ----------
    plan
        The displacements.
    forces
        shape (n_d, n_super, 3), eV/Å, one set per displacement of the plan.
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
