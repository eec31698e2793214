"""Adapters: how a fine-tuned model is stored, named, loaded and merged into a plain MACE model.

A model is its foundation's name and sha256 plus an adapter (safetensors with a JSON header).
Loading one reads no pickle of ours and gives a plain MACE module.
"""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from phonotune.errors import InputError
from phonotune.models.foundation import find_foundation, foundation_names, load_foundation
from phonotune.models.weight_updates import EffectiveWeights, Tensors, WeightUpdate, element_rows
from phonotune.schemas.base import hash_json
from phonotune.schemas.blob import Blob, join_blobs
from phonotune.schemas.training import FoundationRecord, ModelRecord

FORMAT: Final = "phonotune-adapter-1"
MODEL_FILE: Final = "model.json"
ADAPTER_FILE: Final = "adapter.safetensors"


@dataclass(frozen=True, eq=False)
class Adapter:
    """What a fine-tuning changed.

    Attributes
    ----------
    terms
        Which weights change, and in which form.
    tensors
        Trained tensors of the terms, by name.
    energy_shifts
        Shift of the atomic energy (eV) by atomic number, for the elements of the material.
    """

    terms: tuple[WeightUpdate, ...]
    tensors: Tensors
    energy_shifts: Mapping[int, float] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return safetensors with the terms in the header; equal adapters give equal bytes."""
        header = {
            "format": FORMAT,
            "terms": [term.model_dump(mode="json") for term in self.terms],
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
            The bytes are no adapter, or its tensors do not fit its terms.
        """
        try:
            (size,) = struct.unpack("<Q", content[:8])
            metadata = json.loads(content[8 : 8 + size])["__metadata__"]
            header = json.loads(metadata["phonotune"])
            tensors = load(content)
        except (struct.error, ValueError, KeyError, SafetensorError) as error:
            raise InputError(
                f"These {len(content)} bytes are no phonotune adapter ({error}). Allowed is the "
                f"{ADAPTER_FILE} that a fine-tuning wrote; take it from there again."
            ) from error
        if header.get("format") != FORMAT:
            raise InputError(
                f"The adapter has format {header.get('format')!r}; this version reads {FORMAT!r}. "
                "Use the phonotune version that wrote it, or train again."
            )
        terms = tuple(WeightUpdate.model_validate(term) for term in header["terms"])
        _check_shapes(terms, tensors)
        shifts = {int(z): float(shift) for z, shift in header["energy_shifts"].items()}
        return cls(terms, tensors, shifts)


def _check_shapes(terms: tuple[WeightUpdate, ...], tensors: Tensors) -> None:
    expected = {name: shape for term in terms for name, shape in term.shapes().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wrong := sorted(
        n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n)
    ):
        raise InputError(
            f"The adapter's tensor {wrong[0]!r} has shape {found.get(wrong[0])}, its terms say "
            f"{expected.get(wrong[0])} ({len(wrong)} tensors differ). Train again; it is damaged."
        )


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
    return _merge_into(copy.deepcopy(model), adapter)


def _merge_into(model: torch.nn.Module, adapter: Adapter) -> torch.nn.Module:
    """Add the adapter to the weights of a model of one's own, and return it."""
    parameters = dict(model.named_parameters())
    for term in adapter.terms:
        found = parameters.get(term.block.parameter)
        if found is None or int(term.block.positions().max()) >= found.numel():
            raise InputError(
                f"The adapter changes {term.block.key!r}, which this foundation does not have. "
                "Load it with the foundation model that it was trained on."
            )
    tensors = {
        k: v.detach().to(next(iter(parameters.values()))) for k, v in adapter.tensors.items()
    }
    with torch.no_grad():
        for name, weight in EffectiveWeights(model, adapter.terms)(tensors).items():
            parameters[name].copy_(weight)
        shift_energies(model, adapter.energy_shifts)
    return model


def model_record(
    foundation: FoundationRecord,
    strategy: str | None = None,
    adapters: Sequence[bytes] = (),
    dataset_hash: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> ModelRecord:
    """Name a model: ``model_id`` is the sha256 over everything that determines it.

    Parameters
    ----------
    foundation
        Name and sha256 of the foundation; alone, the record is that of the untuned model.
    strategy, dataset_hash, config
        Of a fine-tuned model; `config` is the resolved configuration.
    adapters
        What :meth:`Adapter.to_bytes` gave, one a member.
    """
    identity = {
        "foundation": foundation.sha256,
        "strategy": strategy,
        "adapters": [hashlib.sha256(content).hexdigest() for content in adapters],
        "dataset": dataset_hash,
        "config": dict(config or {}),
    }
    return ModelRecord(
        model_id=hash_json(identity),
        foundation=foundation,
        strategy=strategy,
        dataset_hash=dataset_hash,
        config=dict(config or {}),
        adapters=tuple(Blob.split(content, "safetensors") for content in adapters),
    )


def adapter_file(member: int) -> str:
    """Name of the file of a member's adapter, counted from 0."""
    return ADAPTER_FILE if member == 0 else f"adapter-{member + 1}.safetensors"


def read_adapters(record: ModelRecord) -> list[Adapter]:
    """Return the adapters of a record, one a member; none for a foundation."""
    return [Adapter.from_bytes(join_blobs(parts)) for parts in record.adapters]


def read_model_directory(path: Path | str) -> ModelRecord:
    """Read the model that ``finetune -o DIR`` wrote.

    Raises
    ------
    InputError
        A file is missing or damaged, or the adapter is not the one that ``model.json`` names.
    """
    directory = Path(path)
    try:
        content = json.loads((directory / MODEL_FILE).read_text(encoding="utf-8"))
        members = range(content.get("members", 1))
        adapters = [(directory / adapter_file(i)).read_bytes() for i in members]
        record = model_record(
            FoundationRecord.model_validate(content["foundation"]),
            content["strategy"],
            adapters,
            content["dataset_hash"],
            content["config"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{directory} is no model directory ({error}). It must hold {MODEL_FILE} and "
            f"{ADAPTER_FILE} as `phonotune finetune -o` writes them."
        ) from error
    if record.model_id != content.get("model_id"):
        raise InputError(
            f"{directory / ADAPTER_FILE} does not belong to {MODEL_FILE}: the model_id differs. Take "
            "both files from the same fine-tuning."
        )
    return record


def find_model(model: ModelRecord | str | Path) -> ModelRecord:
    """Return the record of a model directory, a foundation's name or a foundation's file.

    Raises
    ------
    InputError
        Nothing of that name is known, or it is damaged.
    """
    if isinstance(model, ModelRecord):
        return model
    if str(model) not in foundation_names() and Path(model).is_dir():
        return read_model_directory(model)
    return model_record(find_foundation(model))


def load_model(model: ModelRecord | str | Path, dtype: str = "float64") -> torch.nn.Module:
    """Load a model as a plain MACE module on the CPU, the adapter merged.

    Parameters
    ----------
    model
        A record, a model directory, a foundation's name or a foundation's file.
    dtype
        ``"float64"`` or ``"float32"``.

    Raises
    ------
    FoundationError
        The foundation cannot be had here, or is not the one that the model was tuned from.
    InputError
        The model is a committee.
    """
    members = load_members(model, dtype)
    if len(members) > 1:
        raise InputError(
            f"{find_model(model).label} is a committee of {len(members)} models, one is wanted. "
            "Use its members one by one (`phonotune merge` writes one file a member)."
        )
    return members[0]


def load_members(model: ModelRecord | str | Path, dtype: str = "float64") -> list[torch.nn.Module]:
    """Load every member of a model as :func:`load_model` does; a model that is no committee has one."""
    record = find_model(model)
    adapters = read_adapters(record)
    if not adapters:
        return [load_foundation(record.foundation, dtype)]
    return [_merge_into(load_foundation(record.foundation, dtype), own) for own in adapters]
