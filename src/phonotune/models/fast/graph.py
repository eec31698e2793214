"""How the fast forward sees a batch: atoms sorted by element, neighbours in rows of equal length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A batch, its atoms sorted by element and its edges laid out as a table of slots.

    Every atom has a row of `width` slots, as many as the atom with most neighbours needs; an empty
    slot repeats some edge and is switched off by `filled`. Sums over neighbours become products of
    matrices in this way.

    Attributes
    ----------
    order, rank
        shape (n_atoms,): sorted atoms by place in the batch, and back.
    present
        shape (n_present,): indices of the elements in the batch, ascending.
    counts
        Atoms of each of them.
    kinds
        shape (n_atoms,): position in `present`, ascending.
    senders, receivers
        shape (n_slots,): sorted atoms at both ends of the edge of a slot.
    edges
        shape (n_slots,): the edge of a slot.
    filled
        shape (n_slots,), bool; None if all are.
    """

    order: torch.Tensor
    rank: torch.Tensor
    present: torch.Tensor
    counts: tuple[int, ...]
    kinds: torch.Tensor
    width: int
    senders: torch.Tensor
    receivers: torch.Tensor
    edges: torch.Tensor
    filled: torch.Tensor | None

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.order.shape[0])

    @classmethod
    def of(cls, batch: Mapping[str, torch.Tensor]) -> Neighbours:
        """Arrange a collated batch (:func:`phonotune.models.graphs.collate`)."""
        attributes, edge_index = batch["node_attrs"], batch["edge_index"]
        n_atoms, n_elements = attributes.shape
        elements = attributes.argmax(dim=1)
        order = elements.argsort(stable=True)
        places = torch.arange(n_atoms, device=order.device)
        rank = torch.empty_like(order).scatter_(0, order, places)
        senders, receivers = rank[edge_index[0]], rank[edge_index[1]]
        degrees = torch.bincount(receivers, minlength=n_atoms)
        by_element = torch.bincount(elements, minlength=n_elements)
        *tally, width = torch.cat([by_element, degrees.amax(0, keepdim=True)]).tolist()
        present = [i for i, count in enumerate(tally) if count]
        counts = tuple(tally[i] for i in present)
        edges, filled = _slots(receivers, degrees, width)
        return cls(
            order=order,
            rank=rank,
            present=torch.tensor(present, device=order.device),
            counts=counts,
            kinds=_repeat(counts, order.device),
            width=width,
            senders=senders[edges],
            receivers=receivers[edges],
            edges=edges,
            filled=None if n_atoms * width == edge_index.shape[1] else filled,
        )

    def gather(self, part: torch.Tensor) -> torch.Tensor:
        """Return what the senders have, (dim, n_atoms, channels) -> (dim, n_slots, channels)."""
        dim, n_atoms, channels = part.shape
        first = torch.arange(0, dim * n_atoms, n_atoms, device=part.device)
        index = (first[:, None] + self.senders).view(-1)
        rows = part.reshape(dim * n_atoms, channels).index_select(0, index)
        return rows.view(dim, len(self.senders), channels)


def _slots(
    receivers: torch.Tensor, degrees: torch.Tensor, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    by_receiver = receivers.argsort(stable=True)
    column = torch.arange(width, device=degrees.device)
    first = degrees.cumsum(0) - degrees
    filled = column < degrees[:, None]
    edge = torch.where(filled, first[:, None] + column, 0)
    return by_receiver[edge.view(-1)], filled.view(-1)


def _repeat(counts: tuple[int, ...], device: torch.device) -> torch.Tensor:
    numbers = torch.tensor(counts, device=device)
    return torch.arange(len(counts), device=device).repeat_interleave(numbers)
