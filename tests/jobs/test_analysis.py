"""Committees through the one way from a plan to a document, and through the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.calculators.emt import EMT
from jobflow import Flow
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError
from phonotune.flows.local import run_flow
from phonotune.jobs.analysis import evaluate_and_analyse
from phonotune.jobs.compare import CompareMaker
from phonotune.jobs.elastic import ElasticMaker
from phonotune.models.adapter import Adapter
from phonotune.models.ase_engine import AseEvaluator
from phonotune.models.committee import CommitteeEvaluator
from phonotune.models.engines import find_foundation
from phonotune.models.load import load_model
from phonotune.models.records import model_record
from phonotune.models.weight_updates import WeightUpdate, weight_blocks
from phonotune.physics.committee_spread import spread_arrays
from phonotune.physics.elastic import ElasticSettings, analyse_stresses, plan_strains
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.training import ModelRecord
from phonotune.store import ResultStore, open_store

SOURCE = Source(role="lora", evaluator="toy")


class Counting(AseEvaluator):
    """EMT with all answers scaled; counts the structures it was asked for."""

    def __init__(self, factor: float) -> None:
        super().__init__(EMT())
        self.factor = factor
        self.asked = 0

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        self.asked += len(structures)
        return [
            Evaluation(self.factor * a.energy, self.factor * a.forces, self.factor * a.stress)
            for a in super().__call__(structures)
        ]


@pytest.fixture(scope="module")
def copper() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.59), ["Cu"], [[0, 0, 0]])


@pytest.fixture(scope="module")
def record() -> ModelRecord:
    """A committee of two changes of ``mini``."""
    block = next(
        b
        for b in weight_blocks(load_model("mini"), [11, 17])
        if b.parameter == "interactions.0.linear_up.weight"
    )
    (name,) = WeightUpdate(block=block).shapes()
    noise = [np.random.default_rng(seed).normal(scale=0.05, size=block.shape) for seed in (0, 1)]
    contents = [
        Adapter((WeightUpdate(block=block),), {name: torch.as_tensor(values)}).to_bytes()
        for values in noise
    ]
    return model_record(find_foundation("mini"), "delta", contents, "d", {})


def analysed(evaluator: object, structure: Structure) -> ElasticDocument:
    plan = plan_strains(structure, ElasticSettings())
    return evaluate_and_analyse(
        evaluator, plan.structures, lambda answers: analyse_stresses(plan, answers, SOURCE)
    )


def test_a_committee_gives_its_mean_with_the_members_own_deviation(copper: Structure) -> None:
    members = [Counting(factor) for factor in (0.9, 1.3)]
    document = analysed(CommitteeEvaluator(members), copper)
    mean, *alone = (analysed(Counting(factor), copper) for factor in (1.1, 0.9, 1.3))
    assert document.bulk_modulus == pytest.approx(mean.bulk_modulus)
    expected = abs(alone[0].bulk_modulus - alone[1].bulk_modulus) / np.sqrt(2)
    assert document.spread.numbers["bulk_modulus"] == pytest.approx(expected)


def test_each_member_is_asked_once_for_each_structure(copper: Structure) -> None:
    members = [Counting(factor) for factor in (0.9, 1.3)]
    analysed(CommitteeEvaluator(members), copper)
    planned = len(plan_strains(copper, ElasticSettings()).structures)
    assert [member.asked for member in members] == [planned, planned]


def test_a_single_model_has_no_error_bar(copper: Structure) -> None:
    assert analysed(Counting(1.0), copper).spread is None


def test_a_member_that_gives_no_such_property_is_left_out_and_counted(copper: Structure) -> None:
    members = [Counting(factor) for factor in (0.9, 1.3, float("nan"))]
    plan = plan_strains(copper, ElasticSettings())
    good = AseEvaluator(EMT())(plan.structures)

    def analyse(answers: Sequence[Evaluation]) -> ElasticDocument:
        known = all(np.isfinite(a.energy) for a in answers)
        mean = [a for a in answers if a.spread is not None]
        return analyse_stresses(plan, answers if known or not mean else good, SOURCE)

    document = evaluate_and_analyse(CommitteeEvaluator(members), plan.structures, analyse)
    assert (document.spread.n_members, document.spread.n_left_out) == (2, 1)
    alone = evaluate_and_analyse(CommitteeEvaluator(members[1:]), plan.structures, analyse)
    assert alone.spread is None


def test_error_bars_survive_the_store_and_a_comparison(record: ModelRecord, tmp_path: Path) -> None:
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]
    )
    committee = ElasticMaker().make(salt, record)
    single = ElasticMaker().make(salt, "mini")
    expected = {"reference": ["elastic", "phonon"], "tuned": ["elastic"], "lora": ["elastic"]}
    compared = CompareMaker(expected=expected).make(
        [single.output, None], [[committee.output], [None]]
    )
    store = open_store(tmp_path / "store")
    summary = run_flow(Flow([committee, single, compared]), store, root_dir=tmp_path)
    assert summary.failed == []
    found = {d.source.role: d for d in ResultStore(store).query(kind="elastic")}
    assert found["untuned"].spread is None
    spread = found["delta"].spread
    assert spread.n_members == 2
    assert spread.numbers["bulk_modulus"] > 0
    assert spread_arrays(found["delta"])["elastic_tensor"].shape == (6, 6)
    (comparison,) = ResultStore(store).query(kind="comparison")
    assert comparison.rows[0].properties.bulk_modulus == found["delta"].bulk_modulus
    assert comparison.missing == ["Phonons, reference", "Elastic constants, lora"]
    assert len(comparison.rows) == 1


@pytest.mark.parametrize(
    ("who", "sides"), [("reference has", ([None], [[1]])), ("models have", ([1], [[None]]))]
)
def test_without_a_reference_or_a_model_nothing_is_compared(who: str, sides: Any) -> None:
    maker = CompareMaker()
    with pytest.raises(InputError, match=f"the {who} no property"):
        maker.make.original(maker, *sides)
