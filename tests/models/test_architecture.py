"""A model's card and parameters rebuild it exactly, and a wrong file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ase.build import bulk
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from phonotune.errors import InputError
from phonotune.models.architecture import build_mace, load_shipped, save_shipped
from phonotune.models.shipped import ArchitectureCard, load_card, shipped_sha256


@pytest.fixture(scope="module")
def card() -> ArchitectureCard:
    """A very small architecture for Na and Cl."""
    residual = "RealAgnosticResidualInteractionBlock"
    return ArchitectureCard(
        name="tiny",
        trained_on="nothing",
        elements=(11, 17),
        r_max=4.0,
        num_radial=4,
        cutoff_p=5,
        l_max=1,
        hidden_irreps="4x0e+4x1o",
        readout_irreps="4x0e",
        radial_mlp=(8,),
        correlation=2,
        num_interactions=2,
        interaction=residual,
        first_interaction=residual,
        avg_num_neighbors=11.3,
        atomic_energies=(-1.234567890123, -2.5),
        scale=0.7,
        shift=0.1,
    )


@pytest.fixture(scope="module")
def built(card: ArchitectureCard) -> torch.nn.Module:
    return build_mace(card, torch.float32, seed=3)


@pytest.fixture
def saved(built: torch.nn.Module, card: ArchitectureCard, tmp_path: Path) -> torch.nn.Module:
    """A float32 model saved as ``tiny`` in tmp_path; not to be changed."""
    save_shipped(built, card, tmp_path)
    return built


def interaction_energy(model: torch.nn.Module, dtype: torch.dtype) -> torch.Tensor:
    """Interaction energy, eV, and forces, eV/Å, of a rattled rocksalt cell, as one flat tensor."""
    from mace import data
    from mace.tools import AtomicNumberTable, torch_geometric

    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.05, seed=1)
    graph = data.AtomicData.from_config(
        data.config_from_atoms(atoms), z_table=AtomicNumberTable([11, 17]), cutoff=4.0
    )
    batch = torch_geometric.Batch.from_data_list([graph]).to_dict()
    batch = {
        key: value.to(dtype) if torch.is_floating_point(value) else value
        for key, value in batch.items()
        if isinstance(value, torch.Tensor)
    }
    answer = model(batch)
    return torch.cat([answer["interaction_energy"], answer["forces"].flatten()]).detach()


def test_a_loaded_model_answers_exactly_as_the_saved_one(
    saved: torch.nn.Module, tmp_path: Path
) -> None:
    loaded = load_shipped("tiny", torch.float32, tmp_path)
    expected = interaction_energy(saved, torch.float32)
    assert torch.equal(interaction_energy(loaded, torch.float32), expected)
    assert expected.abs().max() > 1e-4


def test_double_precision_changes_the_answer_by_rounding_only(
    saved: torch.nn.Module, tmp_path: Path
) -> None:
    loaded = load_shipped("tiny", directory=tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float64}
    single = interaction_energy(saved, torch.float32).double()
    torch.testing.assert_close(
        interaction_energy(loaded, torch.float64), single, atol=1e-5, rtol=1e-4
    )


def test_the_card_survives_its_file(
    saved: torch.nn.Module, card: ArchitectureCard, tmp_path: Path
) -> None:
    assert load_card("tiny", tmp_path) == card
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.json", "tiny.safetensors"}


def test_the_blocks_of_later_foundations_come_back_from_their_card(
    card: ArchitectureCard, tmp_path: Path
) -> None:
    changes = {
        "interaction": "RealAgnosticDensityResidualInteractionBlock",
        "first_interaction": "RealAgnosticDensityInteractionBlock",
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    }
    later = ArchitectureCard.model_validate(card.model_dump() | changes)
    model = build_mace(later, torch.float32, seed=3)
    save_shipped(model, later, tmp_path)
    loaded = load_shipped("tiny", torch.float32, tmp_path)
    expected = interaction_energy(model, torch.float32)
    assert torch.equal(interaction_energy(loaded, torch.float32), expected)
    for change in ("distance_transform", "pair_repulsion"):
        other = build_mace(
            later.model_copy(update={change: getattr(card, change)}), torch.float32, seed=3
        )
        assert not torch.allclose(interaction_energy(other, torch.float32), expected)


def test_building_leaves_torch_as_it_was_and_depends_on_the_seed(card: ArchitectureCard) -> None:
    before = torch.get_default_dtype(), torch.random.get_rng_state()
    first, again, other = (build_mace(card, seed=seed) for seed in (1, 1, 2))
    assert torch.get_default_dtype() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])
    vectors = [torch.nn.utils.parameters_to_vector(m.parameters()) for m in (first, again, other)]
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


def test_atomic_energies_keep_their_double_precision(card: ArchitectureCard) -> None:
    model = build_mace(card)
    assert model.atomic_energies_fn.atomic_energies.flatten().tolist() == list(card.atomic_energies)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_parameters_that_do_not_belong_to_the_card_are_refused(
    saved: torch.nn.Module, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "tiny.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    if change == "unexpected":
        tensors["stray"] = torch.zeros(1)
    else:
        value = tensors.pop(name)
        if change == "shape":
            tensors[name] = torch.zeros(value.numel() + 1)
    save_file(tensors, path)
    with pytest.raises(InputError, match="stray" if change == "unexpected" else name):
        load_shipped("tiny", directory=tmp_path)


def test_an_unknown_name_is_answered_with_what_is_there(
    saved: torch.nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"'huge'.*present: tiny"):
        load_shipped("huge", directory=tmp_path)


def test_the_hash_covers_both_files(saved: torch.nn.Module, tmp_path: Path) -> None:
    before = shipped_sha256("tiny", tmp_path)
    assert len(before) == 64
    card_path = tmp_path / "tiny.json"
    card_path.write_text(card_path.read_text().replace("nothing", "something"))
    assert shipped_sha256("tiny", tmp_path) != before


def test_a_card_is_frozen_and_knows_its_keys(card: ArchitectureCard) -> None:
    with pytest.raises(ValidationError):
        card.scale = 2.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="r_mx"):
        ArchitectureCard.model_validate(card.model_dump() | {"r_mx": 5.0})
