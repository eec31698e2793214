"""The models that ship with the package: their architecture cards and hashes; nothing here loads torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from phonotune.errors import InputError
from phonotune.units import Angstrom, Dimensionless, ElectronVolt

SHIPPED: Final = ("mini", "teacher")
"""Their names. They are toys, for demos and tests, not for science."""

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
    pair_repulsion
        Whether the Ziegler-Biersack-Littmark repulsion of close pairs is added.
    distance_transform
        What maps a distance before the radial basis reads it.
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
    pair_repulsion: bool = False
    distance_transform: Literal["None", "Agnesi", "Soft"] = "None"


def shipped_paths(name: str, directory: Path) -> tuple[Path, Path]:
    """Return the safetensors file and the card of a shipped model; InputError if one is missing."""
    paths = directory / f"{name}.safetensors", directory / f"{name}.json"
    if not all(path.is_file() for path in paths):
        present = ", ".join(sorted(path.stem for path in directory.glob("*.json"))) or "none"
        raise InputError(
            f"No model named {name!r} is in {directory} (present: {present}). "
            "Rebuild the shipped ones with workflows/pretrain_toy_models.py export."
        )
    return paths


def load_card(name: str, directory: Path = WEIGHTS) -> ArchitectureCard:
    """Read the architecture card of a shipped model."""
    _, card_path = shipped_paths(name, directory)
    return ArchitectureCard.model_validate_json(card_path.read_text(encoding="utf-8"))


def shipped_sha256(name: str, directory: Path = WEIGHTS) -> str:
    """Hex sha256 over the safetensors file followed by the card's file."""
    digest = hashlib.sha256()
    for path in shipped_paths(name, directory):
        digest.update(path.read_bytes())
    return digest.hexdigest()
