"""A tree of phases, grown level by level: all phases of a level share every batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from phonotune.physics.phonon.displacements import PhononPlan, analyse_forces, plan_displacements
from phonotune.physics.relax import Relaxation, RelaxSettings, relax_batch
from phonotune.physics.supercell import check_structure
from phonotune.physics.symmetry import standard_primitive
from phonotune.physics.transitions.branches import (
    SAME_SIDE,
    ModePlan,
    Start,
    TransitionSettings,
    find_starts,
    interpolate,
    path_energies,
    plan_modes,
)
from phonotune.physics.transitions.phases import Phase, Tree, tree_document
from phonotune.ports import Evaluate, Evaluation, Source
from phonotune.progress import Progress
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.transition import Outcome, TransitionDocument

if TYPE_CHECKING:
    from pymatgen.core import Structure


def grow_tree(
    structure: Structure,
    evaluator: Evaluate,
    settings: TransitionSettings,
    source: Source,
    progress: Progress | None = None,
) -> TransitionDocument:
    """Follow the imaginary modes of a crystal to the phases below it, and theirs, to the end.

    Phonons, E(Q) of every distinct mode and direction, relaxation from its minimum with the symmetry of
    the start kept, phonons of the new phases: each stage is one batch over all phases of a level.

    Parameters
    ----------
    structure
        The root; its standard primitive cell is taken.
    evaluator, settings
        Who gives energies, forces and stresses; grids, tolerances and limits.
    source
        Who the evaluator is.
    progress
        Called after each batch.

    Raises
    ------
    StructureError
        The structure is unusable.
    PhonotuneError
        The evaluator gives no stress; or whatever the evaluator raises.
    """
    check_structure(structure)
    growth = _Growth(evaluator, settings, source, progress)
    level = [growth.root(structure)]
    while level:
        followed = growth.compute_phonons([p for p in level if growth.within_limits(p)])
        plans = growth.plan(followed)
        level = growth.descend(plans)
        for phase, _ in followed:
            growth.tree.close(phase)
    return tree_document(growth.tree, structure, source, growth.evaluated)


class _Growth:
    """The stages of one level, each one batch; the tree they grow."""

    def __init__(
        self,
        evaluator: Evaluate,
        settings: TransitionSettings,
        source: Source,
        progress: Progress | None,
    ) -> None:
        self.tree = Tree(settings)
        self.evaluated = 0
        self._evaluator = evaluator
        self._settings = settings
        self._source = source
        self._progress = progress or Progress()

    def root(self, structure: Structure) -> Phase:
        """Return the first phase: the crystal relaxed, its symmetry kept, or as given."""
        cell = standard_primitive(structure, self._settings.symprec)
        if not self._settings.relax_root:
            return self.tree.add(None, cell, self._evaluate("root", [cell])[0].energy)
        relaxed = self._relax("root", [cell])
        end = self._polish("root", relaxed)[0]
        phase = self.tree.add(None, end.final, float(end.energies[-1]))
        phase.converged = end.converged
        return phase

    def within_limits(self, phase: Phase) -> bool:
        """Return whether phonons of a phase are to be computed; else its ending says why not."""
        if not phase.converged:
            phase.ending = "relaxation did not converge"
        elif len(phase.structure) > self._settings.max_atoms:
            phase.ending = "atom limit"
        else:
            return True
        return False

    def compute_phonons(self, phases: Sequence[Phase]) -> list[tuple[Phase, PhononDocument]]:
        """Compute phonons; return the phases whose modes are to be followed."""
        plans = [plan_displacements(p.structure, self._settings.phonon) for p in phases]
        found = []
        for phase, plan, answers in zip(
            phases, plans, self._evaluate_plans(_at("phonons", phases), plans), strict=True
        ):
            phonons = analyse_forces(plan, answers, self._source)
            if self.tree.settle(phase, phonons):
                found.append((phase, phonons))
        return found

    def plan(self, followed: Sequence[tuple[Phase, PhononDocument]]) -> list[ModePlan]:
        """Plan E(Q) of every mode and direction; what a limit forbids becomes a branch."""
        plans: list[ModePlan] = []
        for phase, phonons in followed:
            own, refused = plan_modes(phase.id, phonons, self._settings)
            plans += own
            self.tree.branches += refused
        return plans

    def descend(self, plans: Sequence[ModePlan]) -> list[Phase]:
        """Displace to the minima of E(Q), relax, and return the phases that are new."""
        parents = [self.tree.phases[plan.parent] for plan in plans]
        curves = self._evaluate_plans(_at("E(Q)", parents), plans)
        starts: list[Start] = []
        for plan, answers in zip(plans, curves, strict=True):
            own = find_starts(plan, answers, self._settings.symprec)
            starts += own
            if not own:
                self.tree.branches.append(plan.record(outcome="no well"))
        stage = _at("descent", parents)
        relaxed = self._relax(stage, [start.structure for start in starts])
        ends = iter(self._polish(stage, [r for r in relaxed if r.converged]))
        new = []
        reached: list[tuple[int, Start, Structure]] = []
        for start, way in zip(starts, relaxed, strict=True):
            phase = self._classify(start, way, next(ends) if way.converged else None)
            if phase is not None:
                new.append(phase)
            if self.tree.branches[-1].outcome in ("new phase", "known phase"):
                reached.append((len(self.tree.branches) - 1, start, way.final))
        self._pathways(reached)
        return new

    def _classify(self, start: Start, way: Relaxation, end: Relaxation | None) -> Phase | None:
        """Record where a relaxation led; return the phase if it is new."""
        parent = self.tree.phases[start.plan.parent]
        if end is None or not end.converged:
            self.tree.branches.append(start.record("relaxation did not converge", way.n_steps))
            return None
        energy = float(end.energies[-1])
        known = self.tree.find(end.final, energy)
        if known is not None:
            outcome: Outcome = "fell back" if known is parent else "known phase"
            self.tree.branches.append(start.record(outcome, way.n_steps, known.id))
            return None
        if len(self.tree.phases) >= self._settings.max_phases:
            self.tree.branches.append(start.record("phase limit", way.n_steps))
            return None
        phase = self.tree.add(parent, end.final, energy)
        self.tree.branches.append(start.record("new phase", way.n_steps, phase.id))
        return phase

    def _pathways(self, reached: Sequence[tuple[int, Start, Structure]]) -> None:
        """Compute E(λ) from each parent to what it relaxed to."""
        cells = [
            interpolate(start.plan.supercell, end, self._settings.n_path)
            for _, start, end in reached
        ]
        parents = [self.tree.phases[start.plan.parent] for _, start, _ in reached]
        answers = iter(
            self._evaluate(_at("pathways", parents), [c for path in cells for c in path])
        )
        for (index, start, _), path in zip(reached, cells, strict=True):
            own = [next(answers) for _ in path]
            self.tree.paths[index] = path_energies(start.plan.supercell, own, path)

    def _relax(self, stage: str, cells: Sequence[Structure]) -> list[Relaxation]:
        """Relax cells and ions side by side, the symmetry of each start kept."""
        settings = RelaxSettings(
            fmax=self._settings.fmax, max_steps=self._settings.max_steps, symprec=SAME_SIDE
        )

        def evaluate(structures: Sequence[Structure]) -> list[Evaluation]:
            moving = f"{stage}: {len(structures)} of {len(cells)} cells still relax"
            return self._evaluate(moving, structures)

        return relax_batch(evaluate, cells, settings) if cells else []

    def _polish(self, stage: str, relaxed: Sequence[Relaxation]) -> list[Relaxation]:
        """Relax the standard primitive cells of relaxed cells: a few steps to their exact minima."""
        symprec = self._settings.symprec
        return self._relax(stage, [standard_primitive(r.final, symprec) for r in relaxed])

    def _evaluate(self, stage: str, structures: Sequence[Structure]) -> list[Evaluation]:
        answers = self._evaluator(structures) if structures else []
        self.evaluated += len(answers)
        if structures:
            self._progress.advance(self.evaluated, stage)
        return answers

    def _evaluate_plans(
        self, stage: str, plans: Sequence[PhononPlan] | Sequence[ModePlan]
    ) -> list[list[Evaluation]]:
        """Evaluate several plans as one batch; returns the answers of each."""
        answers = iter(self._evaluate(stage, [s for plan in plans for s in plan.structures]))
        return [[next(answers) for _ in plan.structures] for plan in plans]


def _at(work: str, phases: Iterable[Phase]) -> str:
    """Return what is being done, and to which phases."""
    names = [phase.group.symbol for phase in {p.id: p for p in phases}.values()]
    return f"{work} of {', '.join(names)}" if names else work
