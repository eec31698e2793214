import copy
import json

import numpy as np
import pytest
import torch

from phonotune.errors import FoundationError, InputError, StructureError
from phonotune.models.adapter import Adapter, atomic_energies, merge
from phonotune.models.engines import find_foundation
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.graphs import GraphSpec, build_graph, collate
from phonotune.models.load import load_model
from phonotune.models.records import find_model, model_record, read_model_directory
from phonotune.models.weight_updates import EffectiveWeights, WeightUpdate, low_rank, weight_blocks
from phonotune.schemas.blob import join_blobs
from phonotune.schemas.training import FoundationRecord

MGO = [8, 12]
EXACT = 1e-10
"""eV and eV/Å: rounding of float64 through a whole model."""


def adapter_of(model, rank=2, size=0.1):
    """A random adapter over every block of MgO."""
    rng = torch.Generator().manual_seed(0)
    terms = tuple(low_rank(block, rank) for block in weight_blocks(model, MGO))
    tensors = {
        name: size * torch.randn(shape, generator=rng, dtype=torch.float64)
        for term in terms
        for name, shape in term.shapes().items()
    }
    return Adapter(terms, tensors, {8: 0.25, 12: -0.5})


def test_blocks_of_all_elements_cover_every_parameter_once(tiny_mace):
    elements = tiny_mace.atomic_numbers.tolist()
    counts = {name: torch.zeros(p.numel()) for name, p in tiny_mace.named_parameters()}
    for block in weight_blocks(tiny_mace, elements):
        counts[block.parameter].index_add_(0, block.positions(), torch.ones(block.size))
    assert all((count == 1).all() for count in counts.values())


def test_no_weight_outside_the_blocks_matters_to_the_material(tiny_mace, magnesia):
    outside = {name: torch.ones(p.numel()) for name, p in tiny_mace.named_parameters()}
    for block in weight_blocks(tiny_mace, MGO):
        outside[block.parameter][block.positions()] = 0
    before = ModelEvaluator(tiny_mace, "cpu")([magnesia])[0]
    with torch.no_grad():
        for name, parameter in tiny_mace.named_parameters():
            parameter += outside[name].reshape(parameter.shape)
    after = ModelEvaluator(tiny_mace, "cpu")([magnesia])[0]
    assert sum(int(o.sum()) for o in outside.values()) > 0
    assert after.energy == before.energy
    np.testing.assert_array_equal(after.forces, before.forces)


def test_every_block_but_the_dead_paths_matters(tiny_mace, magnesia, rattled):
    """The gradient of energy and forces reaches each kind of block."""
    batch = collate([build_graph(rattled(magnesia, 0), GraphSpec.of(tiny_mace))])
    tiny_mace.requires_grad_(True)
    output = tiny_mace(batch, training=True)
    measure = output["energy"].sum() + output["forces"].square().sum()
    names = [name for name, _ in tiny_mace.named_parameters()]
    gradients = dict(
        zip(names, torch.autograd.grad(measure, list(tiny_mace.parameters())), strict=True)
    )
    for block in weight_blocks(tiny_mace, MGO):
        assert gradients[block.parameter].reshape(-1)[block.positions()].abs().max() > 0, block.key


def test_rows_of_absent_elements_are_left_out(tiny_mace):
    blocks = weight_blocks(tiny_mace, [12])
    resolved = [block for block in blocks if block.element_axis is not None]
    assert {block.rows for block in resolved} == {(1,)}
    kinds = ("node_embedding", "skip_tp", "symmetric_contractions")
    assert all(any(kind in block.parameter for block in resolved) for kind in kinds)


def test_an_unknown_element_is_named(tiny_mace):
    with pytest.raises(StructureError, match="Ti"):
        weight_blocks(tiny_mace, [8, 22])


def test_low_rank_falls_back_to_full_where_it_saves_nothing(tiny_mace):
    for block in weight_blocks(tiny_mace, MGO):
        term = low_rank(block, 2)
        numbers = sum(int(np.prod(shape)) for shape in term.shapes().values())
        assert numbers <= block.size
        assert (term.rank is None) == (
            block.matrix_shape is None or 2 * sum(block.matrix_shape) >= np.prod(block.matrix_shape)
        )


def test_initial_terms_change_nothing(tiny_mace):
    terms = [low_rank(block, 2) for block in weight_blocks(tiny_mace, MGO)]
    rng = torch.Generator().manual_seed(0)
    tensors = {name: t for term in terms for name, t in term.initial(rng).items()}
    for name, weight in EffectiveWeights(tiny_mace, terms)(tensors).items():
        assert torch.equal(weight, tiny_mace.get_parameter(name))


def test_a_low_rank_change_has_that_rank_in_every_path(tiny_mace):
    adapter = adapter_of(tiny_mace, rank=2)
    for term in adapter.updates:
        if term.rank is not None:
            matrix = term.change(adapter.tensors).reshape(term.block.selected_shape)
            assert (torch.linalg.matrix_rank(matrix) == 2).all()


def test_merging_adds_exactly_what_the_adapter_says(tiny_mace, magnesia, rattled):
    adapter = adapter_of(tiny_mace)
    structure = rattled(magnesia, 1)
    merged = merge(tiny_mace, adapter)
    weights = EffectiveWeights(tiny_mace, adapter.updates)(adapter.tensors)
    batch = collate([build_graph(structure, GraphSpec.of(tiny_mace))])
    functional = torch.func.functional_call(tiny_mace, weights, (batch,))
    answer = ModelEvaluator(merged, "cpu")([structure])[0]
    shift = 4 * 0.25 - 4 * 0.5
    assert answer.energy == pytest.approx(float(functional["energy"].detach()) + shift, abs=EXACT)
    np.testing.assert_allclose(answer.forces, functional["forces"].detach(), atol=EXACT)


def test_merging_leaves_the_foundation_alone(tiny_mace):
    before = copy.deepcopy(tiny_mace.state_dict())
    merge(tiny_mace, adapter_of(tiny_mace))
    assert all(torch.equal(before[k], v) for k, v in tiny_mace.state_dict().items())


def test_atomic_energies_of_other_elements_stay(tiny_mace):
    merged = merge(tiny_mace, Adapter((), {}, {12: 0.5}))
    change = atomic_energies(merged) - atomic_energies(tiny_mace)
    assert change.tolist() == [[0.0, 0.5, 0.0, 0.0]]


def test_an_adapter_of_another_model_is_refused(tiny_mace):
    term = WeightUpdate(
        block=weight_blocks(tiny_mace, MGO)[0].model_copy(update={"parameter": "gone"})
    )
    adapter = Adapter((term,), {n: torch.zeros(s) for n, s in term.shapes().items()})
    with pytest.raises(InputError, match="gone"):
        merge(tiny_mace, adapter)


def test_adapters_survive_their_bytes(tiny_mace):
    adapter = adapter_of(tiny_mace)
    content = adapter.to_bytes()
    again = Adapter.from_bytes(content)
    assert again.updates == adapter.updates
    assert again.energy_shifts == adapter.energy_shifts
    assert all(torch.equal(again.tensors[k], v) for k, v in adapter.tensors.items())
    assert again.to_bytes() == content


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x80\x04N."])
def test_bytes_that_are_no_adapter_are_refused(content):
    with pytest.raises(InputError, match="not a phonotune adapter"):
        Adapter.from_bytes(content)


def test_tensors_must_fit_the_terms(tiny_mace):
    adapter = adapter_of(tiny_mace)
    name = next(iter(adapter.tensors))
    broken = Adapter(adapter.updates, {**adapter.tensors, name: torch.zeros(1)}, {})
    with pytest.raises(InputError, match="its header says"):
        Adapter.from_bytes(broken.to_bytes())


def test_a_model_id_names_everything_that_determines_the_model(tiny_mace):
    record = FoundationRecord(name="tiny", sha256="ab")
    adapter = adapter_of(tiny_mace)
    parts = {
        "strategy": "lora",
        "adapters": [adapter.to_bytes()],
        "dataset_hash": "d",
        "config": {"lr": 0.1},
    }
    changes = [
        {"strategy": "equitrain"},
        {"adapters": [adapter_of(tiny_mace, size=0.2).to_bytes()]},
        {"dataset_hash": "e"},
        {"config": {"lr": 0.2}},
    ]
    ids = [model_record(record, **{**parts, **change}).model_id for change in [{}, *changes]]
    ids += [model_record(record).model_id]
    ids += [model_record(FoundationRecord(name="tiny", sha256="cd"), **parts).model_id]
    assert len(set(ids)) == len(ids)
    renamed = FoundationRecord(name="other name", sha256="ab")
    assert model_record(renamed, **parts).model_id == ids[0]


@pytest.fixture
def directory(tmp_path):
    """A model directory of the shipped foundation with an empty adapter but for an energy shift."""
    record = model_record(
        find_foundation("mini"), "lora", [Adapter((), {}, {8: 1.0}).to_bytes()], "d", {"lr": 1}
    )
    content = record.model_dump(exclude={"adapters"})
    (tmp_path / "model.json").write_text(json.dumps(content))
    (tmp_path / "adapter.safetensors").write_bytes(join_blobs(record.adapters[0]))
    return tmp_path, record


def test_model_directories_are_read_back(directory):
    path, record = directory
    assert read_model_directory(path) == record
    assert find_model(str(path)) == record
    change = atomic_energies(load_model(path)) - atomic_energies(load_model("mini"))
    assert float(change.sum()) == pytest.approx(1.0)


def test_a_swapped_adapter_is_refused(directory):
    path, _ = directory
    (path / "adapter.safetensors").write_bytes(Adapter((), {}, {8: 2.0}).to_bytes())
    with pytest.raises(InputError, match="does not belong"):
        read_model_directory(path)


def test_a_foundation_without_its_name_is_refused_in_one_sentence(directory):
    path, _ = directory
    file = path / "model.json"
    file.write_text(file.read_text().replace('"name"', '"nmae"'))
    with pytest.raises(InputError, match="is not a model directory") as caught:
        read_model_directory(path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a model directory"):
        load_model(tmp_path)


def test_another_foundation_than_the_one_tuned_is_refused(directory):
    _, record = directory
    other = FoundationRecord(name="mini", sha256="00" * 32)
    with pytest.raises(FoundationError):
        load_model(model_record(other, "lora", [join_blobs(record.adapters[0])], "d", {}))


def test_a_foundation_alone_is_a_model():
    record = find_model("mini")
    assert record.adapters == ()
    assert record.foundation == find_foundation("mini")
    assert load_model(record, "float32").r_max.dtype == torch.float32
