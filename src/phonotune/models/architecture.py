"""MACE models described by a small JSON card and stored without a pickle.

A model is an :class:`ArchitectureCard` (everything that is chosen or read off the training data) and
its learned parameters (safetensors). :func:`build_mace` rebuilds the module from the card alone;
constants such as Clebsch-Gordan coefficients are recomputed, never stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import mace.modules  # before e3nn
import numpy as np
import torch
from e3nn import o3
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save

from phonotune.errors import FoundationError, InputError
from phonotune.files import write_atomically
from phonotune.units import Angstrom, Dimensionless, ElectronVolt

WEIGHTS: Final[Path] = Path(__file__).parent / "weights"
"""Directory of the models that ship with the package."""

InteractionName = Literal[
    "RealAgnosticInteractionBlock",
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
]


class ArchitectureCard(BaseModel):
    """Everything needed to rebuild a ScaleShiftMACE, except its learned parameters.

    Attributes
    ----------
    elements
        Atomic numbers, ascending; the order of the one-hot node attributes.
    cutoff_p
        Order of the polynomial cutoff.
    hidden_irreps, readout_irreps
        e3nn's notation, e.g. ``32x0e+32x1o`` and ``16x0e``.
    atomic_energies
        One E0 in eV per element, in the order of `elements`; part of every total energy.
    scale, shift
        Interaction energy of an atom = scale * readout + shift (both eV).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["phonotune-mace-1"] = "phonotune-mace-1"
    name: str
    trained_on: str
    elements: tuple[int, ...] = Field(min_length=1)
    r_max: Angstrom
    num_radial: int
    cutoff_p: int
    l_max: int
    hidden_irreps: str
    readout_irreps: str
    radial_mlp: tuple[int, ...]
    correlation: int
    num_interactions: int
    interaction: InteractionName
    first_interaction: InteractionName
    avg_num_neighbors: Dimensionless
    atomic_energies: tuple[ElectronVolt, ...]
    scale: ElectronVolt
    shift: ElectronVolt
    heads: tuple[str, ...] = ("Default",)


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
        "interaction_cls": mace.modules.interaction_classes[card.interaction],
        "interaction_cls_first": mace.modules.interaction_classes[card.first_interaction],
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
        model: torch.nn.Module = mace.modules.ScaleShiftMACE(**_mace_arguments(card))
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
    from mace.tools.scripts_utils import extract_config_mace_model

    arguments = extract_config_mace_model(model)
    if "error" in arguments or type(model) is not mace.modules.ScaleShiftMACE:
        raise FoundationError(
            f"A {type(model).__name__} cannot be built anew from its file; only ScaleShiftMACE can. "
            "Choose another foundation model, or a strategy that starts from the foundation."
        )
    arguments["atomic_numbers"] = model.get_buffer("atomic_numbers").tolist()
    dtype = next(model.parameters()).dtype
    with _default_dtype(dtype), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh: torch.nn.Module = mace.modules.ScaleShiftMACE(**arguments)
        if _shapes(fresh) != _shapes(model):  # the symmetric product's basis: see _mace_arguments
            torch.manual_seed(seed)
            arguments["use_reduced_cg"] = not arguments["use_reduced_cg"]
            fresh = mace.modules.ScaleShiftMACE(**arguments)
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


def _shipped_paths(name: str, directory: Path) -> tuple[Path, Path]:
    paths = directory / f"{name}.safetensors", directory / f"{name}.json"
    if not all(path.is_file() for path in paths):
        present = ", ".join(sorted(path.stem for path in directory.glob("*.json"))) or "none"
        raise InputError(
            f"No model named {name!r} is in {directory} (present: {present}). "
            "Rebuild the shipped ones with workflows/pretrain_toy_models.py export."
        )
    return paths


def shipped_names(directory: Path = WEIGHTS) -> tuple[str, ...]:
    """Names of the models in `directory` that have both files."""
    stems = (path.stem for path in directory.glob("*.json"))
    return tuple(sorted(s for s in stems if (directory / f"{s}.safetensors").is_file()))


def load_card(name: str, directory: Path = WEIGHTS) -> ArchitectureCard:
    """Read the architecture card of a shipped model."""
    _, card_path = _shipped_paths(name, directory)
    return ArchitectureCard.model_validate_json(card_path.read_text(encoding="utf-8"))


def load_shipped(
    name: str, dtype: torch.dtype = torch.float64, directory: Path = WEIGHTS
) -> torch.nn.Module:
    """Load a shipped model in evaluation mode on the CPU.

    Every parameter must be present, none unexpected and all of the right shape.
    """
    weights_path, _ = _shipped_paths(name, directory)
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


def shipped_sha256(name: str, directory: Path = WEIGHTS) -> str:
    """Hex sha256 over the safetensors file followed by the card's file."""
    digest = hashlib.sha256()
    for path in _shipped_paths(name, directory):
        digest.update(path.read_bytes())
    return digest.hexdigest()
