"""Convolutions of the fast forward: product with harmonics, sum over neighbours, linear map.

With neighbours in rows (:mod:`phonotune.models.fast.graph`) the product with the harmonics and the
sum over neighbours are one batched matrix product; the Clebsch-Gordan coefficients come after it,
once for each atom instead of once for each neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch.utils.checkpoint import checkpoint

from phonotune.models.fast.graph import Neighbours
from phonotune.models.fast.layers import Parts, keep_constant, matrices
from phonotune.models.fast.tables import conv_table, mixing_paths, require
from phonotune.models.mace_parts import o3

WIDE: Final = 512
"""Neighbours of an atom above which they are summed a part at a time and computed again for the gradient.

No crystal near its equilibrium has so many; the forgetting probe scans hydrogen at 0.5 Å, where 7 000
neighbours of four atoms took 1.2 GB in a model of 128 channels.
"""


@dataclass(frozen=True, eq=False)
class Edges:
    """What a convolution knows of the neighbours.

    Attributes
    ----------
    harmonics
        shape (n_atoms, n_harmonics, width), zero in empty slots.
    hidden
        shape (n_slots, n_hidden): last hidden features of the radial net.
    radial
        shape (n_hidden, n_paths * channels): its last matrix.
    """

    harmonics: torch.Tensor
    hidden: torch.Tensor
    radial: torch.Tensor


class FastConvolution(torch.nn.Module):
    """Convolution of features of any irreps."""

    coupling: torch.Tensor
    order: torch.Tensor

    def __init__(self, product: Any, linear: Any, like: torch.Tensor) -> None:
        super().__init__()
        table = conv_table(product)
        self.mul, self.groups = table.mul, table.groups
        self.paths = mixing_paths(linear, self.mul)
        self.dims = [ir.dim for _, ir in linear.irreps_out]
        self.rows = [p.rows // self.mul * d for p, d in zip(self.paths, self.dims, strict=True)]
        self.edge_dims = [ir.dim for _, ir in product.irreps_in2]
        require(sum(self.rows) == table.coupling.shape[0], "a linear map of other irreps")
        keep_constant(self, "order", torch.tensor(table.order), like)
        keep_constant(self, "coupling", table.coupling, like)

    def forward(
        self, parts: Parts, edges: Edges, weight: torch.Tensor, scale: float, graph: Neighbours
    ) -> list[torch.Tensor | None]:
        """Return the messages behind the linear map of flat `weight`, times `scale`."""
        if graph.width <= WIDE:
            sums = self._sums(parts, edges, graph)
        else:
            by_atom = (graph.n_atoms, graph.width, -1)
            sums = edges.harmonics.new_zeros(())
            for first in range(0, graph.width, WIDE):
                some = slice(first, first + WIDE)
                senders = graph.senders.view(by_atom[:2])[:, some]
                near = replace(graph, width=senders.shape[1], senders=senders.reshape(-1))
                hidden = edges.hidden.view(by_atom)[:, some].flatten(0, 1)
                own = Edges(edges.harmonics[:, :, some], hidden, edges.radial)
                part: Any = checkpoint(self._sums, parts, own, near, use_reentrant=False)
                sums = sums + part
        blocks = (self.coupling @ sums).split_with_sizes(self.rows)
        mixing = matrices(weight, self.paths, scale)
        out: list[torch.Tensor | None] = []
        for block, matrix, dim in zip(blocks, mixing, self.dims, strict=True):
            stacked = matrix.view(-1, self.mul, matrix.shape[1])
            mixed = torch.bmm(block.reshape(len(stacked), -1, self.mul), stacked).sum(0)
            out.append(mixed.view(dim, graph.n_atoms, -1))
        return out

    def _sums(self, parts: Parts, edges: Edges, graph: Neighbours) -> torch.Tensor:
        """Return sums of radial weight x harmonic x feature, shape (n_columns, n_atoms * mul)."""
        n_paths = len(self.order)
        radial = edges.radial.view(-1, n_paths, self.mul).index_select(1, self.order)
        by_group = radial.transpose(0, 1).split_with_sizes([g.n_paths for g in self.groups])
        harmonics = edges.harmonics.split_with_sizes(self.edge_dims, dim=1)
        senders = [None if part is None else graph.gather(part) for part in parts]
        columns = []
        for group, matrix in zip(self.groups, by_group, strict=True):
            factor = torch.bmm(edges.hidden.expand(len(matrix), *edges.hidden.shape), matrix)
            sender = senders[group.i_node]
            assert sender is not None
            several = len(factor) > 1 and len(sender) > 1  # else no axis of length one to sum over
            message = (factor[:, None] if several else factor) * sender
            n_columns = len(factor) * len(sender)
            message = message.view(n_columns, graph.n_atoms, graph.width, self.mul)
            sums = torch.matmul(harmonics[group.i_edge], message)
            columns.append(sums.transpose(1, 2).reshape(-1, graph.n_atoms * self.mul))
        return torch.cat(columns)


class ElementConvolution(torch.nn.Module):
    """Convolution of the first layer, whose features depend on nothing but the element.

    The sum over neighbours runs over hidden radial features by element; radial weights, features of
    the elements and linear map are one small matrix for each l behind it.
    """

    def __init__(self, product: Any, linear: Any) -> None:
        super().__init__()
        table = conv_table(product)
        require(product.irreps_in1 == o3.Irreps([(table.mul, (0, 1))]), "first features that turn")
        self.mul, self.order = table.mul, table.order
        self.paths = mixing_paths(linear, self.mul)
        self.dims = [ir.dim for _, ir in product.irreps_in2]
        ends = [product.instructions[k].i_out for k in self.order]
        known = [p.rows for p in self.paths] == [self.mul] * len(self.dims)
        require(known and ends == list(range(len(ends))), "first paths out of order")
        firsts = [sum(self.dims[:i]) for i in range(len(self.dims))]
        self.gains = [float(table.coupling[i, i]) for i in firsts]
        gains = [g for g, dim in zip(self.gains, self.dims, strict=True) for _ in range(dim)]
        exact = torch.diag(torch.tensor(gains, dtype=torch.float64))
        require(torch.allclose(table.coupling, exact, atol=1e-12), "first paths that couple")

    def forward(
        self,
        table: torch.Tensor,
        edges: Edges,
        weight: torch.Tensor,
        scale: float,
        graph: Neighbours,
    ) -> list[torch.Tensor | None]:
        """Return the messages behind the linear map of flat `weight`, times `scale`.

        Parameters
        ----------
        table
            shape (n_present, channels): features of the elements.
        """
        sums = self._sums(edges, graph, len(table)).split_with_sizes(self.dims)
        radial = edges.radial.view(-1, len(self.dims), self.mul)
        out: list[torch.Tensor | None] = []
        for place, (block, matrix) in enumerate(
            zip(sums, matrices(weight, self.paths, scale), strict=True)
        ):
            factor = radial[:, self.order[place]] * self.gains[place]
            small = (table[:, None] * factor) @ matrix
            out.append(block @ small.view(-1, matrix.shape[1]))
        return out

    def _sums(self, edges: Edges, graph: Neighbours, n_present: int) -> torch.Tensor:
        """Return (n_harmonics, n_atoms, n_present * n_hidden)."""
        hidden = edges.hidden
        if n_present > 1:
            kinds = graph.kinds[graph.senders]
            marks = (kinds[:, None] == torch.arange(n_present, device=kinds.device)).to(
                hidden.dtype
            )
            hidden = (marks[:, :, None] * hidden[:, None]).flatten(1)
        rows = hidden.view(graph.n_atoms, graph.width, hidden.shape[1])
        return torch.bmm(edges.harmonics, rows).transpose(0, 1).contiguous()
