"""Lattice thermal conductivity from third-order force constants (phono3py, an optional package).

Relaxation-time approximation on a mesh that is doubled until the conductivity no longer changes (Togo,
Chaput and Tanaka, Phys. Rev. B 91, 094306 (2015)). The second-order force constants are phonotune's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from phonotune.errors import ConfigError, InputError, PhonotuneError
from phonotune.physics.answer_checks import require_answers
from phonotune.physics.phonon.cells import nac_params, to_phonopy, to_structure, with_isotopes
from phonotune.physics.phonon.displacements import (
    PhononPlan,
    fit_force_constants,
    plan_displacements,
)
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.spectrum import commensurate_points, mesh_numbers, without_acoustic
from phonotune.physics.supercell import supercell_matrix
from phonotune.ports import Answers, Evaluation, FloatArray
from phonotune.schemas.base import Matrix3, Part, Source, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.masses import (
    isotope_masses,
    masses_in_words,
    mixes_isotopes,
    with_masses,
    with_natural_masses,
)
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.thermal import ConductivityDocument
from phonotune.units import Angstrom, Dimensionless, Kelvin

if TYPE_CHECKING:
    from pymatgen.core import Structure

_ROOM: Final[float] = 300.0
_GAUGE_FREE: Final = {
    "symmetrize_tetrahedra": True,
    "exclude_gamma_acoustic": True,
    "average_degenerate_weights": True,
}
"""Without these, lifetimes depend on which eigenvectors a solver picks for degenerate modes."""
_GRID: Final = tuple(float(t) for t in range(100, 1001, 50))


class ConductivitySettings(Part):
    """How the conductivity is computed; the same for the reference and for every model."""

    phonons: PhononSettings = Field(
        default_factory=PhononSettings, description="of the second order: supercell, thresholds"
    )
    supercell_matrix: Matrix3 | None = Field(
        default=None, description="of the third order; None chooses one by min_length"
    )
    min_length: Angstrom = Field(
        default=8.0, gt=0, description="shortest distance between images, third order"
    )
    max_atoms: int = Field(default=120, gt=0, description="most atoms in a chosen supercell")
    displacement: Angstrom = Field(default=0.03, gt=0, description="third order")
    pair_cutoff: Angstrom | None = Field(
        default=None, gt=0, description="pairs farther apart are not displaced together; None: all"
    )
    temperatures: tuple[Kelvin, ...] = Field(
        default=_GRID, min_length=1, description="300 K is always added"
    )
    isotopes: bool = Field(
        default=True,
        description="scattering by the natural isotopes; none at atoms with a mass of their own",
    )
    mesh_density: Angstrom = Field(
        default=12.0, gt=0, description="first mesh, points per 1/Å of reciprocal vector (no 2π)"
    )
    tolerance: Dimensionless = Field(
        default=0.05, gt=0, description="relative change of the mean at 300 K by a doubling"
    )
    max_doublings: int = Field(default=2, ge=1, description="of the mesh in each direction")


@dataclass(frozen=True, eq=False)
class ConductivityPlan:
    """Displaced supercells of second and third order.

    Attributes
    ----------
    structure
        The cell given.
    settings
        Settings with both supercells resolved.
    harmonic
        The displacements of second order.
    structures
        What to evaluate: those of second order, then those of third order.
    anharmonic
        The Phono3py object, kept for its displacements; never changed.
    """

    structure: Structure
    settings: ConductivitySettings
    harmonic: PhononPlan
    structures: tuple[Structure, ...]
    anharmonic: Any = field(repr=False)


def plan_third_order(
    structure: Structure, settings: ConductivitySettings, born: BornCharges | None = None
) -> ConductivityPlan:
    """Plan single and pair displacements, reduced by symmetry.

    Parameters
    ----------
    structure
        The crystal.
    settings
        Supercells and displacements.
    born
        Born charges that the analysis will take, checked before anything is evaluated; None for no NAC.

    Raises
    ------
    StructureError
        The structure is unusable.
    InputError
        The Born charges belong to another crystal; one element has different masses.
    ConfigError
        phono3py is not installed.
    """
    anharmonic_of = _phono3py()
    structure = with_masses(structure)
    if mixes_isotopes(structure):
        raise InputError(
            f"{structure.reduced_formula} has different masses of one element ({masses_in_words(structure)}), "
            "and phono3py does not tell such atoms apart. Give each element one mass, or natural ones: "
            "--masses natural."
        )
    harmonic = plan_displacements(structure, settings.phonons, born)
    matrix = settings.supercell_matrix or supercell_matrix(
        structure, settings.min_length, settings.max_atoms
    )
    anharmonic = anharmonic_of(
        to_phonopy(structure),
        supercell_matrix=np.array(matrix).T,
        primitive_matrix=np.array(harmonic.primitive).T,
        phonon_supercell_matrix=np.array(harmonic.matrix).T,
        symprec=settings.phonons.symprec,
    )
    anharmonic.generate_displacements(
        distance=settings.displacement, cutoff_pair_distance=settings.pair_cutoff
    )
    pairs = (c for c in anharmonic.supercells_with_displacements if c is not None)
    return ConductivityPlan(
        structure=structure,
        settings=settings.model_copy(
            update={"supercell_matrix": matrix, "phonons": harmonic.settings}
        ),
        harmonic=harmonic,
        structures=(
            *harmonic.structures,
            *(with_natural_masses(to_structure(cell)) for cell in pairs),
        ),
        anharmonic=anharmonic,
    )


def _phono3py() -> Any:
    try:
        from phono3py import Phono3py
    except ImportError as error:
        raise ConfigError(
            "The lattice thermal conductivity needs phono3py, which is not installed here. "
            "Install it with `pip install phonotune[conductivity]`."
        ) from error
    return Phono3py


def analyse_third_order(
    plan: ConductivityPlan, answers: Answers, source: Source, born: BornCharges | None = None
) -> ConductivityDocument:
    """Turn the forces into the conductivity of the relaxation-time approximation.

    Parameters
    ----------
    plan
        What was planned.
    answers
        One answer per structure; all are needed.
    source
        Who gave the answers.
    born
        Born charges for the NAC; None for no NAC.

    Raises
    ------
    LabelError
        A missing or broken answer; the message names the frames.
    PhonotuneError
        The crystal has imaginary modes, for which lifetimes are not defined.
    """
    complete = require_answers(plan.structures, answers, "The thermal conductivity")
    n = len(plan.harmonic.structures)
    forces = np.array([a.forces for a in complete[:n]])
    phonon = with_isotopes(fit_force_constants(plan.harmonic, forces), plan.structure)
    phonon.nac_params = nac_params(born, len(phonon.primitive))
    numbers = mesh_numbers(phonon, plan.settings.mesh_density)
    found = phonon.run_mesh(list(numbers), is_gamma_center=True)
    q = np.concatenate([np.array(found.qpoints), commensurate_points(phonon)])
    lowest = float(without_acoustic(q, np.array(phonon.run_qpoints(q).frequencies)).min())
    threshold = plan.settings.phonons.imaginary_threshold
    if lowest < threshold:
        raise PhonotuneError(
            f"{plan.structure.reduced_formula} has imaginary modes, the lowest at {lowest:.2f} THz "
            f"(below {threshold:g}); a thermal conductivity needs a stable crystal. Follow the mode "
            "with `phonotune double-well`, or relax the crystal with this evaluator."
        )
    anharmonic = _third_order(plan, complete[n:])
    anharmonic.fc2 = phonon.force_constants
    anharmonic.nac_params = phonon.nac_params
    meshes = _converged(anharmonic, plan.settings, numbers)
    answer, settings = meshes.answer, plan.settings
    temperatures = np.array(answer.temperatures)
    room = int(np.flatnonzero(temperatures == _ROOM)[0])
    kappa: FloatArray = np.array(answer.kappa[0])
    matrix = settings.supercell_matrix
    assert matrix is not None
    tensor: Any = tuple(float(x) for x in kappa[room])
    return ConductivityDocument(
        formula=plan.structure.reduced_formula,
        material_id=structure_hash(plan.structure),
        source=source,
        settings=settings.model_dump(mode="json"),
        n_structures=len(plan.structures),
        supercell_matrix=matrix,
        harmonic_matrix=plan.harmonic.matrix,
        mesh=meshes.tried[-1],
        has_nac=born is not None,
        has_isotopes=settings.isotopes,
        lowest_frequency=lowest,
        conductivity_300=tensor,
        mean_conductivity_300=meshes.means[-1],
        change=meshes.change,
        is_converged=meshes.change <= settings.tolerance,
        data=Blob.pack(
            temperatures=temperatures,
            conductivity=kappa,
            mesh_q=np.array(answer.qpoints),
            mesh_weights=np.array(answer.grid_weights, dtype=float),
            mesh_frequencies=np.array(answer.frequencies),
            group_velocities=np.array(answer.group_velocities),
            linewidths=np.array(answer.gamma[0, room]),
            tried_meshes=np.array(meshes.tried),
            tried_conductivity=np.array(meshes.means),
        ),
    )


def _third_order(plan: ConductivityPlan, answers: list[Evaluation]) -> Any:
    """Return a new Phono3py object with third-order force constants."""
    known = plan.anharmonic
    forces = iter(answers)
    none = np.zeros((len(known.supercell), 3))
    made = _phono3py()(
        known.unitcell,
        supercell_matrix=known.supercell_matrix,
        primitive_matrix=known.primitive_matrix,
        phonon_supercell_matrix=known.phonon_supercell_matrix,
        symprec=plan.settings.phonons.symprec,
    )
    made.dataset = known.dataset
    made.forces = np.array(
        [none if c is None else next(forces).forces for c in known.supercells_with_displacements]
    )
    made.produce_fc3()
    made.symmetrize_fc3()
    return made


@dataclass(frozen=True, eq=False)
class _Meshes:
    """The meshes tried, their mean conductivities at 300 K, and phono3py's answer on the last."""

    tried: list[tuple[int, int, int]]
    means: list[float]
    answer: Any

    @property
    def change(self) -> float:
        before, after = self.means[-2:]
        return abs(after - before) / abs(after)


def _converged(
    anharmonic: Any, settings: ConductivitySettings, numbers: tuple[int, int, int]
) -> _Meshes:
    temperatures = np.union1d(settings.temperatures, [_ROOM])
    room = int(np.flatnonzero(temperatures == _ROOM)[0])
    tried, means, answer = [], [], None
    primitive, variances = anharmonic.primitive, None
    masses = isotope_masses(to_structure(primitive))
    if settings.isotopes and masses:  # an atom with a mass of its own is a pure isotope
        from phono3py.other.isotope import get_mass_variances

        natural = get_mass_variances(primitive)
        variances = [v if m is None else 0.0 for v, m in zip(natural, masses, strict=True)]
    for step in range(settings.max_doublings + 1):
        a, b, c = (n * 2**step for n in numbers)
        mesh = (a, b, c)
        anharmonic.mesh_numbers = list(mesh)
        anharmonic.init_phph_interaction(**_GAUGE_FREE)
        anharmonic.run_thermal_conductivity(
            temperatures=temperatures,
            is_isotope=settings.isotopes,
            mass_variances=variances,
            log_level=0,
        )
        answer = anharmonic.thermal_conductivity
        tried.append(mesh)
        means.append(float(answer.kappa[0, room, :3].mean()))
        if any(abs(y - x) <= settings.tolerance * y for x, y in pairwise(means[-2:])):
            break
    return _Meshes(tried, means, answer)
