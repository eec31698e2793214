"""A head cut out of a multi-head model answers as it does there, and is tuned, merged and named alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mace.modules import blocks, interaction_classes
from mace.modules.models import ScaleShiftMACE
from pymatgen.core import Structure

from phonotune.errors import FoundationError, InputError, PhonotuneError
from phonotune.jobs.labellers import find_labeller
from phonotune.models import foundation_weights
from phonotune.models.adapter import read_adapters
from phonotune.models.calculator import load_calculator
from phonotune.models.elements import noted_facts, require_head
from phonotune.models.engines import find_foundation, foundation_elements
from phonotune.models.evaluators import load_evaluator
from phonotune.models.fast import FastMACE, accelerate
from phonotune.models.features import FeatureExtractor
from phonotune.models.foundation import trust_file
from phonotune.models.graphs import GraphSpec, build_graph, collate
from phonotune.models.heads import head_names, select_head
from phonotune.models.load import load_foundation, load_model
from phonotune.models.mace_parts import o3
from phonotune.models.records import find_model, model_record, read_model_directory
from phonotune.models.weight_updates import weight_blocks
from phonotune.schemas.dataset import DatasetDocument, Frame, pack_frames
from phonotune.schemas.training import FoundationRecord, ModelRecord, TrainingDocument
from phonotune.training.config import parse_overrides
from phonotune.training.directory import write_model_directory
from phonotune.training.finetune import checkpoints_of, finetune
from phonotune.training.strategies import STRATEGIES

HEADS = ("omat_pbe", "omol", "pt_head")
RESIDUAL = "RealAgnosticResidualInteractionBlock"
NON_LINEAR = "RealAgnosticResidualNonLinearInteractionBlock"
EXACT = 1e-12
"""eV, eV/Å and eV/Å^3: rounding of float64."""


def built(interaction: str, readout: type, **more: object) -> torch.nn.Module:
    """A tiny model of mace-torch with three heads that differ in everything a head has."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            model = ScaleShiftMACE(
                r_max=4.0,
                num_bessel=4,
                num_polynomial_cutoff=5,
                max_ell=1,
                interaction_cls=interaction_classes[interaction],
                interaction_cls_first=interaction_classes[interaction],
                num_interactions=2,
                num_elements=3,
                hidden_irreps=o3.Irreps("8x0e+8x1o"),
                MLP_irreps=o3.Irreps("4x0e"),
                atomic_energies=np.array([[-1.0, -2.0, -3.0], [-4.0, -6.0, -5.0], [0.0, 1.0, 7.0]]),
                avg_num_neighbors=10.0,
                atomic_numbers=[8, 12, 14],
                correlation=2,
                gate=torch.nn.functional.silu,
                radial_MLP=[8],
                heads=list(HEADS),
                atomic_inter_scale=np.array([0.3, 0.5, 0.7]),
                atomic_inter_shift=np.array([0.1, -0.2, 0.3]),
                use_reduced_cg=False,
                readout_cls=readout,
                **more,
            )
            for name, parameter in model.named_parameters():
                if name.endswith(".bias"):
                    torch.nn.init.normal_(parameter)
    finally:
        torch.set_default_dtype(before)
    return model.eval()


@pytest.fixture(scope="session")
def several() -> torch.nn.Module:
    """Three heads over blocks that the fast forward knows."""
    return built(RESIDUAL, blocks.NonLinearReadoutBlock)


@pytest.fixture(scope="session")
def non_linear() -> torch.nn.Module:
    """Three heads over the interactions that MACE-MH-1 has, and a readout with biases."""
    return built(
        NON_LINEAR,
        blocks.NonLinearBiasReadoutBlock,
        edge_irreps=o3.Irreps("4x0e+4x1o"),
        use_edge_irreps_first=True,
        use_agnostic_product=True,
        apply_cutoff=False,
        pair_repulsion=True,
        distance_transform="Agnesi",
    )


@pytest.fixture
def crystal(magnesia: Structure, rattled: Callable[..., Structure]) -> Structure:
    return rattled(magnesia, 1)


@pytest.fixture(autouse=True)
def _forget_loaded_models():
    foundation_weights.load_weights.cache_clear()
    yield
    foundation_weights.load_weights.cache_clear()


@pytest.fixture
def trusted(several: torch.nn.Module, tmp_path: Path) -> str:
    path = tmp_path / "several.model"
    torch.save(several, path)
    trust_file(path)
    return str(path)


def answers(model: torch.nn.Module, crystal: Structure, head: int = 0) -> dict[str, torch.Tensor]:
    batch = collate([build_graph(crystal, GraphSpec.of(model))], head=head)
    output = model(batch, training=False, compute_force=True, compute_stress=True)
    return {key: output[key].detach() for key in ("energy", "forces", "stress")}


@pytest.mark.parametrize("which", ["several", "non_linear"])
def test_every_head_answers_alone_as_it_does_among_the_others(which, request, crystal):
    model = request.getfixturevalue(which)
    energies = set()
    for index, head in enumerate(HEADS):
        single = select_head(model, head)
        expected = answers(model, crystal, index)
        fast = accelerate(single)
        for own in (single, fast) if which == "several" else (single,):
            for key, value in answers(own, crystal).items():
                torch.testing.assert_close(value, expected[key], rtol=0, atol=EXACT, msg=key)
        assert head_names(single) == (head,)
        energies.add(round(float(expected["energy"]), 6))
    assert len(energies) == len(HEADS)
    assert head_names(model) == HEADS
    assert isinstance(fast, FastMACE) == (which == "several")


def test_a_head_has_the_shapes_of_a_model_that_was_built_with_it_alone(several, crystal):
    single = select_head(several, "omol")
    assert single.readouts[0].linear.weight.shape == (8,)
    assert single.readouts[1].linear_2.weight.shape == (4,)
    assert not single.training
    assert FeatureExtractor(single, "cpu").force_features([crystal])[0].shape == (24, 8 + 4)
    fewer = sum(p.numel() for p in single.parameters())
    assert fewer < sum(p.numel() for p in several.parameters())


def test_a_readout_that_is_not_known_is_named(several):
    model = copy.deepcopy(several)
    model.readouts[0] = torch.nn.Linear(8, 3)
    with pytest.raises(FoundationError, match="end in a Linear, which cannot be divided"):
        select_head(model, "omol")


def test_weights_of_absent_elements_stay_in_the_non_linear_interaction_too(non_linear):
    found = weight_blocks(select_head(non_linear, "omol"), [8, 12])
    resolved = {b.parameter for b in found if b.element_axis is not None}
    assert resolved == {"node_embedding.linear.weight"} | {
        f"interactions.{i}.{end}_embedding.weight" for i in (0, 1) for end in ("source", "target")
    }
    assert sum(b.size for b in found) < sum(
        b.size for b in weight_blocks(select_head(non_linear, "omol"), [8, 12, 14])
    )


def test_no_head_is_chosen_silently(trusted, several):
    record = find_foundation(trusted)
    assert record.head is None  # the file has not been loaded yet
    said = r"several\.model has the heads omat_pbe, omol, pt_head\. Choose one with --head NAME"
    for use in (foundation_elements, load_foundation):
        with pytest.raises(FoundationError, match=said):
            use(record)
    assert noted_facts(record.sha256) == (("O", "Mg", "Si"), HEADS)
    with pytest.raises(FoundationError, match=said):
        find_foundation(trusted)
    with pytest.raises(FoundationError, match=r"no head 'omal'; it has the heads omat_pbe"):
        find_model(trusted, "omal")
    with pytest.raises(FoundationError, match=r"mace-torch takes Default where none is named"):
        require_head(("pt_head", "Default"), None, "tuned.model")


def test_a_head_labels(trusted):
    labeller = find_labeller(f"mace:{trusted}@omol")
    assert labeller.static.calculator_kwargs["head"] == "omol"
    with pytest.raises(FoundationError, match="has no head 'omal'"):
        find_labeller(f"mace:{trusted}@omal")
    with pytest.raises(FoundationError, match=r"mace:several\.model@NAME"):
        find_labeller(f"mace:{trusted}")
    assert "head" not in find_labeller("mace:mini").static.calculator_kwargs


def test_the_only_head_may_be_named_and_names_nothing_new():
    assert find_foundation("mini", "Default") == find_foundation("mini")
    with pytest.raises(FoundationError, match="mini has one head, Default, not 'omol'"):
        find_foundation("mini", "omol")
    with pytest.raises(FoundationError, match=r"has no heads\. Leave --head out"):
        find_foundation("ase:ase.calculators.emt:EMT", "omol")
    with pytest.raises(FoundationError, match="not the head 'omol'"):
        find_foundation(find_foundation("mini"), "omol")


def test_a_head_is_part_of_the_model_id_and_of_what_is_stored(trusted, several, crystal):
    omat, omol = (find_model(trusted, head) for head in HEADS[:2])
    assert omat.foundation.sha256 == omol.foundation.sha256
    assert omat.model_id != omol.model_id
    assert omol.foundation.model_dump()["head"] == "omol"
    assert "head" not in find_foundation("mini").model_dump()
    assert ModelRecord.model_validate(json.loads(omol.model_dump_json())) == omol
    assert (omol.label, omol.source().evaluator) == ("several.model (omol)",) * 2
    evaluator = load_evaluator(omol, "cpu")
    assert evaluator([crystal])[0].energy == pytest.approx(
        float(answers(several, crystal, 1)["energy"]), abs=EXACT
    )
    atoms = crystal.to_ase_atoms()
    atoms.calc = load_calculator(trusted, "cpu", head="omat_pbe")
    expected = answers(several, crystal, 0)["forces"]
    np.testing.assert_allclose(atoms.get_forces(), expected.numpy(), atol=EXACT)


def salt_frames(crystal: Structure, rattled: Callable[..., Structure]) -> DatasetDocument:
    rng = np.random.default_rng(0)
    frames = []
    for seed in range(3):
        cell = rattled(crystal, seed)
        frames.append(Frame(cell, -8.0 * seed, rng.normal(size=(len(cell), 3)), None))
    data = pack_frames(frames)
    return DatasetDocument(
        formula="MgO",
        dataset_hash=data.sha256,
        labeller="toy",
        train=[0, 1],
        valid=[2],
        n_duplicates=0,
        has_stress=0.0,
        data=data,
    )


@pytest.fixture
def tune(
    tmp_path: Path,
    crystal: Structure,
    rattled: Callable[..., Structure],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., TrainingDocument]:
    """Train the head ``omol`` of a model for one epoch, without the probe of what it forgot."""

    def no_probe(*_args: object, **_options: object) -> None:
        raise PhonotuneError("left out")

    monkeypatch.setattr("phonotune.training.results.forgetting", no_probe)

    def run(model: torch.nn.Module, strategy: str) -> TrainingDocument:
        path = tmp_path / "foundation.model"
        torch.save(model, path)
        trust_file(path)
        config = parse_overrides(strategy, ["max_epochs=1", "dtype=float64", "lr=1e-3"])
        return finetune(salt_frames(crystal, rattled), str(path), config, "cpu", head="omol")

    return run


def test_every_strategy_plans_for_one_head(several, non_linear):
    for model in (several, non_linear):
        single = select_head(model, "omol")
        sizes = {name: p.numel() for name, p in single.named_parameters()}
        for strategy, row in STRATEGIES.items():
            plan = row.plan(single, [8, 12], parse_overrides(strategy).root)
            assert plan.terms, strategy
            for term in plan.terms:
                assert int(term.block.positions().max()) < sizes[term.block.parameter]


@pytest.mark.parametrize("which", ["several", "non_linear"])
def test_the_chosen_head_is_trained_stored_and_merged_alone(which, request, tune, tmp_path):
    document = tune(request.getfixturevalue(which), "delta")
    assert document.model.foundation.head == "omol"
    (adapter,) = read_adapters(document.model)
    assert document.best_epoch == 1
    assert all(t.isfinite().all() for t in adapter.tensors.values())
    merged = load_model(document.model)
    assert head_names(merged) == ("omol",)
    assert merged.atomic_energies_fn.atomic_energies.shape == (1, 3)
    folder = write_model_directory(document, tmp_path / "tuned")
    assert json.loads((folder / "model.json").read_text())["foundation"]["head"] == "omol"
    assert find_model(folder, "omol") == read_model_directory(folder) == document.model
    with pytest.raises(InputError, match="has the head omol, not 'omat_pbe'"):
        find_model(folder, "omat_pbe")


def test_checkpoints_of_two_heads_are_two(trusted, crystal, rattled):
    dataset, config = salt_frames(crystal, rattled), parse_overrides("lora")
    paths = {
        checkpoints_of(dataset, find_foundation(trusted, head), config)[0].path for head in HEADS
    }
    assert len(paths) == len(HEADS)


def test_an_embedding_of_charge_or_spin_is_refused(several, tmp_path):
    model = copy.deepcopy(several)
    model.embedding_specs = {"total_charge": {}, "total_spin": {}}
    model.joint_embedding = torch.nn.Identity()
    path = tmp_path / "charged.model"
    torch.save(model, path)
    trust_file(path)
    with pytest.raises(FoundationError, match="takes total_charge, total_spin of a structure"):
        find_foundation(path, "omol")


def test_a_record_without_a_head_has_the_id_it_always_had():
    bare = FoundationRecord(name="x.model", sha256="ab" * 32)
    assert bare.identity == bare.sha256
    assert model_record(bare).model_id == (
        "d9c3314c4b81cdd7a85c0ab51153f2f3b03cf41f0e5ff6603a7f269052aae902"
    )
