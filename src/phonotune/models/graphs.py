"""Structures as MACE's input: one graph type for evaluation and for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import torch
from ase.data import chemical_symbols

from phonotune.errors import PhonotuneError, StructureError
from phonotune.models.mace_parts import get_neighborhood

if TYPE_CHECKING:
    from pymatgen.core import Structure

Batch = dict[str, torch.Tensor]
"""The dictionary that ``MACE.forward`` takes; see :func:`collate`."""


@dataclass(frozen=True)
class GraphSpec:
    """What a model needs to know about a structure.

    Attributes
    ----------
    elements
        Atomic numbers, in the order of the model's one-hot node attributes.
    r_max
        Cutoff radius, Å.
    dtype
        Floating-point type of every tensor of a graph.
    """

    elements: tuple[int, ...]
    r_max: float
    dtype: torch.dtype = torch.float64

    @classmethod
    def of(cls, model: torch.nn.Module) -> Self:
        """Read the specification off a MACE model."""
        atomic_numbers = cast("torch.Tensor", model.atomic_numbers)
        r_max = cast("torch.Tensor", model.r_max)
        return cls(
            elements=tuple(int(z) for z in atomic_numbers.tolist()),
            r_max=float(r_max),
            dtype=next(model.parameters()).dtype,
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols, in the order of `elements`."""
        return tuple(chemical_symbols[z] for z in self.elements)


@dataclass(frozen=True, eq=False)
class Graph:
    """A periodic structure and its neighbours within the cutoff (CPU tensors, never modified).

    Attributes
    ----------
    positions
        shape (n_atoms, 3), Å.
    cell
        shape (3, 3), Å; rows are the cell vectors.
    node_attrs
        shape (n_atoms, n_elements), one-hot.
    edge_index
        shape (2, n_edges): senders i, then receivers j; every pair appears in both directions.
    unit_shifts
        shape (n_edges, 3): the edge runs along ``r_j - r_i + unit_shift @ cell``.
    shifts
        shape (n_edges, 3), Å: ``unit_shifts @ cell``.
    """

    positions: torch.Tensor
    cell: torch.Tensor
    node_attrs: torch.Tensor
    edge_index: torch.Tensor
    unit_shifts: torch.Tensor
    shifts: torch.Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.positions.shape[0])

    @property
    def width(self) -> int:
        """Number of neighbours of the atom that has most."""
        return int(torch.bincount(self.edge_index[1], minlength=1).max())

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return int(self.edge_index.shape[1])


def _element_indices(structure: Structure, spec: GraphSpec) -> torch.Tensor:
    index = {z: i for i, z in enumerate(spec.elements)}
    numbers = [int(z) for z in structure.atomic_numbers]
    if unknown := sorted(set(numbers) - set(index)):
        found = ", ".join(chemical_symbols[z] for z in unknown)
        raise StructureError(
            f"{structure.composition.reduced_formula} holds {found}, unknown to the model; its "
            f"elements are {' '.join(spec.symbols)}. Choose a foundation that knows {found}."
        )
    return torch.tensor([index[z] for z in numbers], dtype=torch.int64)


def build_graph(structure: Structure, spec: GraphSpec) -> Graph:
    """Find the neighbours of every atom (matscipy) and encode the elements.

    Parameters
    ----------
    structure
        A crystal, periodic in three directions; atoms may lie outside of the cell.
    spec
        Elements, cutoff and dtype of the model.

    Raises
    ------
    StructureError
        An element is unknown to the model.
    """
    indices = _element_indices(structure, spec)
    positions = np.array(structure.cart_coords, dtype=np.float64)
    cell = np.array(structure.lattice.matrix, dtype=np.float64)
    edge_index, shifts, unit_shifts, _ = get_neighborhood(
        positions, cutoff=spec.r_max, pbc=(True, True, True), cell=cell
    )
    return Graph(
        positions=torch.as_tensor(positions, dtype=spec.dtype),
        cell=torch.as_tensor(cell, dtype=spec.dtype),
        node_attrs=torch.nn.functional.one_hot(indices, len(spec.elements)).to(spec.dtype),
        edge_index=torch.as_tensor(edge_index, dtype=torch.int64),
        unit_shifts=torch.as_tensor(unit_shifts, dtype=spec.dtype),
        shifts=torch.as_tensor(shifts, dtype=spec.dtype),
    )


def collate(graphs: Sequence[Graph], device: str | torch.device = "cpu", head: int = 0) -> Batch:
    """Join graphs into one batch; the graphs themselves are not touched.

    ``MACE.forward`` overwrites ``positions`` and ``shifts`` of the dictionary it gets and switches
    the gradient of ``positions`` on: a batch that is used twice goes in as :func:`fresh` (batch).

    Parameters
    ----------
    graphs
        At least one graph, all of one specification.
    device
        Where the tensors of the batch live.
    head
        Index of the readout head that every graph is evaluated with.

    Returns
    -------
    Batch
        ``positions`` (n_atoms, 3) and ``cell`` (3 n_graphs, 3: stacked, not (n_graphs, 3, 3)), Å;
        ``node_attrs``; ``edge_index``, counted through the batch; ``unit_shifts``; ``shifts``, Å;
        ``batch`` (n_atoms,): the graph of an atom; ``ptr`` (n_graphs + 1,): first atom of a graph;
        ``head`` and ``pbc``.
    """
    if not graphs:
        raise PhonotuneError("A batch needs at least one graph; none was given.")
    sizes = torch.tensor([graph.n_atoms for graph in graphs])
    ptr = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(sizes, dim=0)])
    offsets = ptr[:-1].tolist()
    batch = {
        "positions": torch.cat([graph.positions for graph in graphs]),
        "cell": torch.cat([graph.cell for graph in graphs]),
        "node_attrs": torch.cat([graph.node_attrs for graph in graphs]),
        "edge_index": torch.cat(
            [g.edge_index + first for g, first in zip(graphs, offsets, strict=True)], dim=1
        ),
        "unit_shifts": torch.cat([graph.unit_shifts for graph in graphs]),
        "shifts": torch.cat([graph.shifts for graph in graphs]),
        "batch": torch.repeat_interleave(torch.arange(len(graphs)), sizes),
        "ptr": ptr,
        "head": torch.full((len(graphs),), head, dtype=torch.int64),
        "pbc": torch.ones((len(graphs), 3), dtype=torch.bool),
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


def fresh(batch: Batch) -> Batch:
    """Return what ``MACE.forward`` may overwrite, so that `batch` can be used again."""
    return {**batch, "positions": batch["positions"].detach().clone()}
