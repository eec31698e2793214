"""Layers of the fast forward: they hold constants, their weights are arguments.

Features of atoms are lists with one tensor for each irrep, shape (2l + 1, n_atoms, channels): a
component at a time, so that every product runs over long contiguous rows. Atoms are sorted by
element (:mod:`phonotune.models.fast.graph`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from phonotune.models.fast.graph import Neighbours
from phonotune.models.fast.tables import (
    Path,
    contraction_tables,
    element_paths,
    linear_paths,
    monomials,
    require,
)

Parts = Sequence[torch.Tensor | None]
"""One tensor for each irrep, shape (2l + 1, n_atoms, channels); None is zero."""


def keep_constant(
    module: torch.nn.Module, name: str, value: torch.Tensor, like: torch.Tensor
) -> None:
    """Register a constant that is not part of the model's state."""
    dtype = like.dtype if value.is_floating_point() else value.dtype
    module.register_buffer(name, value.to(like.device, dtype).contiguous(), persistent=False)


def add(first: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor | None:
    """Add two tensors, None being zero."""
    if first is None or second is None:
        return first if second is None else second
    return first + second


def matrices(weight: torch.Tensor, paths: Sequence[Path], scale: float = 1.0) -> list[torch.Tensor]:
    """Return the matrices of a flat weight, normalised, each shape (rows, cols)."""
    sizes = [p.rows * p.cols for p in paths]
    if len({p.scale for p in paths}) == 1:
        flat = (weight * (paths[0].scale * scale)).split_with_sizes(sizes)
        return [m.view(p.rows, p.cols) for m, p in zip(flat, paths, strict=True)]
    flat = weight.split_with_sizes(sizes)
    return [m.view(p.rows, p.cols) * (p.scale * scale) for m, p in zip(flat, paths, strict=True)]


class FastLinear(torch.nn.Module):
    """An ``o3.Linear`` on parts."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.paths = linear_paths(linear)
        self.n_out = len(linear.irreps_out)

    def forward(self, parts: Parts, weight: torch.Tensor) -> list[torch.Tensor | None]:
        """Apply the map with a flat weight."""
        out: list[torch.Tensor | None] = [None] * self.n_out
        for path, matrix in zip(self.paths, matrices(weight, self.paths), strict=True):
            part = parts[path.i_in]
            if part is not None:
                out[path.i_out] = add(out[path.i_out], part @ matrix)
        return out


class FastElementLinear(torch.nn.Module):
    """A product with one-hot elements: a linear map for each element present."""

    def __init__(self, product: Any, n_elements: int) -> None:
        super().__init__()
        self.paths = element_paths(product, n_elements)
        self.n_out = len(product.irreps_out)
        self.n_elements = n_elements

    def forward(
        self, parts: Parts, weight: torch.Tensor, present: torch.Tensor, counts: Sequence[int]
    ) -> list[torch.Tensor | None]:
        """Apply the map.

        Parameters
        ----------
        weight
            flat, a path being (mul, n_elements, mul_out).
        present
            shape (n_present,): indices of the elements, ascending.
        counts
            Number of atoms of each; the atoms of `parts` come in that order.
        """
        sizes = [p.rows * self.n_elements * p.cols for p in self.paths]
        out: list[torch.Tensor | None] = [None] * self.n_out
        for path, flat in zip(self.paths, weight.split_with_sizes(sizes), strict=True):
            part = parts[path.i_in]
            if part is None:
                continue
            cube = flat.view(path.rows, self.n_elements, path.cols)
            chosen = (cube.index_select(1, present) * path.scale).unbind(1)
            pieces = zip(part.split_with_sizes(list(counts), dim=1), chosen, strict=True)
            out[path.i_out] = torch.cat([x @ matrix for x, matrix in pieces], dim=1)
        return out


class FastRadial(torch.nn.Module):
    """The layers of a ``FullyConnectedNet`` but for the product with its last matrix."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        layers = list(net.children())
        require(layers[-1].act is None, "an activation on the radial weights")
        for layer in layers[:-1]:
            known = getattr(layer.act, "f", None) is functional.silu
            require(known and layer.var_out == 1, "an unknown activation of the radial net")
        gains = [float(layer.act.cst) for layer in layers[:-1]]
        inputs = [1.0, *(1.0 if abs(gain - 1) < 1e-4 else gain for gain in gains)]
        self.scales = [
            gain * (layer.h_in * layer.var_in / layer.var_out) ** -0.5
            for gain, layer in zip(inputs, layers, strict=True)
        ]

    def forward(
        self, features: torch.Tensor, weights: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden features, shape (n_slots, n_hidden), and the last matrix, scaled."""
        scaled = [weight * scale for weight, scale in zip(weights, self.scales, strict=True)]
        for matrix in scaled[:-1]:
            features = functional.silu(features @ matrix)
        return features, scaled[-1]


class FastContraction(torch.nn.Module):
    """A symmetric contraction: polynomials of the features of an atom, weights by element."""

    pairs: torch.Tensor

    def __init__(self, contraction: Any, n_elements: int, like: torch.Tensor) -> None:
        super().__init__()
        tables = contraction_tables(contraction, n_elements)
        self.correlation = tables[0].correlation
        self.n_outs = [t.n_out for t in tables]
        self.n = sum(ir.dim for _, ir in contraction.irreps_in)
        pairs = torch.cat(monomials(self.n, self.correlation))
        one_hot = torch.nn.functional.one_hot(pairs, self.n).double()
        keep_constant(self, "pairs", one_hot, like)
        for i, table in enumerate(tables):
            keep_constant(self, f"table_{i}", table.table, like)

    def forward(
        self, parts: Parts, weights: Sequence[Sequence[torch.Tensor]], graph: Neighbours
    ) -> list[torch.Tensor | None]:
        """Contract the features.

        Parameters
        ----------
        weights
            For each output irrep, from the highest degree down: shape (n_elements, n_paths,
            channels).
        """
        present = [part for part in parts if part is not None]
        require(len(present) == len(parts), "a contraction of missing irreps")
        x = torch.cat(present).transpose(1, 2).contiguous()
        channels = x.shape[1]
        by_channel = self._monomials(x).transpose(0, 1)
        coefficients = self._coefficients(weights, graph.present)
        pieces = by_channel.split_with_sizes(list(graph.counts), dim=2)
        inner = torch.cat(
            [torch.bmm(v, m) for v, m in zip(coefficients.unbind(0), pieces, strict=True)], dim=2
        ).view(channels, sum(self.n_outs), self.n, graph.n_atoms)
        out = (inner * x.transpose(0, 1).contiguous()[:, None]).sum(2)
        return list(out.permute(1, 2, 0).contiguous().split_with_sizes(self.n_outs))

    def _monomials(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n_monomials, channels, n_atoms): products of two, the features, one."""
        one = torch.ones_like(x[:1])
        if self.correlation == 1:
            return one
        if self.correlation == 2:
            return torch.cat([x, one])
        both = (self.pairs @ x.flatten(1)).view(2, -1, *x.shape[1:])
        return torch.cat([both[0] * both[1], x, one])

    def _coefficients(
        self, weights: Sequence[Sequence[torch.Tensor]], present: torch.Tensor
    ) -> torch.Tensor:
        """Return (n_present, channels, n_out * n, n_monomials)."""
        blocks = []
        for i, (members, n_out) in enumerate(zip(weights, self.n_outs, strict=True)):
            chosen = torch.cat([w.index_select(0, present) for w in members], dim=1)
            table = self.get_buffer(f"table_{i}")
            block = chosen.transpose(1, 2) @ table
            blocks.append(block.view(*block.shape[:2], n_out * self.n, -1))
        return torch.cat(blocks, dim=2)
