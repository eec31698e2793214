"""A faster forward of MACE for training and evaluation: the same parameters, the same answers.

:func:`accelerate` keeps the modules of a plain ``ScaleShiftMACE``, hence the names, shapes and flat
layout of all parameters, and reads them in a forward of its own made of few, large products. It
differs from the plain forward by rounding only.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch

from phonotune.models.fast.blocks import FastLayer, FastReadout, Geometry
from phonotune.models.fast.geometry import FastGeometry, forces_of, neighbour_vectors, stress_of
from phonotune.models.fast.graph import Neighbours
from phonotune.models.fast.layers import Parts, matrices
from phonotune.models.fast.tables import NotCovered, linear_paths, require
from phonotune.models.mace_parts import ScaleShiftMACE, copy_without_code

Output = dict[str, torch.Tensor | None]
"""``energy``, ``interaction_energy``, ``node_energy``, ``forces`` and ``stress`` as of plain MACE."""


def accelerate(
    model: torch.nn.Module,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> torch.nn.Module:
    """Return a copy of a MACE model with a faster forward, or a plain copy of what is not known.

    Parameters
    ----------
    model
        A plain MACE module; it is not changed.
    device, dtype
        Of the copy; by default those of the model.

    Returns
    -------
    torch.nn.Module
        Parameters have the names of `model`'s. The forward takes a collated batch and
        ``training``, ``compute_force`` and ``compute_stress``; see :data:`Output`. Known are
        the four agnostic interaction blocks (residual or not, density or not) with correlations up
        to 3, every radial embedding, pair repulsion and several heads.
    """
    try:
        return FastMACE(copy_without_code(model).to(device, dtype))
    except NotCovered:
        return copy.deepcopy(model).to(device, dtype)


class FastMACE(torch.nn.Module):
    """The modules of a ``ScaleShiftMACE`` with a forward of its own; made by :func:`accelerate`.

    Raises
    ------
    NotCovered
        The model has a part that this forward does not know.
    """

    def __init__(self, plain: Any) -> None:
        super().__init__()
        require(type(plain) is ScaleShiftMACE, f"a {type(plain).__name__}")
        require(not hasattr(plain, "joint_embedding"), "an embedding of more than elements")
        for name, child in plain.named_children():
            self.add_module(name, child)
        for name, value in plain.named_buffers(recurse=False):
            self.register_buffer(name, value)
        self.heads = list(getattr(plain, "heads", None) or ["Default"])
        self.repels = hasattr(plain, "pair_repulsion")
        self.train(plain.training)
        like = next(plain.parameters())
        n_elements = len(plain.atomic_numbers)
        self.fast_embedding = linear_paths(plain.node_embedding.linear)
        self.fast_geometry = FastGeometry(plain.spherical_harmonics, plain.radial_embedding, like)
        self.fast_layers = torch.nn.ModuleList(
            FastLayer(interaction, product, n_elements, place == 0, like)
            for place, (interaction, product) in enumerate(
                zip(plain.interactions, plain.products, strict=True)
            )
        )
        self.fast_readouts = torch.nn.ModuleList(FastReadout(r) for r in plain.readouts)

    def forward(
        self,
        data: Mapping[str, torch.Tensor],
        training: bool = False,
        compute_force: bool = True,
        compute_stress: bool = False,
    ) -> Output:
        """Evaluate a batch.

        As plain MACE does, `training` switches the gradient of the batch's positions on, so that
        forces can be differentiated by them; nothing else of the batch is changed.

        Parameters
        ----------
        data
            A collated batch (:func:`phonotune.models.graphs.collate`).
        training
            Whether forces and stress are to be differentiable in the weights.
        compute_force, compute_stress
            What to compute besides the energy.
        """
        if training:
            data["positions"].requires_grad_()
        graph = Neighbours.of(data)
        vectors = neighbour_vectors(data, graph)
        owner, n_graphs = data["batch"], len(data["ptr"]) - 1
        heads = data["head"][owner] if "head" in data else torch.zeros_like(owner)
        per_atom = self._energies(data, vectors, heads[graph.order], graph)
        inner = per_atom.new_zeros(n_graphs).index_add(0, owner[graph.order], per_atom)
        modules = cast("Any", self)
        own = modules.atomic_energies_fn(data["node_attrs"]).gather(1, heads[:, None]).squeeze(1)
        output: Output = {
            "energy": own.new_zeros(n_graphs).index_add(0, owner, own) + inner,
            "interaction_energy": inner,
            "node_energy": own.double() + per_atom[graph.rank].double(),
            "forces": None,
            "stress": None,
        }
        if compute_force or compute_stress:
            (gradient,) = torch.autograd.grad(
                [inner.sum()], [vectors], retain_graph=training, create_graph=training
            )
            output["forces"] = forces_of(gradient, graph)
            if compute_stress:
                output["stress"] = stress_of(gradient, vectors, data, graph)
        return output

    def _energies(
        self,
        data: Mapping[str, torch.Tensor],
        vectors: torch.Tensor,
        heads: torch.Tensor,
        graph: Neighbours,
    ) -> torch.Tensor:
        """Return the interaction energies of the sorted atoms, shape (n_atoms,), eV."""
        modules = cast("Any", self)
        lengths = vectors.square().sum(0).sqrt()
        attributes = data["node_attrs"][graph.order]
        geometry = self._geometry(attributes, vectors, lengths, graph)
        layers: list[Parts] = []
        parts: Parts = [self._embedding(graph)]
        for layer, *plain in zip(
            self.fast_layers, modules.interactions, modules.products, strict=True
        ):
            parts = layer(*plain, parts, geometry)
            layers.append(parts)
        if len(self.fast_readouts) == 1:
            layers = layers[-1:]
        energies = self._repulsion(attributes, lengths, graph)
        for readout, plain, parts in zip(self.fast_readouts, modules.readouts, layers, strict=True):
            energies = energies + readout(plain, parts, heads)
        shifted: torch.Tensor = modules.scale_shift(energies, heads)
        return shifted

    def _embedding(self, graph: Neighbours) -> torch.Tensor:
        """Return the first features of the elements present, shape (1, n_present, channels)."""
        weight = cast("Any", self).node_embedding.linear.weight
        (matrix,) = matrices(weight, self.fast_embedding)
        return matrix.index_select(0, graph.present)[None]

    def _repulsion(
        self, attributes: torch.Tensor, lengths: torch.Tensor, graph: Neighbours
    ) -> torch.Tensor:
        """Return the pair repulsion of the sorted atoms; empty slots are given to one atom more."""
        modules = cast("Any", self)
        if not self.repels:
            return torch.zeros_like(attributes[:, 0])
        receivers = graph.receivers
        if graph.filled is not None:
            receivers = torch.where(graph.filled, receivers, graph.n_atoms)
        ends = torch.stack([graph.senders, receivers])
        more = torch.cat([attributes, attributes[:1]])
        numbers = modules.atomic_numbers
        energies: torch.Tensor = modules.pair_repulsion_fn(lengths[:, None], more, ends, numbers)
        return energies[:-1]

    def _geometry(
        self,
        attributes: torch.Tensor,
        vectors: torch.Tensor,
        lengths: torch.Tensor,
        graph: Neighbours,
    ) -> Geometry:
        modules = cast("Any", self)
        features, factor = self.fast_geometry.radial(
            modules.radial_embedding, lengths, attributes, graph, modules.atomic_numbers
        )
        harmonics = self.fast_geometry.harmonics(vectors, lengths)
        if graph.filled is not None:
            filled = graph.filled.to(lengths.dtype)
            factor = filled if factor is None else factor * filled
        if factor is not None:
            harmonics = harmonics * factor
        table = (
            harmonics.view(len(harmonics), graph.n_atoms, graph.width).transpose(0, 1).contiguous()
        )
        return Geometry(features, table, factor, graph)
