"""Laws over all strategies: what a fine-tuning may and may not change."""

import copy
from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import Field
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from phonotune.cli.app import app
from phonotune.errors import ConfigError
from phonotune.models.adapter import merge, read_adapters
from phonotune.models.architecture import build_mace, fresh_like
from phonotune.models.evaluate import ModelEvaluator, torch_dtype
from phonotune.models.load import load_model
from phonotune.models.records import model_record
from phonotune.models.weight_updates import EffectiveWeights, weight_blocks
from phonotune.report.bundle import source_order
from phonotune.schemas.base import Source
from phonotune.schemas.dataset import DatasetDocument, Frame, pack_frames
from phonotune.schemas.training import FoundationRecord
from phonotune.training.batches import FrameSet
from phonotune.training.checkpoint import Checkpoint
from phonotune.training.config import FineTuneConfig, build_config, parse_overrides
from phonotune.training.finetune import finetune
from phonotune.training.options import Options
from phonotune.training.plan import Strategy, full_change
from phonotune.training.prediction import predict
from phonotune.training.strategies import STRATEGIES, find_strategy

EXACT = 1e-10
"""eV and eV/Å: rounding of float64 through a whole model."""
SALT = [11, 17]
RECORD = FoundationRecord(name="tiny", sha256="cd" * 32)

NAMES_BEFORE = {
    "scratch": ("2948f7577e02", "f042dfe18759"),
    "transfer": ("e3cdb20040c6", "f61fbbbbc905"),
    "freeze": ("2c3e9631fd7f", "6d803d5df424"),
    "multihead": ("733a76b87a1b", "5afc091b01e6"),
    "equitrain": ("a790065aeccf", "16a025f4f0db"),
    "delta": ("095a5eb758db", "f91ca000c83c"),
    "lora": ("9d00b84f0c44", "66571d59c640"),
}
"""How phonotune 0.1.1 named the checkpoint and the model of each strategy's defaults."""


@pytest.fixture(scope="module")
def foundation(tiny_card):
    return build_mace(tiny_card, torch.float64, seed=1).eval()


def salt(seed):
    rng = np.random.default_rng(seed)
    cell = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    positions = cell.cart_coords + rng.normal(scale=0.1, size=(8, 3))
    return Structure(cell.lattice, cell.species, positions, coords_are_cartesian=True)


@pytest.fixture(scope="module")
def dataset(tiny_card):
    """Four training frames and one to validate, labelled by another random model."""
    structures = [salt(seed) for seed in range(5)]
    answers = ModelEvaluator(build_mace(tiny_card, seed=2).eval(), "cpu")(structures)
    frames = [
        Frame(s, a.energy, a.forces, a.stress) for s, a in zip(structures, answers, strict=True)
    ]
    data = pack_frames(frames)
    return DatasetDocument(
        formula="NaCl",
        dataset_hash=data.sha256,
        labeller="toy",
        train=[0, 1, 2, 3],
        valid=[4],
        n_duplicates=0,
        has_stress=100.0,
        data=data,
    )


def load(foundation):
    return lambda record, dtype="float64": copy.deepcopy(foundation).to(torch_dtype(dtype))


def config_of(strategy, *overrides):
    """Return a configuration, with few replay frames where a strategy has some: they are relaxed first."""
    few = ["replay.frames=8"] if strategy == "multihead" else []
    return parse_overrides(strategy, [*few, *overrides])


@pytest.fixture(scope="module")
def tuned(foundation, dataset):
    """Tune by every strategy, a few epochs, in float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHONOTUNE_CHECKPOINT_DIR", "/nonexistent")
        patch.setattr("phonotune.training.finetune.load_foundation", load(foundation))
        patch.setattr("phonotune.training.checkpoint.Checkpoint.write", lambda *_: None)
        return {
            name: finetune(dataset, RECORD, config_of(name, "max_epochs=3"), "cpu")
            for name in STRATEGIES
        }


def adapter_of(document):
    return read_adapters(document.model)[0]


every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@every_strategy
def test_the_loss_falls_on_four_frames(tuned, strategy):
    losses = tuned[strategy].history.arrays()["loss"]
    assert losses[-1] < losses[0]


@every_strategy
def test_untouched_parameters_stay_bit_identical(foundation, tuned, strategy):
    adapter = adapter_of(tuned[strategy])
    merged = merge(foundation, adapter)
    touched = {name: torch.zeros(p.numel(), dtype=bool) for name, p in merged.named_parameters()}
    for term in adapter.updates:
        touched[term.block.parameter][term.block.positions()] = True
    changed = 0
    for name, parameter in merged.named_parameters():
        differs = (parameter != foundation.get_parameter(name)).reshape(-1)
        assert not (differs & ~touched[name]).any(), name
        changed += int(differs.sum())
    assert changed > 0


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "scratch"])
def test_zero_epochs_are_the_foundation(foundation, dataset, strategy, monkeypatch):
    monkeypatch.setattr("phonotune.training.finetune.load_foundation", load(foundation))
    config = config_of(strategy, "max_epochs=0", "refit_energies=false")
    document = finetune(dataset, RECORD, config, "cpu")
    merged = merge(foundation, adapter_of(document))
    for name, value in foundation.state_dict().items():
        assert torch.equal(merged.state_dict()[name], value), name
    assert document.metrics.valid_after == document.metrics.valid_before


@every_strategy
def test_saved_and_loaded_models_are_equal(foundation, tuned, strategy, monkeypatch):
    monkeypatch.setattr("phonotune.models.load.load_foundation", load(foundation))
    adapter = adapter_of(tuned[strategy])
    loaded, merged = load_model(tuned[strategy].model), merge(foundation, adapter)
    for name, value in merged.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


@every_strategy
def test_an_evaluator_adds_the_adapter_itself(foundation, tuned, strategy):
    adapter = adapter_of(tuned[strategy])
    found, wanted = (
        evaluator([salt(7)])[0]
        for evaluator in (
            ModelEvaluator(foundation, "cpu", adapter=adapter),
            ModelEvaluator(merge(foundation, adapter), "cpu"),
        )
    )
    assert found.energy == wanted.energy
    assert np.array_equal(found.forces, wanted.forces)
    assert np.array_equal(found.stress, wanted.stress)


@every_strategy
def test_merging_is_exact(foundation, tuned, strategy):
    adapter = adapter_of(tuned[strategy])
    tensors = {name: tensor.double() for name, tensor in adapter.tensors.items()}
    weights = EffectiveWeights(foundation, adapter.updates)(tensors)
    frame = Frame(salt(9), 0.0, np.zeros((8, 3)))
    batch = FrameSet.build([frame], foundation, SALT).batch([0])
    merged = merge(foundation, adapter)
    one, other = predict(foundation, weights, batch.graph), predict(merged, {}, batch.graph)
    assert float(one.energy) == pytest.approx(float(other.energy), abs=EXACT)
    np.testing.assert_allclose(one.forces, other.forces, atol=EXACT)


@every_strategy
def test_tuned_models_are_equivariant(foundation, tuned, strategy):
    evaluator = ModelEvaluator(merge(foundation, adapter_of(tuned[strategy])), "cpu")
    structure = salt(9)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    order = np.random.default_rng(1).permutation(8)
    turned = Structure(
        structure.lattice.matrix @ rotation.T,
        [structure.species[i] for i in order],
        (structure.cart_coords @ rotation.T)[order],
        coords_are_cartesian=True,
    )
    before, after = evaluator([structure, turned])
    assert after.energy == pytest.approx(before.energy, abs=EXACT)
    np.testing.assert_allclose(after.forces, (before.forces @ rotation.T)[order], atol=EXACT)
    np.testing.assert_allclose(after.stress, rotation @ before.stress @ rotation.T, atol=EXACT)


@every_strategy
def test_weights_of_absent_elements_are_neither_trained_nor_stored(foundation, tuned, strategy):
    adapter = adapter_of(tuned[strategy])
    present = (1, 2)
    for term in adapter.updates:
        if term.block.element_axis is not None:
            assert term.block.rows == present
    assert set(adapter.energy_shifts) == set(SALT)
    stored = sum(tensor.numel() for tensor in adapter.tensors.values())
    assert stored == tuned[strategy].plan.parameters_moved


@every_strategy
def test_plans_move_only_blocks_of_the_material(foundation, strategy):
    plan = find_strategy(strategy).plan(foundation, SALT, parse_overrides(strategy).root)
    used = set(weight_blocks(foundation, SALT))
    assert {term.block for term in plan.terms} <= used


def test_lora_reaches_nearly_every_weight_of_the_material(tuned):
    plan = tuned["lora"].plan
    assert plan.parameters_reached >= 0.95 * plan.parameters_total


def test_scratch_starts_from_a_fresh_model_whatever_the_foundation_weighs(
    foundation, dataset, monkeypatch
):
    monkeypatch.setattr("phonotune.training.finetune.load_foundation", load(foundation))
    config = parse_overrides("scratch", ["max_epochs=0", "seed=3", "dtype=float64"])
    merged = merge(foundation, adapter_of(finetune(dataset, RECORD, config, "cpu")))
    fresh = fresh_like(foundation, seed=3)
    for block in weight_blocks(foundation, SALT):
        values = block.values(merged.get_parameter(block.parameter))
        expected = block.values(fresh.get_parameter(block.parameter))
        torch.testing.assert_close(values, expected, atol=EXACT, rtol=0)


class ToyOptions(Options):
    """Options of a strategy that only this test knows."""

    strategy: Literal["toy"] = "toy"
    max_epochs: int = 3
    lr: float = 0.01
    blocks: str = Field(default="readouts", description="what moves")


def plan_toy(model, elements, options):
    return full_change(model, elements, lambda name: name.startswith(options.blocks))


@pytest.fixture
def toy(monkeypatch):
    """Add a strategy as its file and its line in the registry would."""
    monkeypatch.setitem(STRATEGIES, "toy", Strategy("only what it says", ToyOptions, plan_toy))
    return "toy"


def test_a_registered_strategy_is_configured_stored_and_routed_by_its_options(toy):
    config = parse_overrides(toy, ["blocks=products", "toy.loss.forces=3"])
    assert (config.root.blocks, config.root.loss.forces) == ("products", 3.0)
    assert build_config(toy, {"blocks": "products", "loss": {"forces": 3}}) == config
    assert FineTuneConfig.model_validate(config.resolved()) == config
    with pytest.raises(ConfigError, match=r"'block'\. Did you mean 'blocks'"):
        build_config(toy, {"block": "products"})


def test_a_registered_strategy_stands_in_help_and_reports(toy):
    text = " ".join(CliRunner().invoke(app, ["finetune", "--help"]).output.split())
    assert "toy: only what it says" in text.replace("│ │ ", "")
    assert "toy: blocks" in text.replace("│ │ ", "")
    ranks = [
        source_order(Source(role=role, evaluator="mini"))[0]
        for role in ("reference", "untuned", *STRATEGIES, "another")
    ]
    assert ranks == sorted(set(ranks))


def test_a_registered_strategy_trains_and_leaves_the_rest_alone(
    foundation, dataset, toy, monkeypatch
):
    monkeypatch.setattr("phonotune.training.finetune.load_foundation", load(foundation))
    document = finetune(dataset, RECORD, build_config(toy), "cpu")
    assert document.model.strategy == toy
    losses = document.history.arrays()["loss"]
    assert losses[-1] < losses[0]
    changed = {term.block.parameter for term in adapter_of(document).updates}
    assert changed
    assert all(name.startswith("readouts.") for name in changed)


@pytest.mark.parametrize(("strategy", "names"), NAMES_BEFORE.items())
def test_an_option_added_later_renames_no_training(strategy, names, tmp_path):
    config = build_config(strategy)
    foundation = FoundationRecord(name="mini", sha256="a" * 64)
    model = model_record(foundation, strategy, [b"x"], "b" * 64, config.resolved())
    checkpoint = Checkpoint.of(tmp_path, foundation.sha256, "b" * 64, config.root)
    assert (checkpoint.path.stem[:12], model.model_id[:12]) == names


def test_an_option_added_later_counts_where_it_changes_the_training(tmp_path):
    configs = [
        build_config("equitrain", given)
        for given in ({}, {"layers": "all"}, {"isolated_atoms": False})
    ]
    names = {Checkpoint.of(tmp_path, "a" * 64, "b" * 64, config.root).path for config in configs}
    assert len(names) == 3
