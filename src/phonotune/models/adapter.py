"""Adapters: how a fine-tuned model is stored, named, loaded and merged into a plain MACE model.

A model is its foundation's name and sha256 plus an adapter (safetensors with a JSON header).
Loading one reads no pickle of ours and gives a plain MACE module.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from phonotune.errors import InputError
from phonotune.models.records import ADAPTER_FILE
from phonotune.models.weight_updates import EffectiveWeights, Tensors, WeightUpdate, element_rows
from phonotune.schemas.blob import join_blobs
from phonotune.schemas.training import ModelRecord

FORMAT: Final = "phonotune-adapter-1"


@dataclass(frozen=True, eq=False)
class Adapter:
    """What a fine-tuning changed.

    Attributes
    ----------
    updates
        Which weights change, and in which form.
    tensors
        Trained tensors of the updates, by name.
    energy_shifts
        Shift of the atomic energy (eV) by atomic number, for the elements of the material.
    """

    updates: tuple[WeightUpdate, ...]
    tensors: Tensors
    energy_shifts: Mapping[int, float] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return safetensors with the updates in the header; equal adapters give equal bytes."""
        header = {
            "format": FORMAT,
            "terms": [update.model_dump(mode="json") for update in self.updates],
            "energy_shifts": {str(z): shift for z, shift in sorted(self.energy_shifts.items())},
        }
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.tensors.items()}
        return save(tensors, metadata={"phonotune": json.dumps(header, sort_keys=True)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Adapter:
        """Read an adapter.

        Raises
        ------
        InputError
            The bytes are not an adapter, or its tensors do not fit its updates.
        """
        try:
            (size,) = struct.unpack("<Q", content[:8])
            metadata = json.loads(content[8 : 8 + size])["__metadata__"]
            header = json.loads(metadata["phonotune"])
            tensors = load(content)
        except (struct.error, ValueError, KeyError, SafetensorError) as error:
            raise InputError(
                f"These {len(content)} bytes are not a phonotune adapter ({error}). Allowed is the "
                f"{ADAPTER_FILE} that a fine-tuning wrote; take it from there again."
            ) from error
        if header.get("format") != FORMAT:
            raise InputError(
                f"The adapter has format {header.get('format')!r}; this version reads {FORMAT!r}. "
                "Use the phonotune version that wrote it, or train again."
            )
        updates = tuple(WeightUpdate.model_validate(update) for update in header["terms"])
        expected = {name: shape for update in updates for name, shape in update.shapes().items()}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if wrong := sorted(
            n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n)
        ):
            raise InputError(
                f"The adapter's tensor {wrong[0]!r} has shape {found.get(wrong[0])}, its header says "
                f"{expected.get(wrong[0])} ({len(wrong)} tensors differ). Train again; it is damaged."
            )
        shifts = {int(z): float(shift) for z, shift in header["energy_shifts"].items()}
        return cls(updates, tensors, shifts)


def atomic_energies(model: torch.nn.Module) -> torch.Tensor:
    """Return the atomic energies E0 (eV), shape (n_heads, n_elements); a view, not a copy."""
    energies = model.get_buffer("atomic_energies_fn.atomic_energies")
    return energies if energies.ndim == 2 else energies[None]


def shift_energies(model: torch.nn.Module, shifts: Mapping[int, float]) -> None:
    """Add a shift (eV by atomic number) to the atomic energies of every head, in place."""
    energies = atomic_energies(model)
    for z, shift in shifts.items():
        energies[:, element_rows(model, [z])[0]] += shift


def merge(model: torch.nn.Module, adapter: Adapter) -> torch.nn.Module:
    """Return a copy of the foundation with the adapter added to its weights: a plain MACE model.

    Raises
    ------
    InputError
        The adapter belongs to a model of another shape.
    """
    return merge_into(copy.deepcopy(model), adapter)


def merge_into(model: torch.nn.Module, adapter: Adapter) -> torch.nn.Module:
    """Add the adapter to the weights of a model of one's own, and return it."""
    parameters = dict(model.named_parameters())
    for update in adapter.updates:
        found = parameters.get(update.block.parameter)
        if found is None or int(update.block.positions().max()) >= found.numel():
            raise InputError(
                f"The adapter changes {update.block.key!r}, which this foundation does not have. "
                "Load it with the foundation model that it was trained on."
            )
    tensors = {
        k: v.detach().to(next(iter(parameters.values()))) for k, v in adapter.tensors.items()
    }
    with torch.no_grad():
        for name, weight in EffectiveWeights(model, adapter.updates)(tensors).items():
            parameters[name].copy_(weight)
        shift_energies(model, adapter.energy_shifts)
    return model


def read_adapters(record: ModelRecord) -> list[Adapter]:
    """Return the adapters of a record, one per member; none for a foundation."""
    return [Adapter.from_bytes(join_blobs(parts)) for parts in record.adapters]
