"""Labelled frames as graphs: neighbour lists are found once, missing labels are masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from phonotune.chunks import chunked
from phonotune.models.adapter import atomic_energies
from phonotune.models.evaluate import readout_head
from phonotune.models.graphs import Batch, Graph, GraphSpec, build_graph, collate
from phonotune.models.weight_updates import element_rows
from phonotune.ports import FloatArray
from phonotune.schemas.dataset import Frame


@dataclass(frozen=True, eq=False)
class Labels:
    """Reference values of a batch; what a mask calls missing is zero and must not be used.

    Attributes
    ----------
    energy
        shape (n_graphs,), eV, without the atomic energies E0.
    forces
        shape (n_atoms, 3), eV/Å.
    stress
        shape (n_graphs, 3, 3), eV/Å^3, ASE's sign.
    has_energy, has_stress
        shape (n_graphs,), bool.
    has_forces
        shape (n_atoms,), bool: a mask of atoms, not of frames.
    sizes
        shape (n_graphs,): number of atoms.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor
    has_energy: torch.Tensor
    has_forces: torch.Tensor
    has_stress: torch.Tensor
    sizes: torch.Tensor


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """A collated batch and its labels."""

    graph: Batch
    labels: Labels


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Frames with their graphs, ready to be batched.

    Attributes
    ----------
    composition
        shape (n_frames, n_elements): number of atoms of each element, columns as `elements`.
    elements
        Atomic numbers in the set and in the sets that it is used with, ascending.
    atomic_energies
        shape (n_elements,), eV, taken off the labels.
    """

    frames: tuple[Frame, ...]
    graphs: tuple[Graph, ...]
    elements: tuple[int, ...]
    composition: FloatArray
    atomic_energies: FloatArray
    device: torch.device
    dtype: torch.dtype
    head: int

    @classmethod
    def build(
        cls, frames: Sequence[Frame], model: torch.nn.Module, elements: Sequence[int]
    ) -> FrameSet:
        """Find the neighbours of every frame, once, with the model's cutoff, dtype and device.

        Raises
        ------
        StructureError
            A frame holds an element that the model does not know.
        """
        spec, ordered = GraphSpec.of(model), sorted(elements)
        parameter = next(model.parameters())
        columns = list(element_rows(model, elements))
        head = readout_head(model)
        known = atomic_energies(model)[head, columns].detach().cpu().double().numpy()
        return cls(
            frames=tuple(frames),
            graphs=tuple(build_graph(frame.structure, spec) for frame in frames),
            elements=tuple(ordered),
            composition=np.array(
                [
                    [np.count_nonzero(np.equal(f.structure.atomic_numbers, z)) for z in ordered]
                    for f in frames
                ],
                dtype=float,
            ),
            atomic_energies=known,
            device=parameter.device,
            dtype=parameter.dtype,
            head=head,
        )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def has_stress(self) -> bool:
        """Whether any frame has a stress label."""
        return any(frame.stress is not None for frame in self.frames)

    def shifted(self, shifts: Mapping[int, float]) -> FrameSet:
        """Return the set with atomic energies (eV by atomic number) shifted; graphs are shared."""
        change = np.array([shifts.get(z, 0.0) for z in self.elements])
        return replace(self, atomic_energies=self.atomic_energies + change)

    def batch(self, indices: Sequence[int]) -> LabelledBatch:
        """Collate some frames."""
        graph = collate([self.graphs[i] for i in indices], self.device, self.head)
        return LabelledBatch(graph, self._labels(indices))

    def in_order(self, batch_size: int, batch_atoms: int | None = None) -> list[LabelledBatch]:
        """Return the whole set as batches in stored order."""
        parts = self._parts(list(range(len(self))), batch_size, batch_atoms)
        return [self.batch(part) for part in parts]

    def shuffled(
        self, batch_size: int, rng: np.random.Generator, batch_atoms: int | None = None
    ) -> Iterator[LabelledBatch]:
        """Yield the whole set once in random order; the last, smaller batch is never dropped.

        Parameters
        ----------
        batch_size
            Most frames in a batch.
        rng
            Draws the order.
        batch_atoms
            Most atoms in a batch; a larger frame is a batch of its own.
        """
        order = [int(i) for i in rng.permutation(len(self))]
        for part in self._parts(order, batch_size, batch_atoms):
            yield self.batch(part)

    def resampled(self, rng: np.random.Generator) -> FrameSet:
        """Return as many frames, drawn with replacement (bootstrap); graphs are shared."""
        drawn = [int(i) for i in rng.integers(len(self), size=len(self))]
        return replace(
            self,
            frames=tuple(self.frames[i] for i in drawn),
            graphs=tuple(self.graphs[i] for i in drawn),
            composition=self.composition[drawn],
        )

    def _parts(
        self, order: Sequence[int], batch_size: int, batch_atoms: int | None
    ) -> Iterator[list[int]]:
        atoms = [graph.n_atoms for graph in self.graphs]
        return chunked(order, batch_size, size=atoms.__getitem__, limit=batch_atoms)

    def _labels(self, indices: Sequence[int]) -> Labels:
        frames = [self.frames[i] for i in indices]
        sizes = [len(frame.structure) for frame in frames]
        offset = self.composition[list(indices)] @ self.atomic_energies
        energy = [
            0.0 if f.energy is None else f.energy - e for f, e in zip(frames, offset, strict=True)
        ]
        forces = [
            np.zeros((n, 3)) if f.forces is None else f.forces
            for f, n in zip(frames, sizes, strict=True)
        ]
        stress = [np.zeros((3, 3)) if f.stress is None else f.stress for f in frames]
        with_forces = np.repeat([f.forces is not None for f in frames], sizes)
        return Labels(
            energy=self._tensor(np.array(energy)),
            forces=self._tensor(np.concatenate(forces)),
            stress=self._tensor(np.array(stress)),
            has_energy=self._mask([f.energy is not None for f in frames]),
            has_forces=self._mask(with_forces),
            has_stress=self._mask([f.stress is not None for f in frames]),
            sizes=self._tensor(np.array(sizes)),
        )

    def _tensor(self, values: FloatArray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)

    def _mask(self, values: Sequence[bool] | NDArray[np.bool_]) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, dtype=bool), device=self.device)
