"""Structures that were sampled, frames that were labelled, datasets that a training can trust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

import numpy as np
from pydantic import Field
from pymatgen.core import Lattice, Structure

from phonotune.chunks import chunked
from phonotune.ports import Evaluation, FloatArray
from phonotune.schemas.base import Document, Part
from phonotune.schemas.blob import Blob
from phonotune.schemas.statistics import DatasetStatistics, SplitRecord
from phonotune.units import Dimensionless, ElectronVolt, ElectronVoltPerAngstrom, Percent

CHUNK_BYTES: Final = 5_000_000
"""Arrays of frames that go into one Blob, before compression: text of base64 is a third longer."""


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
    labeller
        Who labelled it (``vasp``, ``teacher``, ...); empty if nobody said so.
    protocol
        Name of every setting that the labels depend on; empty if not known.
    magmoms
        shape (n_atoms,), µB along the axis of a collinear calculation, or None.
    settings
        What a run of VASP said about itself (:mod:`phonotune.data.vasp_settings`), in words; empty if
        not known.
    """

    structure: Structure
    energy: float | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    group: str = "0"
    origin: str = ""
    labeller: str = ""
    protocol: str = ""
    magmoms: FloatArray | None = None
    settings: str = ""


_TEXTS: Final = ("group", "origin", "labeller", "protocol", "settings")
_Item = TypeVar("_Item")


def pack_structures(structures: Sequence[Structure]) -> Blob:
    """Pack structures, exactly (float64), into one Blob."""
    return Blob.pack(**structure_arrays(structures))


def structure_arrays(structures: Sequence[Structure]) -> dict[str, Any]:
    """Return structures as arrays by name; :func:`structures_of` undoes it."""
    return {
        "sizes": np.array([len(s) for s in structures], dtype=np.int64),
        "numbers": np.concatenate(
            [np.asarray(s.atomic_numbers, dtype=np.int64) for s in structures]
        ),
        "cells": np.array([s.lattice.matrix for s in structures]),
        "positions": np.concatenate([s.cart_coords for s in structures]),
    }


def unpack_structures(blob: Blob) -> list[Structure]:
    """Return the structures of :func:`pack_structures`."""
    return structures_of(blob.arrays())


def structures_of(arrays: Mapping[str, Any]) -> list[Structure]:
    """Return the structures of :func:`structure_arrays`."""
    numbers, positions = (
        _split_atoms(arrays[name], arrays["sizes"]) for name in ("numbers", "positions")
    )
    return [
        Structure(Lattice(cell), [int(z) for z in atoms], places, coords_are_cartesian=True)
        for cell, atoms, places in zip(arrays["cells"], numbers, positions, strict=True)
    ]


def pack_frames(frames: Sequence[Frame]) -> Blob:
    """Pack labelled frames into one Blob; missing labels are masked, not zero-filled by meaning."""
    return Blob.pack(**frame_arrays(frames))


def frame_arrays(frames: Sequence[Frame]) -> dict[str, Any]:
    """Return labelled frames as arrays by name; :func:`frames_of` undoes it."""
    return {
        **structure_arrays([f.structure for f in frames]),
        "energy": np.array([0.0 if f.energy is None else f.energy for f in frames]),
        "forces": np.concatenate(
            [np.zeros((len(f.structure), 3)) if f.forces is None else f.forces for f in frames]
        ),
        "stress": np.array([np.zeros((3, 3)) if f.stress is None else f.stress for f in frames]),
        "magmoms": np.concatenate(
            [np.zeros(len(f.structure)) if f.magmoms is None else f.magmoms for f in frames]
        ),
        **{
            f"has_{name}": np.array([getattr(f, name) is not None for f in frames])
            for name in ("energy", "forces", "stress", "magmoms")
        },
        **{name: np.array([getattr(f, name) for f in frames]) for name in _TEXTS},
    }


def _split_atoms(values: Any, sizes: Any) -> list[Any]:
    return list(np.split(values, np.cumsum(sizes)[:-1]))


def unpack_frames(blob: Blob) -> list[Frame]:
    """Return the frames of :func:`pack_frames`, also of one that knows no magnetic moments yet."""
    return frames_of(blob.arrays())


def frames_of(arrays: Mapping[str, Any]) -> list[Frame]:
    """Return the frames of :func:`frame_arrays`, also of those of an older version."""
    structures = structures_of(arrays)
    count = len(structures)
    a: dict[str, Any] = {
        **{name: [""] * count for name in _TEXTS},
        "has_magmoms": [False] * count,
        "magmoms": np.zeros(sum(map(len, structures))),
        **arrays,
    }
    forces, magmoms = (_split_atoms(a[name], a["sizes"]) for name in ("forces", "magmoms"))
    return [
        Frame(
            structure=structures[i],
            energy=float(a["energy"][i]) if a["has_energy"][i] else None,
            forces=forces[i] if a["has_forces"][i] else None,
            stress=a["stress"][i] if a["has_stress"][i] else None,
            magmoms=magmoms[i] if a["has_magmoms"][i] else None,
            **{name: str(a[name][i]) for name in _TEXTS},
        )
        for i in range(count)
    ]


def pack_frame_blobs(frames: Sequence[Frame]) -> tuple[Blob, ...]:
    """Pack any number of frames into Blobs that fit a stored document, in their order."""
    chunks = chunked(frames, size=lambda f: 800 + 64 * len(f.structure), limit=CHUNK_BYTES)
    return tuple(map(pack_frames, chunks)) or (pack_frames([]),)


@dataclass(frozen=True)
class Candidate:
    """A structure that may be labelled.

    Attributes
    ----------
    structure
        Cell and positions.
    group
        Where it belongs (parent trajectory, volume).
    reason
        How it was made or why it was chosen, in words.
    score
        The number that the method of the selection chose it by; None if there is none.
    fixed
        True for a structure that is neither relaxed nor selected but labelled as it is.
    """

    structure: Structure = field(repr=False)
    group: str
    reason: str
    score: float | None = None
    fixed: bool = False

    def frame(self, answer: Evaluation | None = None) -> Frame:
        """Return the frame of this structure, with the labels of an answer if there is one."""
        bare = Frame(self.structure, group=self.group, origin=self.reason)
        return bare if answer is None else labelled(bare, answer)


def labelled(frame: Frame, answer: Evaluation) -> Frame:
    """Return a frame with energy, forces and stress of an answer, and no other labels."""
    return replace(
        frame, energy=answer.energy, forces=answer.forces, stress=answer.stress, magmoms=None
    )


class StructureSet(Document):
    """Structures to relax or to label (output of RattleMaker and SelectMaker)."""

    kind: Literal["structures"] = "structures"
    recipe: str = Field(description="how they were made, in words and numbers")
    groups: list[str]
    reasons: list[str]
    scores: list[Dimensionless | None] = Field(
        default_factory=list, description="what each was chosen by; empty if nothing was selected"
    )
    fixed: list[int] = Field(
        default_factory=list, description="structures that are labelled as they are, never relaxed"
    )
    data: Blob
    more: tuple[Blob, ...] = Field(default=(), description="structures that do not fit ``data``")

    @classmethod
    def from_candidates(cls, candidates: Sequence[Candidate], recipe: str) -> StructureSet:
        """Pack candidates into a document."""
        scores = [c.score for c in candidates]
        structures = [c.structure for c in candidates]
        chunks = chunked(structures, size=lambda s: 100 + 32 * len(s), limit=CHUNK_BYTES)
        first, *more = list(chunks) or [[]]
        return cls(
            recipe=recipe,
            groups=[c.group for c in candidates],
            reasons=[c.reason for c in candidates],
            scores=scores if any(score is not None for score in scores) else [],
            fixed=[i for i, c in enumerate(candidates) if c.fixed],
            data=pack_structures(first),
            more=tuple(map(pack_structures, more)),
        )

    @property
    def in_words(self) -> str:
        """How many there are, in a sentence; ``recipe`` says how they were made."""
        chosen = ", selected" if self.scores else ""
        return f"{len(self.groups)} structures in {len(set(self.groups))} groups{chosen}"

    def candidates(self) -> list[Candidate]:
        """Return the structures with their groups, reasons and scores."""
        structures = [s for blob in (self.data, *self.more) for s in unpack_structures(blob)]
        scores = self.scores or [None] * len(structures)
        rows = zip(structures, self.groups, self.reasons, scores, strict=True)
        return [
            Candidate(s, group, reason, score, fixed=i in self.fixed)
            for i, (s, group, reason, score) in enumerate(rows)
        ]


class FrameSet(Document):
    """Frames in as many Blobs as they need: those that do not fit ``data`` go on in ``more``."""

    data: Blob
    more: tuple[Blob, ...] = ()

    def frames(self) -> list[Frame]:
        """Return all frames, in stored order."""
        return list(self.iter_frames())

    def iter_frames(self) -> Iterator[Frame]:
        """Yield all frames, in stored order, with one Blob unpacked at a time."""
        for blob in (self.data, *self.more):
            yield from unpack_frames(blob)


class RelaxationSummary(Part):
    """How one cell relaxed."""

    group: str
    steps: int
    converged: bool
    stop_reason: str = Field(default="", description="converged, step limit or volume limit")
    energy_first: ElectronVolt
    energy_last: ElectronVolt
    max_force: ElectronVoltPerAngstrom


class TrajectoryDocument(FrameSet):
    """Relaxation trajectories of a batch of cells (output of TrajectoryMaker).

    Every kept step is a frame (energy and forces of the relaxing model); the group of a frame names
    its trajectory. Structures that are labelled as they are stand there as one frame
    each, and their groups in ``fixed``.
    """

    kind: Literal["trajectories"] = "trajectories"
    model_id: str
    relaxations: list[RelaxationSummary]
    fixed: list[str] = Field(default_factory=list, description="groups that were not relaxed")

    @property
    def in_words(self) -> str:
        """How many there are, and by which model, in a sentence."""
        n = len(self.relaxations)
        return f"{n} relaxations, {n - len(self.unconverged)} converged, by {self.model_id[:12]}"

    @property
    def unconverged(self) -> list[str]:
        """Groups of the relaxations that did not reach the threshold."""
        return [r.group for r in self.relaxations if not r.converged]


class RejectedFrame(Part):
    """A frame that got no label, and why."""

    index: int
    reason: str


class LabelledSet(FrameSet):
    """Frames that came back from the labeller (output of LabelMaker)."""

    kind: Literal["labels"] = "labels"
    labeller: str
    protocol: str = Field(description="hash of the labeller's settings")
    requested: int
    rejected: list[RejectedFrame]


class DatasetHeader(Document):
    """Everything about a dataset but its frames.

    A version that was appended to names the hash of its parent, which stays as it was.
    """

    kind: Literal["dataset"]
    formula: str
    dataset_hash: str
    labeller: str
    train: list[int]
    valid: list[int]
    n_duplicates: int = Field(
        description="frames dropped because an equal structure was there already"
    )
    has_stress: Percent = Field(description="share of frames with a stress label")
    version: int = Field(default=1, description="1, and one more with every append")
    parent_hash: str | None = Field(default=None, description="dataset_hash of the version before")
    mixed: bool = Field(default=False, description="frames of several protocols, allowed by name")
    split: SplitRecord | None = None
    statistics: DatasetStatistics | None = None
    isolated_atoms: dict[str, ElectronVolt] = Field(
        default_factory=dict,
        description="energies of isolated atoms by symbol, from the labeller of the frames; they become the "
        "atomic energies E0 of a model",
    )


class DatasetDocument(DatasetHeader, FrameSet):
    """Frames with a split, hashed (output of DatasetMaker)."""

    kind: Literal["dataset"] = "dataset"

    def train_frames(self) -> list[Frame]:
        """Return the frames that train."""
        frames = self.frames()
        return [frames[i] for i in self.train]

    def valid_frames(self) -> list[Frame]:
        """Return the frames that validate."""
        frames = self.frames()
        return [frames[i] for i in self.valid]
