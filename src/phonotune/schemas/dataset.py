"""Structures that were sampled, frames that were labelled, datasets that a training can trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import Field
from pymatgen.core import Lattice, Structure

from phonotune.ports import FloatArray
from phonotune.schemas.base import Document, Part
from phonotune.schemas.blob import Blob
from phonotune.units import ElectronVolt, ElectronVoltPerAngstrom, Percent


@dataclass(frozen=True, eq=False)
class Frame:
    """A labelled snapshot.

    Attributes
    ----------
    structure
        Cell and positions.
    energy
        Total energy, eV; None if the label is missing (a mask, never a zero).
    forces
        shape (n_atoms, 3), eV/Å, or None.
    stress
        shape (3, 3), eV/Å^3, ASE's sign, or None.
    group
        Frames of one group (parent trajectory, volume) are never torn apart by a split.
    origin
        Where the frame came from: a file, or how it was sampled.
    """

    structure: Structure
    energy: float | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    group: str = "0"
    origin: str = ""


def pack_structures(structures: Sequence[Structure]) -> Blob:
    """Pack structures, exactly (float64), into one Blob."""
    return Blob.pack(
        sizes=np.array([len(s) for s in structures], dtype=np.int64),
        numbers=np.concatenate([np.asarray(s.atomic_numbers, dtype=np.int64) for s in structures]),
        cells=np.array([s.lattice.matrix for s in structures]),
        positions=np.concatenate([s.cart_coords for s in structures]),
    )


def unpack_structures(blob: Blob) -> list[Structure]:
    """Return the structures of :func:`pack_structures`."""
    arrays = blob.arrays()
    ends = np.cumsum(arrays["sizes"])[:-1]
    parts = zip(
        arrays["cells"],
        np.split(arrays["numbers"], ends),
        np.split(arrays["positions"], ends),
        strict=True,
    )
    return [
        Structure(Lattice(cell), [int(z) for z in numbers], positions, coords_are_cartesian=True)
        for cell, numbers, positions in parts
    ]


def pack_frames(frames: Sequence[Frame]) -> Blob:
    """Pack labelled frames into one Blob; missing labels are masked, not zero-filled by meaning."""
    return Blob.pack(
        **pack_structures([f.structure for f in frames]).arrays(),
        energy=np.array([0.0 if f.energy is None else f.energy for f in frames]),
        has_energy=np.array([f.energy is not None for f in frames]),
        forces=np.concatenate(
            [np.zeros((len(f.structure), 3)) if f.forces is None else f.forces for f in frames]
        ),
        has_forces=np.array([f.forces is not None for f in frames]),
        stress=np.array([np.zeros((3, 3)) if f.stress is None else f.stress for f in frames]),
        has_stress=np.array([f.stress is not None for f in frames]),
        group=np.array([f.group for f in frames]),
        origin=np.array([f.origin for f in frames]),
    )


def unpack_frames(blob: Blob) -> list[Frame]:
    """Return the frames of :func:`pack_frames`."""
    structures = unpack_structures(blob)
    a = blob.arrays()
    forces = np.split(a["forces"], np.cumsum(a["sizes"])[:-1])
    return [
        Frame(
            structure=structures[i],
            energy=float(a["energy"][i]) if a["has_energy"][i] else None,
            forces=forces[i] if a["has_forces"][i] else None,
            stress=a["stress"][i] if a["has_stress"][i] else None,
            group=str(a["group"][i]),
            origin=str(a["origin"][i]),
        )
        for i in range(len(structures))
    ]


@dataclass(frozen=True)
class Candidate:
    """A structure that may be labelled, with the group it belongs to and why it was chosen."""

    structure: Structure = field(repr=False)
    group: str
    reason: str


class StructureSet(Document):
    """Structures to relax or to label (output of RattleMaker and SelectMaker)."""

    kind: Literal["structures"] = "structures"
    recipe: str = Field(description="how they were made, in words and numbers")
    groups: list[str]
    reasons: list[str]
    data: Blob

    @classmethod
    def from_candidates(cls, candidates: Sequence[Candidate], recipe: str) -> StructureSet:
        """Pack candidates into a document."""
        return cls(
            recipe=recipe,
            groups=[c.group for c in candidates],
            reasons=[c.reason for c in candidates],
            data=pack_structures([c.structure for c in candidates]),
        )

    def candidates(self) -> list[Candidate]:
        """Return the structures with their groups and reasons."""
        return [
            Candidate(s, g, r)
            for s, g, r in zip(unpack_structures(self.data), self.groups, self.reasons, strict=True)
        ]


class RelaxationSummary(Part):
    """How one cell relaxed."""

    group: str
    steps: int
    converged: bool
    energy_first: ElectronVolt
    energy_last: ElectronVolt
    max_force: ElectronVoltPerAngstrom


class TrajectoryDocument(Document):
    """Relaxation trajectories of a batch of cells (output of TrajectoryMaker).

    ``data`` packs every kept step as a frame (energy and forces of the relaxing model); the group of
    a frame names its trajectory.
    """

    kind: Literal["trajectories"] = "trajectories"
    model_id: str
    relaxations: list[RelaxationSummary]
    data: Blob


class RejectedFrame(Part):
    """A frame that got no label, and why."""

    index: int
    reason: str


class LabelledSet(Document):
    """Frames that came back from the labeller (output of LabelMaker)."""

    kind: Literal["labels"] = "labels"
    labeller: str
    protocol: str = Field(description="hash of the labeller's settings")
    requested: int
    rejected: list[RejectedFrame]
    data: Blob

    def frames(self) -> list[Frame]:
        """Return the labelled frames."""
        return unpack_frames(self.data)


class DatasetDocument(Document):
    """Frames with a split, hashed (output of DatasetMaker)."""

    kind: Literal["dataset"] = "dataset"
    formula: str
    dataset_hash: str
    labeller: str
    train: list[int]
    valid: list[int]
    n_duplicates: int = Field(description="frames dropped because an equal structure was there")
    has_stress: Percent = Field(description="share of frames with a stress label")
    data: Blob

    def frames(self) -> list[Frame]:
        """Return all frames, in stored order."""
        return unpack_frames(self.data)

    def train_frames(self) -> list[Frame]:
        """Return the frames that train."""
        frames = self.frames()
        return [frames[i] for i in self.train]

    def valid_frames(self) -> list[Frame]:
        """Return the frames that validate."""
        frames = self.frames()
        return [frames[i] for i in self.valid]
