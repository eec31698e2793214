"""A tree of phases: each imaginary mode of a phase followed down to the phases below it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field
from pymatgen.core import Lattice, Structure

from phonotune.schemas.base import Matrix3, Part, PropertyDocument, Vector3
from phonotune.schemas.blob import Blob
from phonotune.schemas.masses import with_masses
from phonotune.schemas.phonon import ImaginaryMode
from phonotune.units import (
    Angstrom,
    ElectronVolt,
    ElectronVoltPerAngstrom,
    MilliElectronVoltPerAtom,
    MilliElectronVoltPerFormula,
    ModeAmplitude,
    TeraHertz,
)

Ending = Literal[
    "followed",
    "stable",
    "depth limit",
    "atom limit",
    "phase limit",
    "branch limit",
    "no lower phase",
    "unstable between the commensurate points",
    "relaxation did not converge",
]
"""Why a phase is where it is: followed to others, at its end, or cut by a limit."""

Outcome = Literal[
    "new phase",
    "known phase",
    "fell back",
    "no well",
    "relaxation did not converge",
    "cell limit",
    "atom limit",
    "direction limit",
    "branch limit",
    "phase limit",
]
"""What became of one direction of one imaginary mode."""


class PhaseLabel(Part):
    """One phase by a labeller, at the geometry that the model relaxed it to.

    The labeller relaxes nothing: its own minimum lies lower; ``largest_force`` says by how much to expect.
    """

    energy_per_atom: MilliElectronVoltPerAtom | None = Field(
        description="by the labeller, relative to the root by the labeller; None without both labels"
    )
    error: MilliElectronVoltPerAtom | None = Field(
        description="energy_per_atom of the model minus that of the labeller"
    )
    largest_force: ElectronVoltPerAngstrom | None = Field(
        description="of the labeller, on an atom; None without a label"
    )
    reason: str | None = Field(default=None, description="why there is no label, or no energy")


class PhaseNode(Part):
    """One phase, in its standard primitive cell."""

    id: int = Field(description="index into the document's nodes; 0 is the root")
    parent: int | None = Field(description="the phase whose mode led here first; None for the root")
    depth: int = Field(description="modes followed from the root")
    space_group: str = Field(description="Hermann-Mauguin symbol")
    space_group_number: int
    n_atoms: int = Field(description="in the primitive cell")
    energy: MilliElectronVoltPerFormula = Field(description="relative to the root")
    energy_per_atom: MilliElectronVoltPerAtom = Field(description="relative to the root")
    lowest_frequency: TeraHertz | None = Field(
        description="on mesh and commensurate points; None where a limit forbade phonons"
    )
    imaginary_modes: list[ImaginaryMode] = Field(
        description="at the commensurate points, one q per star, softest first"
    )
    ending: Ending
    label: PhaseLabel | None = Field(default=None, description="None where no labeller was asked")

    @property
    def is_stable(self) -> bool:
        """True if phonons were computed and no mode is imaginary."""
        return self.ending == "stable"


class PhaseBranch(Part):
    """One direction of one imaginary mode of a phase, and where it led."""

    parent: int
    child: int | None = Field(description="id of the phase reached, also where it was known before")
    q: Vector3 = Field(description="in reciprocal vectors of the parent's primitive cell")
    band: int
    irrep: str | None = Field(description="label of the mode at q; None where none could be given")
    direction: str | None = Field(
        description="order parameter direction, e.g. aa0; None where symmetry fixes none"
    )
    frequency: TeraHertz = Field(description="of the mode in the parent")
    supercell_matrix: Matrix3 | None = Field(
        description="rows, in units of the parent's primitive vectors; None: over the cell limit"
    )
    n_atoms: int | None = Field(description="in that supercell")
    start_space_group: str | None = Field(description="of the cell displaced to Q0")
    q0: ModeAmplitude = Field(description="amplitude the relaxation started from, signed")
    depth: MilliElectronVoltPerFormula = Field(description="energy gained at Q0, before relaxing")
    n_steps: int = Field(description="steps of the relaxation")
    outcome: Outcome


class TransitionDocument(PropertyDocument):
    """The tree of phases that imaginary modes lead to.

    ``data`` arrays: the phases' primitive cells ``lattices`` (n_nodes, 3, 3) Å, ``n_sites`` (n_nodes,),
    ``numbers`` (sum n_sites,), ``positions`` (sum n_sites, 3) fractional, read by :meth:`structure`; the
    pathways ``path_branches`` (n_paths,) index into ``branches``, ``path_lambda`` (n_points,) from the
    parent at 0 to the relaxed child at 1, ``path_energies`` (n_paths, n_points) meV/f.u. relative
    to the parent.
    """

    kind: Literal["transitions"] = "transitions"
    symprec: Angstrom = Field(description="tolerance of the space groups")
    imaginary_threshold: TeraHertz = Field(description="a mode below this counts as imaginary")
    root_energy: ElectronVolt = Field(description="of the root's primitive cell")
    n_evaluations: int = Field(description="structures evaluated for the whole tree")
    labeller: str | None = Field(
        default=None, description="who labelled the phases found by the model; None: nobody"
    )
    label_protocol: str | None = Field(
        default=None, description="hash of the labeller's protocol or settings"
    )
    nodes: list[PhaseNode]
    branches: list[PhaseBranch]
    data: Blob

    @property
    def limits(self) -> list[str]:
        """What cut the tree, in words; empty for a complete tree."""
        found = {node.ending for node in self.nodes} | {b.outcome for b in self.branches}
        open_ends = ("limit", "did not converge")
        return sorted(text for text in found if text.endswith(open_ends))

    @property
    def ground_state(self) -> PhaseNode:
        """The phase of lowest energy."""
        return min(self.nodes, key=lambda node: node.energy_per_atom)

    def structures(self) -> list[Structure]:
        """Return the primitive cell of each node, in the nodes' order."""
        arrays = self.data.arrays()
        ends = arrays["n_sites"].cumsum()
        found = []
        for cell, n, end in zip(arrays["lattices"], arrays["n_sites"], ends, strict=True):
            own = slice(end - n, end)
            numbers = [int(z) for z in arrays["numbers"][own]]
            structure = Structure(Lattice(cell), numbers, arrays["positions"][own])
            if "masses" in arrays:
                stated = [None if np.isnan(m) else float(m) for m in arrays["masses"][own]]
                structure = with_masses(structure, stated)
            found.append(structure)
        return found
