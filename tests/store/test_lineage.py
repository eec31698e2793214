"""Any result back to its model, dataset, frames, settings and versions."""

import pytest

from phonotune.errors import InputError
from phonotune.store import ResultStore

MODEL_ID = "ab" * 32


@pytest.mark.parametrize("stage", ["elastic lora", "finetune", "compare"])
def test_a_result_is_traced_to_frames_settings_and_foundation(store, project, stage):
    found = ResultStore(store).lineage(project[stage])
    assert found.result.uuid == project[stage]
    assert [e.uuid for e in found.trainings] == [project["finetune"]]
    assert [e.uuid for e in found.datasets] == [project["dataset"]]
    assert project["label"] in {e.uuid for e in found.labels}
    assert [f.name for f in found.foundations] == ["mini"]
    assert [(f.split, f.group, f.labeller, f.protocol) for f in found.frames] == [
        ("train", "g0", "vasp", "p1"),
        ("train", "g0", "vasp", "p1"),
        ("valid", "g1", "vasp", "p1"),
        ("valid", "g1", "vasp", "p1"),
    ]
    assert {f.labels for f in found.frames} == {project["label"]}
    assert found.trainings[0].document.model.config == {"strategy": "lora", "lr": 0.02}
    assert set(found.versions) >= {"phonotune", "torch", "phonopy"}


def test_a_comparison_knows_the_properties_it_compares(store, project):
    found = ResultStore(store).lineage(project["compare"])
    assert {e.stage for e in found.properties} == {
        "elastic reference",
        "elastic untuned",
        "elastic lora",
    }
    assert [e.uuid for e in found.entries][-1] == project["compare"]


def test_a_document_out_of_a_query_is_traced_too(store, project):
    results = ResultStore(store)
    (document,) = results.query(strategy="lora", kind="elastic")
    assert results.lineage(document).result.uuid == project["elastic lora"]
    other = document.model_copy(update={"n_strains": 7})
    with pytest.raises(InputError, match="does not hold this elastic document"):
        results.lineage(other)


def test_frames_come_from_the_labels_that_hold_them(store, project, put_documents, make):
    """Another flow has labels of the same labeller; only those with the frames count."""
    documents = make.project()
    put_documents(label=documents["label"].model_copy(update={"protocol": "p2"}))
    found = ResultStore(store).lineage(project["finetune"])
    assert {f.labels for f in found.frames} == {project["label"]}


def test_what_the_store_does_not_hold_is_said(store, put_documents, make):
    uuids = put_documents(elastic_lora=make.tuned(25.0))
    found = ResultStore(store).lineage(uuids["elastic lora"])
    assert found.missing == (f"The training of model {MODEL_ID[:12]} is not in the store.",)
    assert not found.frames


def test_a_reference_is_traced_to_the_labels_of_its_stage(store, put_documents, make):
    labels = make.project()["label"]
    reference = make.elastic("reference", 24.0)
    source = reference.source.model_copy(update={"evaluator": "vasp"})
    document = reference.model_copy(update={"source": source})
    uuids = put_documents(elastic_reference=document)
    assert "not in the store" in ResultStore(store).lineage(uuids["elastic reference"]).missing[0]
    again = put_documents(collect=labels, elastic_reference=document)
    (row,) = store.docs_store.query({"uuid": again["collect"]})
    row.pop("_id")
    row["metadata"] = {"phonotune": {"stage": "elastic reference"}}
    store.docs_store.update([row], key=["uuid", "index"])
    found = ResultStore(store).lineage(again["elastic reference"])
    assert [e.uuid for e in found.labels] == [again["collect"]]
