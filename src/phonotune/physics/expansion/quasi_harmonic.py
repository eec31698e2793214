"""Quasi-harmonic properties: phonons at several volumes in one batch, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from pydantic import Field, field_validator
from pymatgen.core import Structure

from phonotune.errors import ConfigError, PhonotuneError
from phonotune.physics.answer_checks import require_answers
from phonotune.physics.expansion.equation_of_state import EquationOfState
from phonotune.physics.expansion.slack import acoustic_debye_temperature, slack_conductivity
from phonotune.physics.expansion.thermodynamics import (
    ExpansionCurves,
    expansion_curves,
    mean_gruneisen,
    mode_heat_capacities,
    static_minimum,
)
from phonotune.physics.phonon.displacements import PhononPlan, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.volumes import mode_gruneisen, phonons_at_volumes
from phonotune.physics.supercell import check_structure, formula_units, supercell_matrix
from phonotune.physics.symmetry import free_displacements, keep_symmetry
from phonotune.ports import Answers
from phonotune.schemas.base import Part, Source, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.thermal import Ions, QuasiHarmonicDocument, QuasiHarmonicPoint
from phonotune.units import Dimensionless

_ROOM: Final[float] = 300.0
_TEMPERATURE_STEP: Final[float] = 10.0
_FEWEST: Final[int] = 5


class QuasiHarmonicSettings(Part):
    """How the volumes are planned; the same for the reference and for every model."""

    volumes: tuple[Dimensionless, ...] = Field(
        default=(-0.03, -0.0167, -0.0033, 0.01, 0.0233, 0.0367, 0.05),
        min_length=_FEWEST,
        description="relative changes of volume; the order does not matter",
    )
    centre: Literal["given", "relaxed"] = Field(
        default="given",
        description="volumes count from the cell given, or from the model's own relaxed cell",
    )
    equation_of_state: EquationOfState = Field(
        default="birch-murnaghan", description="of the free energy at each temperature"
    )
    allow_imaginary: bool = Field(
        default=False, description="leave imaginary modes out instead of refusing"
    )
    phonons: PhononSettings = Field(
        default_factory=PhononSettings, description="at every volume; one supercell and mesh"
    )

    @field_validator("volumes")
    @classmethod
    def _usable(cls, volumes: tuple[float, ...]) -> tuple[float, ...]:
        ordered = np.sort(volumes)
        if ordered[0] <= -0.5 or np.diff(ordered).min() < 1e-4:
            raise ValueError(
                f"volumes are different relative changes above -0.5; found {list(volumes)}"
            )
        return tuple(sorted(volumes))


class Relax(Protocol):
    """Relaxes crystals side by side; sites keep their order."""

    def __call__(self, structures: Sequence[Structure], cell: bool) -> list[Structure]:
        """Relax ions, and the cell if asked."""
        ...


@dataclass(frozen=True, eq=False)
class QuasiHarmonicPlan:
    """Undisplaced cells and displaced supercells at each volume.

    Attributes
    ----------
    structure
        The cell given.
    settings
        Settings with the supercell resolved, volumes ascending.
    ions
        How the ions of the scaled cells were placed.
    cells
        The undisplaced cell at each volume.
    phonons
        The displacements at each volume.
    structures
        What to evaluate: the undisplaced cells, then the supercells, volume by volume.
    """

    structure: Structure
    settings: QuasiHarmonicSettings
    ions: Ions
    cells: tuple[Structure, ...]
    phonons: tuple[PhononPlan, ...]

    @property
    def structures(self) -> tuple[Structure, ...]:
        """Undisplaced cells first."""
        return (*self.cells, *(s for plan in self.phonons for s in plan.structures))


def plan_volumes(
    structure: Structure,
    settings: QuasiHarmonicSettings,
    relax: Relax | None = None,
    born: BornCharges | None = None,
) -> QuasiHarmonicPlan:
    """Plan cells of one shape at several volumes, and the displacements in each.

    Parameters
    ----------
    structure
        The crystal.
    settings
        Volumes and phonons.
    relax
        Relaxes the ions at each volume where symmetry leaves them any freedom; without it they are scaled
        with the cell.
    born
        Born charges that the analysis will take, checked before anything is evaluated; None for no NAC.

    Raises
    ------
    StructureError
        The structure is unusable.
    InputError
        The Born charges belong to another crystal.
    ConfigError
        Volumes around the relaxed cell were requested without ``relax``.
    """
    check_structure(structure)
    centre = structure
    if settings.centre == "relaxed":
        if relax is None:
            raise ConfigError(
                "Volumes around the relaxed cell need a model that relaxes it; found a labeller. Give "
                "the relaxed cell with centre='given'."
            )
        centre = relax([structure], cell=True)[0]
    phonons = settings.phonons
    matrix = phonons.supercell_matrix or supercell_matrix(
        centre, phonons.min_length, phonons.max_atoms
    )
    phonons = phonons.model_copy(update={"supercell_matrix": matrix})
    cells = []
    for change in settings.volumes:
        cell: Structure = centre.copy()
        cell.scale_lattice(centre.volume * (1 + change))
        cells.append(cell)
    free = free_displacements(centre, phonons.symprec)
    ions: Ions = "symmetry" if len(free) == 0 else "scaled" if relax is None else "relaxed"
    if relax is not None and ions == "relaxed":
        relaxed = relax(cells, cell=False)
        cells = [keep_symmetry(a, b, free) for a, b in zip(cells, relaxed, strict=True)]
    return QuasiHarmonicPlan(
        structure=structure,
        settings=settings.model_copy(update={"phonons": phonons}),
        ions=ions,
        cells=tuple(cells),
        phonons=tuple(plan_displacements(cell, phonons, born) for cell in cells),
    )


def analyse_volumes(
    plan: QuasiHarmonicPlan, answers: Answers, source: Source, born: BornCharges | None = None
) -> QuasiHarmonicDocument:
    """Turn the answers into thermal expansion, C_p, B(T), Grüneisen parameters and Slack's κ.

    Parameters
    ----------
    plan
        What was planned.
    answers
        One answer per structure; all are needed.
    source
        Who gave the answers.
    born
        Born charges for the NAC, the same at every volume; None for no NAC.

    Raises
    ------
    LabelError
        A missing or broken answer; the message names the frames.
    PhonotuneError
        Imaginary modes at a volume, or no minimum of the free energy up to 300 K.
    """
    complete = require_answers(plan.structures, answers, "Quasi-harmonic properties")
    static, displaced = complete[: len(plan.cells)], iter(complete[len(plan.cells) :])
    forces = [np.array([next(displaced).forces for _ in p.structures]) for p in plan.phonons]
    found = phonons_at_volumes(plan.phonons, forces, plan.settings.phonons.mesh_density, born)
    threshold = plan.settings.phonons.imaginary_threshold
    bad = [
        f"{100 * change:+.3g} % ({lowest:.2f} THz)"
        for change, lowest in zip(plan.settings.volumes, found.lowest, strict=True)
        if lowest < threshold
    ]
    if bad and not plan.settings.allow_imaginary:
        raise PhonotuneError(
            f"{plan.structure.reduced_formula} has imaginary modes below {threshold:g} THz at the "
            f"volumes {', '.join(bad)}; the quasi-harmonic free energy needs real ones. Take "
            "other --volumes, or leave these modes out: --allow-imaginary, from Python allow_imaginary=True."
        )
    units = formula_units(plan.structure)
    volumes = np.array([cell.volume for cell in plan.cells]) / units
    energies = np.array([answer.energy for answer in static]) / units
    n_primitive = units * len(found.masses) // len(plan.structure)
    highest = max(_ROOM, plan.settings.phonons.max_temperature)
    grid = np.union1d(np.arange(0.0, highest + 1e-6, _TEMPERATURE_STEP), [_ROOM])
    equation = plan.settings.equation_of_state
    curves = expansion_curves(
        volumes, energies, found.frequencies, found.weights, grid, n_primitive, equation
    )
    if curves.temperatures[-1] < _ROOM:
        raise PhonotuneError(
            f"The volume leaves the planned range at {curves.temperatures[-1]:g} K; 300 K is needed. "
            "Plan larger volumes, or relax the cell with this evaluator first."
        )
    minimum = static_minimum(volumes, energies, equation)
    given = plan.structure.volume / units
    room = int(np.flatnonzero(curves.temperatures == _ROOM)[0])

    # modes at the volume of 300 K
    volume = float(curves.volumes[room])
    nu, gamma = mode_gruneisen(
        found, curves.fit.value_weights(volume), curves.fit.slope_weights(volume), volume
    )
    capacities = mode_heat_capacities(nu, _ROOM)
    acoustic = mean_gruneisen(gamma[:, :3], capacities[:, :3], found.weights, order=2)
    debye = acoustic_debye_temperature(nu, found.weights)
    mass, cell = float(found.masses.mean()), volume * n_primitive

    matrix = plan.settings.phonons.supercell_matrix
    assert matrix is not None
    return QuasiHarmonicDocument(
        formula=plan.structure.reduced_formula,
        material_id=structure_hash(plan.structure),
        source=source,
        settings=plan.settings.model_dump(mode="json"),
        n_structures=len(plan.structures),
        supercell_matrix=matrix,
        mesh=found.mesh,
        has_nac=born is not None,
        ions=plan.ions,
        residual_force=max(float(np.linalg.norm(a.forces, axis=1).max()) for a in static),
        formula_units=n_primitive,
        imaginary_threshold=threshold,
        lowest_frequencies=tuple(float(x) for x in found.lowest),
        static_volume=minimum.volume,
        static_bulk_modulus=minimum.bulk_modulus,
        at_0=_point(curves, 0, given),
        at_300=_point(curves, room, given),
        highest_temperature=float(curves.temperatures[-1]),
        fit_residual=1000 * curves.fit_residual,
        mean_gruneisen=mean_gruneisen(gamma, capacities, found.weights),
        acoustic_gruneisen=acoustic,
        acoustic_debye_temperature=debye,
        slack_conductivity=slack_conductivity(debye, acoustic, mass, cell, _ROOM),
        data=Blob.pack(
            volumes=curves.fit.volumes,
            static_energies=energies,
            temperatures=curves.temperatures,
            free_energies=curves.free_energies,
            equilibrium_volumes=curves.volumes,
            length_scales=np.cbrt(curves.volumes / given),
            gibbs=curves.gibbs,
            bulk_moduli=curves.bulk_moduli,
            thermal_expansions=curves.expansions,
            entropies=curves.entropies,
            heat_capacities=curves.heat_capacities,
            heat_capacities_pressure=curves.heat_capacities_pressure,
            gruneisen=curves.gruneisen,
            mesh_q=found.q,
            mesh_weights=found.weights,
            mesh_frequencies=nu,
            mode_gruneisen=gamma,
        ),
    )


def _point(curves: ExpansionCurves, index: int, given: float) -> QuasiHarmonicPoint:
    return QuasiHarmonicPoint(
        temperature=float(curves.temperatures[index]),
        volume=float(curves.volumes[index]),
        length_scale=float(np.cbrt(curves.volumes[index] / given)),
        bulk_modulus=float(curves.bulk_moduli[index]),
        thermal_expansion=float(curves.expansions[index]),
        heat_capacity=float(curves.heat_capacities[index]),
        heat_capacity_pressure=float(curves.heat_capacities_pressure[index]),
        gruneisen=float(curves.gruneisen[index]),
    )
