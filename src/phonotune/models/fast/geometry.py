"""Geometry of the fast forward: neighbour vectors, their features, forces and stress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from phonotune.models.fast.graph import Neighbours
from phonotune.models.fast.layers import keep_constant
from phonotune.models.fast.tables import harmonics_table
from phonotune.models.mace_parts import BesselBasis, PolynomialCutoff, blocks


def neighbour_vectors(batch: Mapping[str, torch.Tensor], graph: Neighbours) -> torch.Tensor:
    """Return the vectors of all slots, shape (3, n_slots), Å, with a gradient of their own.

    They hang on the positions only if those require a gradient.
    """
    positions = batch["positions"][graph.order]
    vectors = positions[graph.receivers] - positions[graph.senders]
    vectors = (vectors + batch["shifts"][graph.edges]).t().contiguous()
    return vectors if vectors.requires_grad else vectors.requires_grad_()


def forces_of(gradient: torch.Tensor, graph: Neighbours) -> torch.Tensor:
    """Return forces, shape (n_atoms, 3), eV/Å, in the batch's order, of dE/d(vectors) (3, n_slots)."""
    by_slot = gradient.t().contiguous()
    received = by_slot.view(graph.n_atoms, graph.width, 3).sum(1)
    forces = torch.index_add(-received, 0, graph.senders, by_slot)
    return forces.index_select(0, graph.rank)


def stress_of(
    gradient: torch.Tensor,
    vectors: torch.Tensor,
    batch: Mapping[str, torch.Tensor],
    graph: Neighbours,
) -> torch.Tensor:
    """Return the stress, shape (n_graphs, 3, 3), eV/Å^3: dE/d(strain) / volume, symmetric."""
    left = vectors.view(3, graph.n_atoms, graph.width).permute(1, 0, 2)
    right = gradient.view(3, graph.n_atoms, graph.width).permute(1, 2, 0)
    virial = torch.bmm(left, right)
    cells = batch["cell"].view(-1, 3, 3)
    owner = batch["batch"][graph.order]
    total = virial.new_zeros(len(cells), 3, 3).index_add(0, owner, virial)
    symmetric = 0.5 * (total + total.transpose(1, 2))
    stress: torch.Tensor = symmetric / torch.linalg.det(cells).abs().view(-1, 1, 1)
    return stress


class FastGeometry(torch.nn.Module):
    """Spherical harmonics and radial features."""

    polynomials: torch.Tensor

    def __init__(self, harmonics: Any, radial: Any, like: torch.Tensor) -> None:
        super().__init__()
        self.l_max = len(harmonics.irreps_out) - 1
        keep_constant(self, "polynomials", harmonics_table(harmonics), like)
        self.plain = _is_plain(radial)
        self.power = int(radial.cutoff_fn.p) if self.plain else 0

    def harmonics(self, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the harmonics of vectors (3, n_slots), shape (n_harmonics, n_slots)."""
        unit = vectors / lengths
        powers = [torch.ones_like(unit[:1])]
        for _ in range(self.l_max):
            powers.append((powers[-1][:, None] * unit[None]).flatten(0, 1))
        return self.polynomials @ torch.cat(powers)

    def radial(
        self,
        embedding: Any,
        lengths: torch.Tensor,
        attributes: torch.Tensor,
        graph: Neighbours,
        numbers: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return radial features (n_slots, n_basis) and, where it is kept apart, the cutoff.

        Parameters
        ----------
        embedding
            The plain model's radial embedding.
        attributes
            shape (n_atoms, n_elements): one-hot elements of the sorted atoms.
        numbers
            Atomic numbers of the model's elements.
        """
        if not self.plain:
            ends = torch.stack([graph.senders, graph.receivers])
            features, cutoff = embedding(lengths[:, None], attributes, ends, numbers)
            return features, None if cutoff is None else cutoff.squeeze(-1)
        basis, p = embedding.bessel_fn, self.power
        ratio = lengths / embedding.cutoff_fn.r_max
        inner = p * (p + 2.0) - (p * (p + 1.0) / 2) * ratio
        envelope = 1.0 + ratio.pow(p) * (inner * ratio - (p + 1.0) * (p + 2.0) / 2)
        height = basis.prefactor * envelope * (ratio < 1) / lengths
        waves = torch.sin(lengths[:, None] * basis.bessel_weights)
        return waves * height[:, None], None


def _is_plain(radial: Any) -> bool:
    """Whether it is Bessel functions times a polynomial cutoff, and nothing else."""
    return (
        type(radial) is blocks.RadialEmbeddingBlock
        and type(radial.bessel_fn) is BesselBasis
        and type(radial.cutoff_fn) is PolynomialCutoff
        and not hasattr(radial, "distance_transform")
        and getattr(radial, "apply_cutoff", True)
    )
