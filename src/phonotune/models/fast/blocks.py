"""The blocks of the fast forward: an interaction with its product basis, and a readout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from phonotune.models.fast.convolution import Edges, ElementConvolution, FastConvolution
from phonotune.models.fast.graph import Neighbours
from phonotune.models.fast.layers import (
    FastContraction,
    FastElementLinear,
    FastLinear,
    FastRadial,
    Parts,
    add,
)
from phonotune.models.fast.tables import require
from phonotune.models.mace_parts import blocks

KINDS: Final = {
    blocks.RealAgnosticInteractionBlock: (False, False),
    blocks.RealAgnosticResidualInteractionBlock: (True, False),
    blocks.RealAgnosticDensityInteractionBlock: (False, True),
    blocks.RealAgnosticDensityResidualInteractionBlock: (True, True),
}
"""Whether a block has a residual connection, and whether it divides by the density."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """The neighbours of a batch.

    Attributes
    ----------
    features
        shape (n_slots, n_basis): radial features.
    harmonics
        shape (n_atoms, n_harmonics, width), zero in empty slots.
    factor
        shape (n_slots,): zero in empty slots, and the cutoff if the features lack it; None is one.
    """

    features: torch.Tensor
    harmonics: torch.Tensor
    factor: torch.Tensor | None
    graph: Neighbours


def _net_weights(net: Any) -> list[torch.Tensor]:
    return [layer.weight for layer in net.children()]


class FastLayer(torch.nn.Module):
    """An interaction block and the product basis behind it; their weights stay where they are."""

    def __init__(
        self, interaction: Any, product: Any, n_elements: int, first: bool, like: torch.Tensor
    ) -> None:
        super().__init__()
        require(type(interaction) in KINDS, f"a {type(interaction).__name__}")
        require(type(product) is blocks.EquivariantProductBasisBlock, "an unknown product basis")
        self.residual, self.by_density = KINDS[type(interaction)]
        self.first, self.use_sc = first, bool(product.use_sc)
        self.scale = 1.0 if self.by_density else 1.0 / float(interaction.avg_num_neighbors)
        self.up = FastLinear(interaction.linear_up)
        self.skip = FastElementLinear(interaction.skip_tp, n_elements)
        self.net = FastRadial(interaction.conv_tp_weights)
        self.density = FastRadial(interaction.density_fn) if self.by_density else None
        ends = (interaction.conv_tp, interaction.linear)
        self.convolution: torch.nn.Module = (
            ElementConvolution(*ends) if first else FastConvolution(*ends, like)
        )
        self.contraction = FastContraction(product.symmetric_contractions, n_elements, like)
        self.linear = FastLinear(product.linear)

    def forward(
        self, interaction: Any, product: Any, parts: Parts, geometry: Geometry
    ) -> list[torch.Tensor | None]:
        """Return the features of the next layer.

        Parameters
        ----------
        interaction, product
            The plain blocks, which hold the weights.
        parts
            Features of sorted atoms; in the first layer of the elements present, shape (1,
            n_present, channels).
        """
        graph = geometry.graph
        shortcut = self._shortcut(interaction, parts, graph) if self.residual else None
        messages = self._messages(interaction, parts, geometry)
        if self.density is not None:
            share = 1.0 / (self._density(interaction, geometry) + 1.0)
            messages = [None if m is None else m * share for m in messages]
        if not self.residual:
            messages = self.skip(messages, interaction.skip_tp.weight, graph.present, graph.counts)
        contractions = product.symmetric_contractions.contractions
        weights = [[c.weights_max, *c.weights] for c in contractions]
        new = self.linear(self.contraction(messages, weights, graph), product.linear.weight)
        if shortcut is None or not self.use_sc:
            return list(new)
        return [add(a, b) for a, b in zip(new, shortcut, strict=True)]

    def _shortcut(
        self, interaction: Any, parts: Parts, graph: Neighbours
    ) -> list[torch.Tensor | None]:
        counts: Sequence[int] = [1] * len(graph.counts) if self.first else graph.counts
        kept: list[torch.Tensor | None] = self.skip(
            parts, interaction.skip_tp.weight, graph.present, counts
        )
        if not self.first:
            return kept
        return [None if k is None else k.index_select(1, graph.kinds) for k in kept]

    def _messages(
        self, interaction: Any, parts: Parts, geometry: Geometry
    ) -> list[torch.Tensor | None]:
        up: list[torch.Tensor] = self.up(parts, interaction.linear_up.weight)
        hidden, radial = self.net(geometry.features, _net_weights(interaction.conv_tp_weights))
        edges = Edges(geometry.harmonics, hidden, radial)
        given = up[0][0] if self.first else up
        messages: list[torch.Tensor | None] = self.convolution(
            given, edges, interaction.linear.weight, self.scale, geometry.graph
        )
        return messages

    def _density(self, interaction: Any, geometry: Geometry) -> torch.Tensor:
        assert self.density is not None
        weights = _net_weights(interaction.density_fn)
        features, matrix = self.density(geometry.features, weights)
        share = torch.tanh((features @ matrix).square()).squeeze(-1)
        if geometry.factor is not None:
            share = share * geometry.factor
        return share.view(geometry.graph.n_atoms, geometry.graph.width).sum(1, keepdim=True)


class FastReadout(torch.nn.Module):
    """A linear or a nonlinear readout of the scalars."""

    def __init__(self, readout: Any) -> None:
        super().__init__()
        linear = type(readout) is blocks.LinearReadoutBlock
        require(linear or type(readout) is blocks.NonLinearReadoutBlock, "an unknown readout")
        names = ("linear",) if linear else ("linear_1", "linear_2")
        self.maps = torch.nn.ModuleList(FastLinear(getattr(readout, name)) for name in names)
        self.names = names
        self.n_heads = 1 if linear else int(getattr(readout, "num_heads", 1))
        hidden = None if linear else readout.hidden_irreps
        require(hidden is None or all(ir.l == 0 for _, ir in hidden), "a readout of vectors")

    def forward(self, readout: Any, parts: Parts, heads: torch.Tensor) -> torch.Tensor:
        """Return the energies of the atoms, each by its own head, shape (n_atoms,)."""
        for place, (name, linear) in enumerate(zip(self.names, self.maps, strict=True)):
            (out,) = linear(parts, getattr(readout, name).weight)
            if place == len(self.names) - 1:
                break
            hidden = readout.non_linearity(out[0])
            if self.n_heads > 1:
                mask = heads[:, None] == torch.arange(self.n_heads, device=heads.device)
                hidden = hidden.view(len(heads), self.n_heads, -1) * mask[:, :, None]
            parts = [hidden.reshape(1, len(heads), -1)]
        energies: torch.Tensor = out[0]
        return energies.gather(1, heads[:, None]).squeeze(1)
