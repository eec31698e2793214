import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError
from phonotune.models.adapter import Adapter
from phonotune.models.committee import CommitteeEvaluator
from phonotune.models.engines import find_foundation
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.evaluators import load_evaluator
from phonotune.models.load import load_members, load_model
from phonotune.models.records import find_model, model_record
from phonotune.models.weight_updates import WeightUpdate, weight_blocks


@pytest.fixture
def salt():
    """A rattled cell of 8 atoms."""
    cell = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    cell.translate_sites([0], [0.02, 0.01, 0.0])
    return cell


@pytest.fixture(scope="module")
def record():
    """A committee of three changes of ``mini``."""
    foundation = load_model("mini")
    block = next(
        b
        for b in weight_blocks(foundation, [11, 17])
        if b.parameter == "interactions.0.linear_up.weight"
    )
    (name,) = WeightUpdate(block=block).shapes()
    noise = [np.random.default_rng(seed).normal(scale=0.05, size=block.shape) for seed in range(3)]
    tensors = [{name: torch.as_tensor(values)} for values in noise]
    contents = [Adapter((WeightUpdate(block=block),), t).to_bytes() for t in tensors]
    return model_record(find_foundation("mini"), "delta", contents, "d", {})


def test_a_committee_answers_with_mean_and_spread(record, salt):
    committee = load_evaluator(record, "cpu")
    assert isinstance(committee, CommitteeEvaluator)
    (answer,) = committee([salt])
    alone = [member([salt])[0] for member in committee.members]
    energies = [a.energy for a in alone]
    assert answer.energy == pytest.approx(np.mean(energies))
    assert answer.spread.energy == pytest.approx(np.std(energies, ddof=1)) != 0
    forces = np.array([a.forces for a in alone])
    np.testing.assert_allclose(answer.forces, forces.mean(axis=0))
    np.testing.assert_allclose(answer.spread.forces, forces.std(axis=0, ddof=1))
    stress = np.array([a.stress for a in alone])
    np.testing.assert_allclose(answer.spread.stress, stress.std(axis=0, ddof=1))


def test_a_single_model_is_no_committee_and_has_no_spread(salt):
    evaluator = load_evaluator("mini", "cpu")
    assert isinstance(evaluator, ModelEvaluator)
    assert evaluator([salt])[0].spread is None


def test_a_committee_is_not_one_model(record):
    assert len(load_members(record)) == 3
    with pytest.raises(InputError, match=r"mini \+ delta \(3 members\) is a committee of 3"):
        load_model(record)


def test_members_know_the_same_elements(record):
    committee = load_evaluator(record, "cpu")
    assert committee.elements == committee.members[0].elements
    assert (committee.source.role, committee.source.model_id) == ("delta", record.model_id)


def test_a_model_is_shared_by_all_that_ask_for_it_with_the_same_precision():
    record = find_model("mini")
    shared = load_evaluator(record, "cpu")
    assert load_evaluator(find_model("mini"), "cpu") is shared
    assert load_evaluator(record, "cpu", "float32") is not shared
