"""MACE models described by a small JSON card and stored without a pickle.

A model is an :class:`ArchitectureCard` (everything that is chosen or read off the training data) and
its learned parameters (safetensors). :func:`build_mace` rebuilds the module from the card alone;
constants such as Clebsch-Gordan coefficients are recomputed, never stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from phonotune.errors import FoundationError, InputError
from phonotune.files import write_atomically
from phonotune.models.mace_parts import (
    ScaleShiftMACE,
    interaction_classes,
    o3,
    read_architecture,
)
from phonotune.models.shipped import WEIGHTS, ArchitectureCard, load_card, shipped_paths


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _mace_arguments(card: ArchitectureCard) -> dict[str, Any]:
    return {
        "r_max": card.r_max,
        "num_bessel": card.num_radial,
        "num_polynomial_cutoff": card.cutoff_p,
        "max_ell": card.l_max,
        "interaction_cls": interaction_classes[card.interaction],
        "interaction_cls_first": interaction_classes[card.first_interaction],
        "num_interactions": card.num_interactions,
        "num_elements": len(card.elements),
        "hidden_irreps": o3.Irreps(card.hidden_irreps),
        "MLP_irreps": o3.Irreps(card.readout_irreps),
        "atomic_energies": np.array(card.atomic_energies, dtype=np.float64),
        "avg_num_neighbors": card.avg_num_neighbors,
        "atomic_numbers": list(card.elements),
        "correlation": card.correlation,
        "gate": torch.nn.functional.silu,
        "radial_MLP": list(card.radial_mlp),
        "heads": list(card.heads),
        "atomic_inter_scale": card.scale,
        "atomic_inter_shift": card.shift,
        "pair_repulsion": card.pair_repulsion,
        "distance_transform": card.distance_transform,
        # MACE's default depends on whether cuequivariance is installed; the stored weights do not.
        "use_reduced_cg": False,
    }


def build_mace(
    card: ArchitectureCard, dtype: torch.dtype = torch.float64, seed: int = 0
) -> torch.nn.Module:
    """Build the card's ScaleShiftMACE with random parameters; reads no file.

    Parameters
    ----------
    card
        The architecture.
    dtype
        Floating-point type of parameters and buffers.
    seed
        Seed of the initial parameters; torch's own random state is left as it was.
    """
    with _default_dtype(dtype), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: torch.nn.Module = ScaleShiftMACE(**_mace_arguments(card))
    return model.to(dtype)


def fresh_like(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Return a model of the same architecture with random parameters, dtype and normalisation kept.

    Parameters
    ----------
    model
        A ScaleShiftMACE.
    seed
        Seed of the parameters; torch's own random state is left as it was.

    Raises
    ------
    FoundationError
        The model is of another class, whose architecture cannot be read off it.
    """
    arguments = read_architecture(model)
    if "error" in arguments or type(model) is not ScaleShiftMACE:
        raise FoundationError(
            f"A {type(model).__name__} cannot be built anew from its file; only ScaleShiftMACE can. "
            "Choose another foundation model, or a strategy that starts from the foundation."
        )
    arguments["atomic_numbers"] = model.get_buffer("atomic_numbers").tolist()
    dtype = next(model.parameters()).dtype
    with _default_dtype(dtype), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh: torch.nn.Module = ScaleShiftMACE(**arguments)
        if _shapes(fresh) != _shapes(model):  # the symmetric product's basis: see _mace_arguments
            torch.manual_seed(seed)
            arguments["use_reduced_cg"] = not arguments["use_reduced_cg"]
            fresh = ScaleShiftMACE(**arguments)
    if _shapes(fresh) != _shapes(model):
        raise FoundationError(
            "The foundation's architecture could not be built anew: its weights have other shapes. "
            "Install cuequivariance if it was trained with it, or choose another strategy."
        )
    return fresh.to(dtype)


def _shapes(model: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def save_shipped(model: torch.nn.Module, card: ArchitectureCard, directory: Path) -> None:
    """Write ``<name>.safetensors`` (float32 parameters) and ``<name>.json`` into `directory`.

    Each file is replaced atomically. Buffers are not stored: the card determines them.
    """
    tensors = {
        key: value.detach().to("cpu", torch.float32).contiguous()
        for key, value in model.named_parameters()
    }
    write_atomically(directory / f"{card.name}.json", card.model_dump_json(indent=1) + "\n")
    write_atomically(directory / f"{card.name}.safetensors", save(tensors))


def load_shipped(
    name: str, dtype: torch.dtype = torch.float64, directory: Path = WEIGHTS
) -> torch.nn.Module:
    """Load a shipped model in evaluation mode on the CPU.

    Every parameter must be present, none unexpected and all of the right shape.
    """
    weights_path, _ = shipped_paths(name, directory)
    model = build_mace(load_card(name, directory), dtype)
    tensors = load_file(weights_path)
    parameters = dict(model.named_parameters())
    if wrong := sorted(set(tensors) ^ set(parameters)):
        raise InputError(
            f"{weights_path} does not belong to its card: {len(wrong)} tensors are missing or "
            f"unexpected, the first is {wrong[0]!r}. Take both files from the same export."
        )
    with torch.no_grad():
        for key, parameter in parameters.items():
            if parameter.shape != tensors[key].shape:
                raise InputError(
                    f"{weights_path}: {key!r} has shape {tuple(tensors[key].shape)}, its card says "
                    f"{tuple(parameter.shape)}. Take both files from the same export."
                )
            parameter.copy_(tensors[key])
    return model.eval()
