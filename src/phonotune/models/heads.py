"""One head of a multi-head MACE model, cut out as a plain model with one head.

Adapters, merged models, the fast forward, features and the forgetting probe then know nothing of heads.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from phonotune.errors import FoundationError
from phonotune.models.mace_parts import blocks, o3


def head_names(model: torch.nn.Module) -> tuple[str, ...]:
    """Return the names of the heads of a MACE model; models made before MACE had heads have ``Default``."""
    return tuple(getattr(model, "heads", None) or ("Default",))


def select_head(model: torch.nn.Module, head: str) -> torch.nn.Module:
    """Return a model that has one head of `model` and answers as it does, up to rounding.

    Parameters
    ----------
    model
        A multi-head MACE model; it is not changed, and shares with the result what its heads share.
    head
        One of :func:`head_names`.

    Raises
    ------
    FoundationError
        A readout is not known, so that its weights cannot be divided by heads.
    """
    heads = head_names(model)
    index = heads.index(head)
    single: Any = copy.copy(model)
    single._modules = dict(model._modules)
    single.heads = [head]
    energies = single.atomic_energies_fn = copy.deepcopy(single.atomic_energies_fn)
    energies.atomic_energies = energies.atomic_energies[index : index + 1].clone()
    if hasattr(single, "scale_shift"):
        single.scale_shift = copy.deepcopy(single.scale_shift)
        for name in ("scale", "shift"):
            value = getattr(single.scale_shift, name)
            if value.numel() > 1:
                setattr(single.scale_shift, name, value.reshape(-1)[index].clone())
    single.readouts = torch.nn.ModuleList(
        _readout(readout, index, len(heads)) for readout in single.readouts
    )
    single.readouts.train(model.training)
    selected: torch.nn.Module = single
    return selected


def _readout(readout: Any, head: int, n_heads: int) -> torch.nn.Module:
    """Return a readout of one head: linear, or a hidden layer (or two) in which each head has its own part."""
    kind = type(readout)
    like = next(readout.parameters())
    scalar = o3.Irreps("0e")
    with torch.random.fork_rng(devices=[]):
        if kind is blocks.LinearReadoutBlock:
            single = kind(readout.linear.irreps_in, scalar)
            maps = {"linear": (1, n_heads)}
        elif kind in (blocks.NonLinearReadoutBlock, blocks.NonLinearBiasReadoutBlock):
            activation = readout.non_linearity
            hidden = o3.Irreps([(readout.hidden_irreps.dim // n_heads, (0, 1))])
            single = kind(readout.linear_1.irreps_in, hidden, activation.acts[0].f, scalar)
            single.non_linearity.acts = activation.acts
            maps = {
                "linear_1": (1, n_heads),
                "linear_mid": (n_heads, n_heads),
                "linear_2": (n_heads, n_heads),
            }
        else:
            raise FoundationError(
                f"The heads of this model end in a {kind.__name__}, which cannot be divided. Give a file with "
                "one head, as mace_select_head writes it."
            )
    single.to(like.device, like.dtype)
    for name, (n_in, n_out) in maps.items():
        if hasattr(readout, name):
            _take(getattr(single, name), getattr(readout, name), head, n_in, n_out)
    divided: torch.nn.Module = single.requires_grad_(like.requires_grad)
    return divided


@torch.no_grad()
def _take(single: Any, whole: Any, head: int, n_in: int, n_out: int) -> None:
    """Copy a head's part of an ``o3.Linear`` whose inputs and outputs are divided by heads.

    e3nn divides a path by the root of its number of inputs, which is smaller for one head.
    """
    weights, biases = [], []
    start = {True: 0, False: 0}
    for mine, path in zip(single.instructions, whole.instructions, strict=True):
        is_bias = path.i_in == -1
        flat = whole.bias if is_bias else whole.weight
        size = torch.Size(path.path_shape).numel()
        block = flat[start[is_bias] : start[is_bias] + size]
        start[is_bias] += size
        if is_bias:
            biases.append(block.view(n_out, -1)[head % n_out])
            continue
        rows, columns = path.path_shape
        divided = block.view(n_in, rows // n_in, n_out, columns // n_out)
        part = divided[head % n_in, :, head % n_out]
        weights.append((part * (path.path_weight / mine.path_weight)).reshape(-1))
    single.weight.copy_(torch.cat(weights))
    if biases:
        single.bias.copy_(torch.cat(biases))
