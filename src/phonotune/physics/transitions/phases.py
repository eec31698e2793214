"""Phases: when two are the same, how a tree of them is built and stored, how two trees compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from phonotune.physics.supercell import formula_units
from phonotune.physics.symmetry import SpaceGroup, space_group
from phonotune.physics.transitions.branches import TransitionSettings
from phonotune.ports import FloatArray
from phonotune.schemas.base import Source, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.masses import isotope_masses
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.transition import Ending, PhaseBranch, PhaseNode, TransitionDocument

_STRICT = StructureMatcher(ltol=0.02, stol=0.03, angle_tol=1.0, scale=False)
"""Within one tree: a ferroelectric distortion of 0.05 Å must not count as the same."""
_LOOSE = StructureMatcher()
"""Between a reference and a model: they differ in lattice constants and in amplitudes."""


@dataclass(eq=False)
class Phase:
    """One phase while its tree grows.

    Attributes
    ----------
    id, parent, depth
        As in :class:`~phonotune.schemas.transition.PhaseNode`.
    structure
        Relaxed standard primitive cell.
    energy
        Of that cell, eV.
    group
        Space group.
    converged
        Whether the relaxation met its goal.
    phonons
        Phonons, once they are computed.
    ending
        Why its modes were not followed, or ``"followed"``.
    """

    id: int
    parent: int | None
    depth: int
    structure: Structure
    energy: float
    group: SpaceGroup
    converged: bool = True
    phonons: PhononDocument | None = None
    ending: Ending = "followed"

    @property
    def energy_per_atom(self) -> float:
        """Energy, eV/atom."""
        return self.energy / len(self.structure)


@dataclass(eq=False)
class Tree:
    """Phases, branches and pathways found so far.

    Attributes
    ----------
    settings
        Resolved settings.
    phases
        By id; the first is the root.
    branches
        Every direction of every mode, also those that led nowhere.
    paths
        E(λ) - E(0), meV per formula unit, by index into ``branches``.
    """

    settings: TransitionSettings
    phases: list[Phase] = field(default_factory=list)
    branches: list[PhaseBranch] = field(default_factory=list)
    paths: dict[int, FloatArray] = field(default_factory=dict)

    def add(self, parent: Phase | None, structure: Structure, energy: float) -> Phase:
        """Add a phase and return it.

        Parameters
        ----------
        parent
            Whose mode led to it; None for the root.
        structure
            Relaxed standard primitive cell.
        energy
            Of that cell, eV.
        """
        phase = Phase(
            id=len(self.phases),
            parent=None if parent is None else parent.id,
            depth=0 if parent is None else parent.depth + 1,
            structure=structure,
            energy=energy,
            group=space_group(structure, self.settings.symprec),
        )
        self.phases.append(phase)
        return phase

    def find(self, structure: Structure, energy: float) -> Phase | None:
        """Return the known phase that a cell is equal to, or None.

        Equal phases have the same space group, energies within ``same_energy``, and sites that pymatgen's
        StructureMatcher maps onto each other with tight tolerances and without scaling.
        """
        group = space_group(structure, self.settings.symprec)
        per_atom = energy / len(structure)
        for phase in self.phases:
            near = 1000 * abs(phase.energy_per_atom - per_atom) < self.settings.same_energy
            if near and phase.group == group and _STRICT.fit(phase.structure, structure):
                return phase
        return None

    def settle(self, phase: Phase, phonons: PhononDocument) -> bool:
        """Store a phase's phonons; return whether its modes are to be followed."""
        phase.phonons = phonons
        if phonons.is_stable:
            phase.ending = "stable"
        elif not phonons.imaginary_modes:
            phase.ending = "unstable between the commensurate points"
        elif phase.depth >= self.settings.max_depth:
            phase.ending = "depth limit"
        else:
            phase.ending = "followed"
            return True
        return False

    def close(self, phase: Phase) -> None:
        """Set why a phase that was followed led to no other phase."""
        outcomes = [b.outcome for b in self.branches if b.parent == phase.id]
        if "new phase" in outcomes or "known phase" in outcomes:
            return
        cut: dict[str, Ending] = {
            "relaxation did not converge": "relaxation did not converge",
            "branch limit": "branch limit",
            "direction limit": "branch limit",
            "phase limit": "phase limit",
            "atom limit": "atom limit",
            "cell limit": "atom limit",
        }
        found = [cut[outcome] for outcome in outcomes if outcome in cut]
        phase.ending = found[0] if found else "no lower phase"


def tree_document(
    tree: Tree, given: Structure, source: Source, n_evaluations: int
) -> TransitionDocument:
    """Return the Document of a finished tree.

    Parameters
    ----------
    tree
        The tree.
    given
        The crystal that was given.
    source
        Who gave the energies.
    n_evaluations
        Structures evaluated.
    """
    cells = [phase.structure for phase in tree.phases]
    nodes = []
    for phase in tree.phases:
        per_atom = 1000 * (phase.energy_per_atom - tree.phases[0].energy_per_atom)
        phonons = phase.phonons
        nodes.append(
            PhaseNode(
                id=phase.id,
                parent=phase.parent,
                depth=phase.depth,
                space_group=phase.group.symbol,
                space_group_number=phase.group.number,
                n_atoms=len(phase.structure),
                energy=per_atom * len(phase.structure) / formula_units(phase.structure),
                energy_per_atom=per_atom,
                lowest_frequency=None if phonons is None else phonons.lowest_frequency,
                imaginary_modes=[] if phonons is None else phonons.imaginary_modes,
                ending=phase.ending,
            )
        )
    paths = sorted(tree.paths.items())
    steps = np.linspace(0, 1, tree.settings.n_path)
    return TransitionDocument(
        formula=given.reduced_formula,
        material_id=structure_hash(given),
        source=source,
        settings=tree.settings.model_dump(mode="json"),
        symprec=tree.settings.symprec,
        imaginary_threshold=tree.settings.phonon.imaginary_threshold,
        root_energy=tree.phases[0].energy,
        n_evaluations=n_evaluations,
        nodes=nodes,
        branches=tree.branches,
        data=Blob.pack(
            lattices=np.array([cell.lattice.matrix for cell in cells]),
            n_sites=np.array([len(cell) for cell in cells]),
            numbers=np.concatenate([cell.atomic_numbers for cell in cells]),
            positions=np.concatenate([cell.frac_coords for cell in cells]),
            **_masses(cells),
            path_branches=np.array([index for index, _ in paths], dtype=np.int64),
            path_lambda=steps,
            path_energies=np.array([curve for _, curve in paths]).reshape(-1, len(steps)),
        ),
    )


def _masses(cells: list[Structure]) -> dict[str, FloatArray]:
    """Return the masses of all sites, NaN where natural; nothing if all are."""
    masses = [isotope_masses(cell) or [None] * len(cell) for cell in cells]
    flat = np.array([mass for own in masses for mass in own], dtype=float)
    return {} if np.isnan(flat).all() else {"masses": flat}


@dataclass(frozen=True)
class PhaseMatch:
    """How well a model finds the phases of a reference.

    Attributes
    ----------
    both, only_reference, only_model
        Phases below the root that both trees hold, or only one of them.
    """

    both: int
    only_reference: int
    only_model: int

    @property
    def precision(self) -> float | None:
        """Fraction of the model's phases that the reference has; None if the model found none."""
        found = self.both + self.only_model
        return self.both / found if found else None

    @property
    def recall(self) -> float | None:
        """Fraction of the reference's phases that the model found; None if there are none."""
        there = self.both + self.only_reference
        return self.both / there if there else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None if neither tree has a phase."""
        total = 2 * self.both + self.only_reference + self.only_model
        return 2 * self.both / total if total else None


def phase_match(reference: TransitionDocument, model: TransitionDocument) -> PhaseMatch:
    """Match the phases of two trees without their roots, each phase at most once.

    Two phases match if they have the same space group and pymatgen's StructureMatcher maps their sites (its
    default tolerances, volumes scaled). Lattice constants, amplitudes, energies and the path that led to a
    phase may differ.
    """
    ours, theirs = _phases(reference), _phases(model)
    pairs = np.array(
        [[a[0] == b[0] and _LOOSE.fit(a[1], b[1]) for b in theirs] for a in ours], dtype=bool
    ).reshape(len(ours), len(theirs))
    both = 0
    if pairs.size:
        both = int(np.sum(maximum_bipartite_matching(csr_matrix(pairs), perm_type="row") >= 0))
    return PhaseMatch(both, len(ours) - both, len(theirs) - both)


def _phases(document: TransitionDocument) -> Sequence[tuple[int, Structure]]:
    groups = [node.space_group_number for node in document.nodes]
    return list(zip(groups, document.structures(), strict=True))[1:]
