"""Deletion leaves no array without its document, and no reference to what is gone."""

import pytest

from phonotune.errors import InputError
from phonotune.store import ResultStore
from phonotune.store.blobs import references


def orphans_and_losses(store):
    """Return ids of arrays without a document, and ids that documents miss."""
    referred = {
        r["blob_uuid"] for row in store.docs_store.query({}) for r in references(row["output"])
    }
    there = {row["blob_uuid"] for row in store.additional_stores["data"].query({})}
    return there - referred, referred - there


def test_a_result_goes_with_its_arrays(store, project):
    results = ResultStore(store)
    deleted = results.delete(kind="comparison")
    assert deleted.names == ("compare",)
    deleted = results.delete(project["label"])
    assert (deleted.documents, deleted.blobs) == (1, 1)
    assert len(results.query()) == len(project) - 2
    assert orphans_and_losses(store) == (set(), set())


@pytest.mark.parametrize(
    ("stage", "users"),
    [("finetune", {"compare", "elastic lora"}), ("dataset", {"finetune"})],
)
def test_what_others_refer_to_stays_unless_they_go_too(store, project, stage, users):
    results = ResultStore(store)
    with pytest.raises(InputError, match=r"refer to what would be deleted") as caught:
        results.delete(project[stage])
    assert all(name in str(caught.value) for name in users)
    assert len(results.query()) == len(project)
    deleted = results.delete(project[stage], dependents=True)
    assert {stage, "finetune", "elastic lora", "compare"} == set(deleted.names) | {stage}
    assert orphans_and_losses(store) == (set(), set())
    assert {e.stage for e in results.entries()} >= {"label", "elastic untuned"}


def test_one_of_two_trainings_of_a_model_may_go(store, project, put_documents, make):
    uuids = put_documents(again=make.training("0" * 64))
    assert ResultStore(store).delete(uuids["again"]).documents == 1


@pytest.mark.parametrize("ends_in", ["remove_docs", "update"])
def test_a_deletion_that_was_killed_is_ended_by_the_next(store, project, monkeypatch, ends_in):
    results = ResultStore(store)

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    target = store.additional_stores["data"] if ends_in == "remove_docs" else store.docs_store
    with monkeypatch.context() as patch:
        patch.setattr(target, ends_in, die)
        with pytest.raises(KeyboardInterrupt):
            results.delete(project["label"])
    _, lost = orphans_and_losses(store)
    assert not lost, "no document refers to an array that is gone, at any moment"
    results.delete(kind="comparison")
    results.delete(project["label"]) if ends_in == "update" else None
    assert orphans_and_losses(store) == (set(), set())
    assert store.docs_store.query_one({"uuid": project["label"]}) is None


@pytest.mark.parametrize("query", [{}, {"where": {}}])
def test_everything_is_not_deleted_by_accident(store, project, query):
    with pytest.raises(InputError, match="needs ids or a query"):
        ResultStore(store).delete(**query)


def test_an_operator_deletes_nothing(store, project):
    with pytest.raises(InputError):
        ResultStore(store).delete(formula={"$ne": ""})
    with pytest.raises(InputError):
        ResultStore(store).delete("$where")
    assert len(ResultStore(store).query()) == len(project)
