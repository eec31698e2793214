"""RattleMaker, TrajectoryMaker, SelectMaker: from a crystal to the frames worth labelling."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jobflow import Maker
from pymatgen.core import Structure

from phonotune.jobs.base import role_job
from phonotune.jobs.property import Model, model_evaluator
from phonotune.models.relax import Relaxation, RelaxSettings, relax_batch
from phonotune.physics.supercell import make_supercell, supercell_matrix
from phonotune.sampling.rattle import RattleSettings, rattle
from phonotune.sampling.select import select_by_energy
from phonotune.schemas.dataset import (
    Frame,
    RelaxationSummary,
    StructureSet,
    TrajectoryDocument,
    pack_frames,
    unpack_frames,
)


@dataclass
class RattleMaker(Maker):
    """Rattled and strained supercells of a crystal.

    Parameters
    ----------
    settings
        Amplitudes, volumes, strain, size of the supercell.
    seed
        Seed of every random number.
    """

    name: str = "rattle"
    settings: RattleSettings = field(default_factory=RattleSettings)
    seed: int = 0

    @role_job("light", StructureSet)
    def make(self, structure: Structure) -> StructureSet:
        """Rattle supercells of ``structure``, which are as cubic as possible."""
        matrix = supercell_matrix(structure, self.settings.min_length, self.settings.max_atoms)
        supercell = make_supercell(structure, matrix)
        candidates = rattle(supercell, self.settings, np.random.default_rng(self.seed))
        recipe = f"supercell {matrix}, seed {self.seed}, {self.settings.model_dump_json()}"
        return StructureSet.from_candidates(candidates, recipe)


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
        """Relax every structure with ``model`` (foundation name or tuned model)."""
        candidates = structures.candidates()
        evaluator, source = model_evaluator(model)
        relaxations = relax_batch(evaluator, [c.structure for c in candidates], self.settings)
        groups = [c.group for c in candidates]
        pairs = list(zip(groups, relaxations, strict=True))
        return TrajectoryDocument(
            model_id=source.model_id or source.evaluator,
            relaxations=[_summary(group, relaxation) for group, relaxation in pairs],
            data=pack_frames([f for g, r in pairs for f in _kept(g, r, self.kept_steps)]),
        )


@dataclass
class SelectMaker(Maker):
    """Choose the frames to label: equally spaced in energy along each relaxation.

    Parameters
    ----------
    per_trajectory
        Frames a relaxation.
    span
        Share of the way down in energy that the frames cover.
    """

    name: str = "select"
    per_trajectory: int = 4
    span: float = 0.9

    @role_job("light", StructureSet)
    def make(self, trajectories: TrajectoryDocument) -> StructureSet:
        """Select from the kept steps of ``trajectories``."""
        frames = unpack_frames(trajectories.data)
        chosen = select_by_energy(frames, self.per_trajectory, self.span)
        recipe = f"{self.per_trajectory} frames a relaxation, over {self.span:.0%} of the energy"
        return StructureSet.from_candidates(chosen, recipe)


def _summary(group: str, relaxation: Relaxation) -> RelaxationSummary:
    energies = relaxation.energies
    return RelaxationSummary(
        group=group,
        steps=relaxation.n_steps,
        converged=relaxation.converged,
        energy_first=float(energies[0]),
        energy_last=float(energies[-1]),
        max_force=relaxation.max_force,
    )


def _kept(group: str, relaxation: Relaxation, most: int) -> list[Frame]:
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
