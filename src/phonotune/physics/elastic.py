"""Elastic constants with relaxed ions from single points: strained cells and Γ displacements.

The ions relax by linear response: C = C_clamped - Λᵀ Φ⁺ Λ / V with the force-response internal
strain Λ = dF/dε and the Γ force constants Φ, acoustic modes projected out (Born and Huang, Dynamical
Theory of Crystal Lattices, 1954; Wu, Vanderbilt and Hamann, PRB 72, 035105 (2005)). This is exact to
linear order, needs one batch, and is the same for DFT and models. Unlike a relaxation it cannot leave a
saddle point: there it gives the tensor of the saddle and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field
from pymatgen.core import Structure, SymmOp
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from phonotune.physics.answer_checks import require_answers
from phonotune.physics.phonon.displacements import (
    PhononPlan,
    gamma_force_constants,
    plan_gamma_displacements,
)
from phonotune.ports import Answers, Evaluation, FloatArray
from phonotune.schemas.base import Part, Source, structure_hash
from phonotune.schemas.elastic import ElasticDocument
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA, Angstrom, Dimensionless

if TYPE_CHECKING:
    from pymatgen.analysis.elasticity import ComplianceTensor, ElasticTensor, Strain

SOFT_MODE: Final[float] = 1e-4
"""An internal mode below this curvature (eV/Å^2) cannot be relaxed."""
_COUPLING: Final[float] = 1e-2
"""A mode whose force response to unit strain is smaller (eV/Å) does not couple to the strain."""

_PER_TERAPASCAL: Final = 1000.0
"""One 1/GPa in 1/TPa."""
_PASCAL_PER_GPA: Final = 1e9


class ElasticSettings(Part):
    """How elastic constants are computed; the same for the reference and for every model."""

    strains: tuple[Dimensionless, ...] = Field(
        default=(0.005, 0.01), min_length=1, description="amplitudes, each with both signs"
    )
    displacement: Angstrom = Field(default=0.01, gt=0, description="for the Γ force constants")
    symprec: Angstrom = Field(default=1e-5, gt=0, description="symmetry tolerance")


@dataclass(frozen=True, eq=False)
class ElasticPlan:
    """The undeformed primitive cell, symmetry-reduced strained cells, Γ displacements.

    Attributes
    ----------
    structure
        The cell given.
    settings
        Resolved settings.
    gamma
        The displacement plan of the primitive cell.
    strains
        Unique strains, and for each the operations that turn it into the other planned strains.
    structures
        Cells to evaluate with stress: undeformed, strained (clamped ions), displaced.
    """

    structure: Structure
    settings: ElasticSettings
    gamma: PhononPlan
    strains: tuple[tuple[Strain, tuple[SymmOp, ...]], ...]
    structures: tuple[Structure, ...]


def plan_strains(structure: Structure, settings: ElasticSettings) -> ElasticPlan:
    """Plan the six Voigt strains, reduced by symmetry, and the Γ displacements.

    The primitive cell is enough: a strain keeps the lattice translations, so that only modes at Γ respond
    to it.

    Raises
    ------
    StructureError
        The structure is unusable.
    """
    from pymatgen.analysis.elasticity import Strain  # imports sympy

    gamma = plan_gamma_displacements(structure, settings.displacement, settings.symprec)
    primitive = gamma.structure
    strains = [
        Strain.from_voigt(sign * size * direction)
        for direction in np.eye(6)
        for size in settings.strains
        for sign in (1, -1)
    ]
    analyzer = SpacegroupAnalyzer(primitive, symprec=settings.symprec)
    operations = analyzer.get_symmetry_operations(cartesian=True)
    tensors = np.array(strains, dtype=float)
    turns = np.array([operation.rotation_matrix for operation in operations])
    unique: list[tuple[Strain, tuple[SymmOp, ...]]] = []
    left = list(range(len(strains)))
    while left:
        first, *rest = left
        images = turns @ tensors[first] @ np.swapaxes(turns, 1, 2)
        offsets = np.abs(images[:, None] - tensors[None, rest]).max(axis=(2, 3))
        made = {
            n: int(np.argmin(offsets[:, k]))
            for k, n in enumerate(rest)
            if offsets[:, k].min() < 1e-8
        }
        unique.append((strains[first], tuple(operations[o] for o in made.values())))
        left = [n for n in rest if n not in made]
    strained = (
        strain.get_deformation_matrix("symmetric").apply_to_structure(primitive)
        for strain, _ in unique
    )
    return ElasticPlan(
        structure=structure,
        settings=settings,
        gamma=gamma,
        strains=tuple(unique),
        structures=(primitive, *strained, *gamma.structures),
    )


def analyse_stresses(plan: ElasticPlan, answers: Answers, source: Source) -> ElasticDocument:
    """Fit the clamped tensor and relax the ions by linear response.

    At a cell that is not the evaluator's own minimum (``residual_pressure``) these are the symmetrised
    stress-strain coefficients, which determine stability there (Wallace 1972).

    Raises
    ------
    LabelError
        A missing answer or stress; the frames are named.
    """
    from pymatgen.analysis.elasticity import ElasticTensor, Stress

    n = 1 + len(plan.strains)
    complete = require_answers(plan.structures[:n], answers[:n], "Elastic constants", stress=True)
    constants = gamma_force_constants(plan.gamma, answers[n:])
    primitive = plan.gamma.structure

    # symmetry gives stresses and forces at the planned strains that were not evaluated
    lattice, sites = primitive.lattice, primitive.cart_coords
    strains, stresses, forces = [], [], []
    for (strain, operations), answer in zip(plan.strains, complete[1:], strict=True):
        for operation in (SymmOp.from_rotation_and_translation(), *operations):
            strains.append(strain.transform(operation))
            stresses.append(Stress(_stress(answer)).transform(operation))
            moved = lattice.get_fractional_coords(operation.operate_multi(sites))
            images = lattice.get_all_distances(moved, primitive.frac_coords).argmin(axis=1)
            turned = np.empty_like(answer.forces)
            turned[images] = answer.forces @ operation.rotation_matrix.T
            forces.append(turned.ravel())

    unstrained = _stress(complete[0])
    clamped = ElasticTensor.from_independent_strains(
        strains, stresses, eq_stress=Stress(unstrained)
    )
    design = np.column_stack([[s.voigt for s in strains], np.ones(len(strains))])
    response = np.linalg.lstsq(design, np.array(forces), rcond=None)[0][:6].T
    softening, unstable = internal_softening(constants, response)
    softening *= EV_PER_CUBIC_ANGSTROM_IN_GPA / primitive.volume
    relaxed = _symmetric(ElasticTensor.from_voigt(clamped.voigt - softening), plan)
    clamped = _symmetric(clamped, plan)

    born_stable = bool(np.linalg.eigvalsh(np.asarray(relaxed.voigt)).min() > 0)
    polycrystal: dict[str, Any] = {}
    if born_stable:
        polycrystal = {
            "young_modulus": float(relaxed.y_mod) / _PASCAL_PER_GPA,
            "poisson_ratio": float(relaxed.homogeneous_poisson),
            "universal_anisotropy": float(relaxed.universal_anisotropy),
        }
    return ElasticDocument(
        formula=plan.structure.reduced_formula,
        material_id=structure_hash(plan.structure),
        source=source,
        settings=plan.settings.model_dump(mode="json"),
        n_strains=len(plan.strains),
        elastic_tensor=_rows(relaxed),
        clamped_tensor=_rows(clamped),
        bulk_modulus_voigt=float(relaxed.k_voigt),
        bulk_modulus_reuss=float(relaxed.k_reuss),
        bulk_modulus=float(relaxed.k_vrh),
        shear_modulus_voigt=float(relaxed.g_voigt),
        shear_modulus_reuss=float(relaxed.g_reuss),
        shear_modulus=float(relaxed.g_vrh),
        compliance_tensor=_rows(relaxed.compliance_tensor, _PER_TERAPASCAL),
        **polycrystal,
        residual_pressure=float(-np.trace(unstrained) / 3),
        born_stable=born_stable,
        internal_instability=unstable,
    )


def internal_softening(
    force_constants: FloatArray, response: FloatArray
) -> tuple[FloatArray, bool]:
    """Return Λᵀ Φ⁺ Λ and whether a mode without restoring force couples to a strain.

    Parameters
    ----------
    force_constants
        shape (3n, 3n), eV/Å^2, at Γ.
    response
        shape (3n, 6), dF/dε in Voigt order (shear strains doubled), eV/Å.

    Returns
    -------
    shape (6, 6), eV; modes within ``SOFT_MODE`` of zero are left out, unstable ones are included.
    """
    uniform = np.tile(np.eye(3), (len(force_constants) // 3, 1)) / np.sqrt(len(force_constants) / 3)
    internal = np.eye(len(force_constants)) - uniform @ uniform.T
    curvatures, modes = np.linalg.eigh(internal @ force_constants @ internal)
    coupling = modes.T @ internal @ response
    felt = np.abs(coupling).max(axis=1) > _COUPLING
    used = felt & (np.abs(curvatures) > SOFT_MODE)
    softening = (coupling[used] / curvatures[used, None]).T @ coupling[used]
    return softening, bool((felt & (curvatures < SOFT_MODE)).any())


def _stress(answer: Evaluation) -> FloatArray:
    """Return the symmetric stress in GPa; require_answers has made sure that there is one."""
    stress = np.asarray(answer.stress, dtype=float)
    return np.asarray((stress + stress.T) / 2 * EV_PER_CUBIC_ANGSTROM_IN_GPA)


def _symmetric(tensor: ElasticTensor, plan: ElasticPlan) -> ElasticTensor:
    """Return the tensor with index symmetry and the crystal's own."""
    fitted = tensor.voigt_symmetrized.fit_to_structure(
        plan.gamma.structure, symprec=plan.settings.symprec
    )
    return type(tensor)(fitted)


def _rows(tensor: ElasticTensor | ComplianceTensor, scale: float = 1.0) -> Any:
    """Return the Voigt matrix, times ``scale``, as the rows of a Tensor6 or a Compliance6."""
    return tuple(tuple(float(scale * x) for x in row) for row in np.asarray(tensor.voigt))
