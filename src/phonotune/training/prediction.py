"""One forward pass of a model whose weights are given from outside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.func import functional_call

from phonotune.models.graphs import Batch, fresh
from phonotune.models.weight_updates import Tensors


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about a batch.

    Attributes
    ----------
    energy
        shape (n_graphs,), eV: interaction energy, that is without the atomic energies E0, whose
        size would eat the digits of a float32.
    forces
        shape (n_atoms, 3), eV/Å.
    stress
        shape (n_graphs, 3, 3), eV/Å^3, ASE's sign; None if not asked for.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor | None


def predict(
    model: torch.nn.Module,
    weights: Tensors,
    graph: Batch,
    *,
    stress: bool = False,
    differentiable: bool = False,
) -> Prediction:
    """Evaluate a batch with some of the model's parameters replaced.

    Parameters
    ----------
    model
        A plain ScaleShiftMACE.
    weights
        Effective parameters by name; all others are the model's own.
    graph
        A collated batch; it is not changed.
    stress
        Whether to differentiate with respect to strain as well.
    differentiable
        Whether forces and stress must be differentiable in the weights (training).
    """
    flags = {"training": differentiable, "compute_force": True, "compute_stress": stress}
    output = functional_call(model, dict(weights), (fresh(graph),), flags)
    energy, forces = output["interaction_energy"], output["forces"]
    virial = output["stress"] if stress else None
    if differentiable:
        return Prediction(energy, forces, virial)
    return Prediction(energy.detach(), forces.detach(), None if virial is None else virial.detach())


def forces_along(
    model: torch.nn.Module, weights: Tensors, graph: Batch, direction: torch.Tensor
) -> torch.Tensor:
    """Return the derivative of the forces along a displacement, differentiable in the weights.

    Parameters
    ----------
    direction
        shape (n_atoms, 3): the displacement.

    Returns
    -------
    shape (n_atoms, 3), eV/Å^2: ``-H @ direction``, H the second derivatives of the energy; one
    Hessian-vector product, no column of H is ever stored.
    """
    inputs = fresh(graph)
    positions = inputs["positions"]
    flags = {"training": True, "compute_force": True, "compute_stress": False}
    forces = functional_call(model, dict(weights), (inputs,), flags)["forces"]
    (result,) = torch.autograd.grad((forces * direction).sum(), positions, create_graph=True)
    return result
