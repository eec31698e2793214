"""A tiny random foundation, and frames of NaCl labelled by a perturbed copy of it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from phonotune.models.adapter import shift_energies
from phonotune.models.architecture import build_mace
from phonotune.models.evaluate import ModelEvaluator, torch_dtype
from phonotune.models.shipped import ArchitectureCard
from phonotune.schemas.dataset import DatasetDocument, Frame, pack_frames
from phonotune.schemas.training import FoundationRecord

RECORD = FoundationRecord(name="tiny", sha256="ab" * 32)


@pytest.fixture(scope="session")
def foundation_session(tiny_card: ArchitectureCard) -> torch.nn.Module:
    return build_mace(tiny_card, torch.float64, seed=7).eval()


@pytest.fixture
def foundation(
    foundation_session: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> torch.nn.Module:
    """The tiny model, found under the name ``tiny``; not to be changed."""

    def find(name: object, head: str | None = None) -> FoundationRecord:
        assert name == "tiny"
        return RECORD

    def load(record: FoundationRecord, dtype: str = "float64") -> torch.nn.Module:
        assert record == RECORD
        return copy.deepcopy(foundation_session).to(torch_dtype(dtype))

    monkeypatch.setattr("phonotune.training.finetune.find_foundation", find)
    monkeypatch.setattr("phonotune.training.finetune.load_foundation", load)
    monkeypatch.setattr("phonotune.models.load.load_foundation", load)
    return foundation_session


@pytest.fixture(scope="session")
def labelled(foundation_session: torch.nn.Module, tiny_card: ArchitectureCard) -> list[Frame]:
    """Six rattled, strained 8-atom cells, labelled by the foundation with noise on its weights."""
    reference = build_mace(tiny_card, torch.float64).eval()
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            base = foundation_session.get_parameter(name)
            noise = torch.randn(base.shape, generator=rng, dtype=base.dtype)
            parameter.copy_(base + 0.3 * noise)
    shift_energies(reference, {11: -0.7, 17: 1.9})
    structures = [_rattled(seed) for seed in range(6)]
    answers = ModelEvaluator(reference, "cpu")(structures)
    return [
        Frame(s, a.energy, a.forces, a.stress, group=str(i), origin="toy")
        for i, (s, a) in enumerate(zip(structures, answers, strict=True))
    ]


def _rattled(seed: int) -> Structure:
    rng = np.random.default_rng(seed)
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    strain = np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3))
    positions = (salt.cart_coords + rng.normal(scale=0.1, size=(8, 3))) @ strain
    cell = salt.lattice.matrix @ strain
    return Structure(cell, salt.species, positions, coords_are_cartesian=True)


@pytest.fixture
def dataset_of() -> Callable[..., DatasetDocument]:
    """Build a dataset of frames, the last `n_valid` of which validate."""

    def build(frames: list[Frame], n_valid: int = 2) -> DatasetDocument:
        n_train = len(frames) - n_valid
        data = pack_frames(frames)
        return DatasetDocument(
            formula="NaCl",
            dataset_hash=data.sha256,
            labeller="toy",
            train=list(range(n_train)),
            valid=list(range(n_train, len(frames))),
            n_duplicates=0,
            has_stress=100.0 * sum(f.stress is not None for f in frames) / len(frames),
            data=data,
        )

    return build


@pytest.fixture
def dataset(labelled: list[Frame], dataset_of: Callable[..., DatasetDocument]) -> DatasetDocument:
    """Four training and two validation frames."""
    return dataset_of(labelled)
