"""RattleMaker, TrajectoryMaker, SelectMaker: from a crystal to the frames worth labelling."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from jobflow import Maker
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.base import role_job
from phonotune.jobs.property import Model, resumed_evaluator
from phonotune.physics.cubic_supercell import cubic_supercell_matrix
from phonotune.physics.phonon.cells import as_identity, primitive_cell
from phonotune.physics.phonon.displacements import plan_displacements
from phonotune.physics.phonon.residual_fit import pairs_suffice
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.thermal_displacements import ThermalDisplacements
from phonotune.physics.relax import Relaxation, RelaxSettings, relax_batch
from phonotune.physics.supercell import make_supercell, supercell_matrix
from phonotune.progress import job_progress
from phonotune.sampling.pool import Pool
from phonotune.sampling.rattle import rattle, small_rattles
from phonotune.sampling.select import select
from phonotune.sampling.settings import RattleSettings, SelectSettings
from phonotune.schemas.base import Matrix3
from phonotune.schemas.dataset import (
    Frame,
    RelaxationSummary,
    StructureSet,
    TrajectoryDocument,
    pack_frame_blobs,
)
from phonotune.schemas.training import TrainingDocument

logger = logging.getLogger(__name__)


@dataclass
class RattleMaker(Maker):
    """Rattled and strained supercells of a crystal, and small rattles of the undeformed one.

    Parameters
    ----------
    settings
        Method, amplitudes, volumes, strain, size of the supercell.
    phonon
        The phonons that the small rattles serve: they lie in the supercell of these.
    seed
        Seed of every random number.
    """

    name: str = "rattle"
    settings: RattleSettings = field(default_factory=RattleSettings)
    phonon: PhononSettings = field(default_factory=PhononSettings)
    seed: int = 0

    @role_job(lambda maker: "gpu_eval" if maker.needs_model else "light", StructureSet)
    def make(self, structure: Structure, model: Model | None = None) -> StructureSet:
        """Rattle supercells of ``structure``.

        Parameters
        ----------
        structure
            The relaxed crystal.
        model
            Gives the phonons of the method ``phonon``; the other methods need none.
        """
        rng = np.random.default_rng(self.seed)
        cell, matrix = self.supercell(structure)
        if self.needs_model and model is not None:
            settings = self.phonon.model_copy(update={"supercell_matrix": matrix})
            plan = plan_displacements(cell, settings)
            with resumed_evaluator(model) as evaluator:
                answers = evaluator(plan.structures)
            modes = ThermalDisplacements(
                plan, answers, self.settings.temperature, self.settings.mode_floor
            )
            candidates = rattle(modes.supercell, self.settings, rng, modes)
        else:
            candidates = rattle(make_supercell(cell, matrix), self.settings, rng)
        own = self.phonon.supercell_matrix or supercell_matrix(
            structure, self.phonon.min_length, self.phonon.max_atoms
        )
        undeformed = make_supercell(structure, own)
        mirrored = self.mirrors(structure)
        small = small_rattles(undeformed, self.settings, rng, mirrored)
        recipe = (
            f"supercell {matrix} of {len(cell)} atoms, small rattles in {own}"
            f"{', mirrored' if mirrored else ''}, seed {self.seed}, "
            f"{self.settings.model_dump_json()}"
        )
        return StructureSet.from_candidates([*candidates, *small], recipe)

    @property
    def needs_model(self) -> bool:
        """Whether the method rattles along the phonons of a model."""
        return self.settings.method == "phonon"

    def mirrors(self, structure: Structure) -> bool:
        """Return whether every second small rattle is the mirror image of the one before it."""
        if self.settings.mirrored is not None:
            return self.settings.mirrored
        n = len(self.settings.small)
        return self.settings.goes_in_pairs and pairs_suffice(structure, self.phonon, n)

    def supercell(self, structure: Structure) -> tuple[Structure, Matrix3]:
        """Return the cell that is repeated and the matrix that repeats it."""
        shortest = self.settings.shortest_vector
        if shortest is None:
            return primitive_cell(structure, self.phonon.symprec), as_identity()
        find = cubic_supercell_matrix if self.settings.shape == "cubic" else supercell_matrix
        return structure, find(structure, shortest, self.settings.max_atoms)


@dataclass
class TrajectoryMaker(Maker):
    """Relax all structures in one batch with a model and keep steps of the trajectories.

    Parameters
    ----------
    settings
        Threshold, steps, and whether the cell relaxes.
    kept_steps
        Most steps kept of one relaxation, equally spaced in energy.
    """

    name: str = "relax trajectories"
    settings: RelaxSettings = field(default_factory=RelaxSettings)
    kept_steps: int = 40

    @role_job("gpu_eval", TrajectoryDocument)
    def make(self, structures: StructureSet, model: Model) -> TrajectoryDocument:
        """Relax every structure with ``model`` but those that are labelled as they are.

        A relaxation that did not converge is kept and named in ``unconverged`` of the document.
        """
        candidates = structures.candidates()
        moving = [c for c in candidates if not c.fixed]
        still = [c for c in candidates if c.fixed]
        with resumed_evaluator(model) as evaluator:
            cells = [c.structure for c in moving]
            relaxations = relax_batch(evaluator, cells, self.settings, job_progress(logger))
            answers = evaluator([c.structure for c in still])
        pairs = list(zip([c.group for c in moving], relaxations, strict=True))
        frames = [f for group, r in pairs for f in kept_frames(group, r, self.kept_steps)]
        frames += [c.frame(a) for c, a in zip(still, answers, strict=True)]
        first, *more = pack_frame_blobs(frames)
        return TrajectoryDocument(
            model_id=evaluator.source.model_id or evaluator.source.evaluator,
            relaxations=[
                RelaxationSummary(
                    group=group,
                    steps=r.n_steps,
                    converged=r.converged,
                    stop_reason=r.stop_reason,
                    energy_first=float(r.energies[0]),
                    energy_last=float(r.energies[-1]),
                    max_force=r.max_force,
                )
                for group, r in pairs
            ],
            fixed=list(dict.fromkeys(c.group for c in still)),
            data=first,
            more=tuple(more),
        )


@dataclass
class SelectMaker(Maker):
    """Choose the frames to label from the steps of all relaxations, within a budget.

    Parameters
    ----------
    settings
        Method and budget.
    seed
        Seed of the method ``random``.
    """

    name: str = "select"
    settings: SelectSettings = field(default_factory=SelectSettings)
    seed: int = 0

    @role_job(lambda maker: "gpu_eval" if maker.needs_model else "light", StructureSet)
    def make(self, trajectories: TrajectoryDocument, model: Model | None = None) -> StructureSet:
        """Select from the kept steps of ``trajectories``.

        Parameters
        ----------
        trajectories
            Relaxations, and what is labelled as it is.
        model
            Describes the frames for the methods ``fps`` and ``doptimal``; the others need none.

        Raises
        ------
        ConfigError
            The method needs a model and none is given, or the budget is too small.
        """
        if self.needs_model and model is None:
            raise ConfigError(
                f"Selection method {self.settings.method!r} needs a model that describes the frames "
                "and none was given. Give it to SelectMaker.make, or choose energy or random."
            )
        pool = trajectory_pool(trajectories, self.settings, model)
        candidates = select(pool, self.settings, np.random.default_rng(self.seed))
        recipe = (
            f"{len(candidates)} of {len(pool.frames) + len(pool.fixed)} frames, seed {self.seed}, "
            f"{self.settings.model_dump_json()}"
        )
        return StructureSet.from_candidates(candidates, recipe)

    @property
    def needs_model(self) -> bool:
        """Whether the method needs a model's view of the frames."""
        return self.settings.needs is not None


def trajectory_pool(
    trajectories: TrajectoryDocument, settings: SelectSettings, model: Model | None = None
) -> Pool:
    """Return the frames of a document as a pool, with what the method needs of the model.

    Parameters
    ----------
    trajectories
        Relaxations and fixed frames.
    settings
        Method of the selection.
    model
        Needed by the methods ``fps`` and ``doptimal``; of a committee the first member.
    """
    frames = trajectories.frames()
    free = [f for f in frames if f.group not in trajectories.fixed]
    fixed = [f for f in frames if f.group in trajectories.fixed]
    if settings.needs is None or model is None:
        return Pool(free, fixed)
    from phonotune.models.features import pool_features
    from phonotune.models.load import load_members

    record = model.model if isinstance(model, TrainingDocument) else model
    structures = [f.structure for f in (*free, *fixed)]
    found = pool_features(load_members(record)[0], settings.needs, structures)
    if found is None:
        return Pool(free, fixed)
    mine, others = found[: len(free)], found[len(free) :]
    if settings.needs == "descriptors":
        return Pool(free, fixed, descriptors=mine, fixed_descriptors=others)
    return Pool(free, fixed, features=mine, fixed_features=others)


def kept_frames(group: str, relaxation: Relaxation, most: int) -> list[Frame]:
    """Return at most ``most`` steps as frames, equally spaced in energy, first and last included."""
    energies = relaxation.energies
    targets = np.linspace(energies[0], energies[-1], most)
    steps = np.unique(np.abs(energies[:, None] - targets[None, :]).argmin(axis=0))
    return [
        Frame(
            structure=relaxation.structures[step],
            energy=relaxation.evaluations[step].energy,
            forces=relaxation.evaluations[step].forces,
            group=group,
            origin=f"step {step}",
        )
        for step in steps
    ]
