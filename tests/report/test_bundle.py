from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from phonotune.report.bundle import bundle_documents
from phonotune.schemas.base import Source
from phonotune.schemas.thermal import ConductivityDocument, QuasiHarmonicDocument
from phonotune.schemas.transition import TransitionDocument

REFERENCE = Source(role="reference", evaluator="teacher")


def test_every_document_of_a_run_finds_its_material(soft) -> None:
    assert soft.formula == "BaTiO3"
    assert [len(x) for x in (soft.phonons, soft.elastics, soft.wells)] == [3, 3, 3]
    assert [len(x) for x in (soft.trainings, soft.datasets)] == [1, 1]
    assert soft.comparison is not None
    assert soft.labels is not None
    assert len(soft.structure) == 5


def test_sources_stand_in_the_order_reference_untuned_tuned(build: SimpleNamespace) -> None:
    documents = build.material(build.rocksalt(), "vasp", 0.0, ("equitrain", "lora"))
    (material,) = bundle_documents(reversed(documents))
    assert [s.role for s in material.sources] == ["reference", "untuned", "lora", "equitrain"]
    assert material.reference.evaluator == "vasp"


def test_polymorphs_of_one_formula_stay_apart_with_their_own_trainings(
    build: SimpleNamespace,
) -> None:
    small = build.material(build.perovskite(3.9), tag="a")
    large = build.material(build.perovskite(4.1), tag="c")
    first, second = bundle_documents(small + large)
    assert first.formula == second.formula
    assert first.material_id != second.material_id
    assert [t.model.model_id for t in first.trainings] == ["a1" * 32]
    assert [t.model.model_id for t in second.trainings] == ["c1" * 32]
    assert [d.dataset_hash for d in second.datasets] == ["c" * 64]


def test_labels_are_linked_through_the_frames_of_the_dataset(build: SimpleNamespace) -> None:
    structure = build.perovskite()
    used = build.frames(structure, 4, np.random.default_rng(1))
    other = build.frames(structure, 4, np.random.default_rng(2))
    documents = [
        build.labels(used, "teacher"),
        build.labels(other, "emt"),
        build.dataset(used, "teacher", "d" * 64),
    ]
    (material,) = bundle_documents(documents)
    assert material.labels.labeller == "teacher"


def test_of_two_documents_about_the_same_thing_the_later_is_kept(build: SimpleNamespace) -> None:
    old = build.elastic(REFERENCE, build.perovskite(), 0.9)
    new = build.elastic(REFERENCE, build.perovskite(), 1.0)
    (material,) = bundle_documents([old, new])
    assert material.elastics == (new,)


def test_wells_of_different_modes_are_both_kept(build: SimpleNamespace) -> None:
    gamma = build.well(REFERENCE, build.perovskite(), -20.0, 3.0)
    zone_edge = gamma.model_copy(update={"q": (0.5, 0.5, 0.0)})
    (material,) = bundle_documents([gamma, zone_edge])
    assert len(material.wells) == 2


def test_a_training_without_properties_gets_an_entry_of_its_formula(build: SimpleNamespace) -> None:
    training = build.training("NaCl", "lora", "e" * 64, "f" * 64, 2.0)
    (material,) = bundle_documents([training])
    assert (material.formula, material.material_id, material.sources) == ("NaCl", None, [])
    assert material.trainings == (training,)


@pytest.mark.parametrize("role", ["untuned", "reference"])
def test_only_tuned_sources_have_a_training(soft, role: str) -> None:
    tuned = next(s for s in soft.sources if s.role == "lora")
    assert soft.training_of(tuned) == soft.trainings[0]
    assert soft.training_of(next(s for s in soft.sources if s.role == role)) is None


def test_thermal_properties_and_trees_belong_to_their_material(many) -> None:
    stable = many[1]
    counts = [
        len(stable.of(kind))
        for kind in (QuasiHarmonicDocument, ConductivityDocument, TransitionDocument)
    ]
    assert counts == [4, 4, 1]
    roles = ["reference", "untuned", "lora", "equitrain"]
    assert [d.source.role for d in stable.of(QuasiHarmonicDocument)] == roles
    assert [s.role for s in stable.sources] == roles
    assert many[0].of(TransitionDocument) == ()
