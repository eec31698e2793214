"""Typed queries over a job store, embedded and on a server."""

from datetime import date, datetime

import pytest

from phonotune.errors import ConfigError, InputError, StoreError
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.training import TrainingDocument
from phonotune.store import KINDS, ResultStore
from phonotune.store.documents import document_types, units_of

MODEL_ID = "ab" * 32


def test_all_documents_come_back_typed(filled_store):
    documents = ResultStore(filled_store).query()
    assert [type(d) for d in documents] == [ElasticDocument] * 3


@pytest.mark.parametrize(
    ("query", "moduli"),
    [
        ({"formula": "MgO"}, [160.0]),
        ({"strategy": "lora"}, [25.0, 160.0]),
        ({"strategy": "untuned", "kind": "elastic"}, [20.0]),
        ({"kind": "phonon"}, []),
        ({"material_id": "m-NaCl"}, [20.0, 25.0]),
        ({"model_id": "id-lora", "formula": "NaCl"}, [25.0]),
        ({"where": {"bulk_modulus": (25.0, None)}}, [25.0, 160.0]),
        ({"where": {"output.bulk_modulus": (None, 25.0)}, "formula": "NaCl"}, [20.0, 25.0]),
        ({"where": {"bulk_modulus": (21, 24)}}, []),
        ({"where": {"born_stable": True, "bulk_modulus": (100, 200)}}, [160.0]),
        ({"where": {"born_stable": False}}, []),
        ({"limit": 2}, [25.0, 160.0]),
        ({"formula": "NaCl", "limit": 1}, [25.0]),
        ({"since": "2026-01-01"}, [20.0, 25.0, 160.0]),
        ({"until": "2026-01-01"}, []),
    ],
)
def test_a_query_returns_what_matches(filled_store, query, moduli):
    assert [d.bulk_modulus for d in ResultStore(filled_store).query(**query)] == moduli


def test_every_kind_is_found_by_strategy_and_by_model(store, project):
    results = ResultStore(store)
    assert {d.kind for d in results.query(strategy="lora")} == {"training", "elastic"}
    assert {d.kind for d in results.query(model_id=MODEL_ID)} == {"training", "elastic"}
    assert [d.kind for d in results.query(strategy="lora", kind="training")] == ["training"]


def test_documents_of_a_store_equal_those_that_were_stored(store, project, make):
    found = {e.stage: e.document for e in ResultStore(store).entries(load=True)}
    assert found == make.project()
    assert found["finetune"].history.arrays()["epoch"].tolist() == [0, 1]


def test_times_are_local_dates_with_the_last_day_included(store, project, make):
    make.age(store, project["elastic lora"], datetime(2020, 5, 17, 23, 59))
    results = ResultStore(store)
    assert [d.source.role for d in results.query(until=date(2020, 5, 17))] == ["lora"]
    assert results.query(until="2020-05-17T23:00") == []
    assert [d.source.role for d in results.query(until="2020-05-18", kind="elastic")] == ["lora"]
    assert len(results.query(since="2020-05-18")) == len(project) - 1
    assert results.query()[0].kind == "elastic", "oldest first"


def test_arrays_are_fetched_when_they_are_first_used(store, project):
    (document,) = ResultStore(store).query(kind="training", load=False)
    assert isinstance(document, TrainingDocument)
    assert "not loaded" in repr(document.history)
    assert document.history.arrays()["epoch"].tolist() == [0, 1]
    assert document == ResultStore(store).query(kind="training")[0]


def test_an_array_that_is_gone_is_named_when_it_is_used(store, project):
    (document,) = ResultStore(store).query(kind="training", load=False)
    store.additional_stores["data"].remove_docs({"job_uuid": project["finetune"]})
    with pytest.raises(StoreError, match="no longer in the store"):
        document.history.arrays()


def test_streaming_gives_what_a_query_gives(store, project, monkeypatch):
    from phonotune.store import rows as module

    monkeypatch.setattr(module, "_BATCH", 2)
    monkeypatch.setattr(module, "_EMBEDDED_BATCH", 2)
    results = ResultStore(store)
    assert list(results.iter()) == results.query()
    assert next(results.iter(kind="elastic")).kind == "elastic"


def test_the_server_sorts_what_is_too_much_to_sort_here(store, project, monkeypatch):
    from phonotune.store import rows as module

    results = ResultStore(store)
    here = [e.uuid for e in results.entries()]
    newest = [e.uuid for e in results.entries(limit=3)]
    monkeypatch.setattr(module, "_FEW", 2)
    assert [e.uuid for e in results.entries()] == here
    assert [e.uuid for e in results.entries(limit=3)] == newest == here[-3:]


@pytest.mark.parametrize("looks_back", [(), (0,), (0, 1), (1,)])
@pytest.mark.parametrize("few", [2, 1000])
def test_the_newest_are_the_newest_however_far_one_looks_back(
    store, project, monkeypatch, looks_back, few
):
    from phonotune.store import rows as module

    results = ResultStore(store)
    here = [e.uuid for e in results.entries()]
    monkeypatch.setattr(module, "is_embedded", lambda _: False)
    monkeypatch.setattr(module, "_LOOKS_BACK", looks_back)
    monkeypatch.setattr(module, "_FEW", few)
    for limit in (1, 3, 100):
        assert [e.uuid for e in results.entries(limit=limit)] == here[-limit:]


def test_an_unknown_kind_is_refused_with_the_nearest(filled_store):
    with pytest.raises(ConfigError, match="Did you mean 'elastic'"):
        ResultStore(filled_store).query(kind="elasic")


def test_an_unknown_field_is_refused_with_the_nearest(filled_store):
    with pytest.raises(ConfigError, match="Did you mean 'bulk_modulus'"):
        ResultStore(filled_store).query(where={"bulk_moduls": (1, 2)})


@pytest.mark.parametrize(
    "query",
    [
        {"formula": {"$gt": ""}},
        {"formula": "$where"},
        {"kind": {"$ne": None}},
        {"strategy": ["lora"]},
        {"model_id": 3},
        {"material_id": {"$regex": ".*"}},
        {"since": {"$gt": ""}},
        {"until": "yesterday"},
        {"where": {"$where": (1, 2)}},
        {"where": {"bulk_modulus": {"$gt": 1}}},
        {"where": {"bulk_modulus": ("$gt", None)}},
        {"where": {"bulk_modulus": (float("nan"), None)}},
        {"where": {"bulk_modulus": (None, None)}},
        {"where": {"bulk_modulus": (3, 2)}},
        {"where": {"bulk_modulus": (True, 2)}},
        {"where": {"settings.strain": (0, 1)}},
        {"where": {"bulk_modulus": (1, None)}, "kind": "phonon"},
        {"limit": 0},
        {"limit": {"$gt": 1}},
    ],
    ids=str,
)
def test_an_operator_or_nonsense_is_refused(filled_store, query):
    with pytest.raises(InputError):
        ResultStore(filled_store).query(**query)


def test_no_text_of_a_user_becomes_an_operator(filled_store, monkeypatch):
    asked = []
    query = filled_store.docs_store.query

    def spy(criteria=None, *rest, **more):
        asked.append(criteria)
        return query(criteria, *rest, **more)

    monkeypatch.setattr(filled_store.docs_store, "query", spy)
    ResultStore(filled_store).query(formula="NaCl", since="2026-01-01", where={"depth": (1, 2)})

    def operators(content):
        if isinstance(content, dict):
            for key, value in content.items():
                if key.startswith("$"):
                    yield key
                yield from operators(value)

    assert asked
    assert set(operators(asked[0])) == {"$gte", "$lte"}


def test_the_data_frame_holds_scalars_by_dotted_name(filled_store):
    frame = ResultStore(filled_store).to_dataframe(formula="NaCl")
    assert list(frame["bulk_modulus"]) == [20.0, 25.0]
    assert list(frame["source.role"]) == ["untuned", "lora"]
    assert not any(name.startswith(("settings", "versions", "@")) for name in frame.columns)


def test_the_data_frame_of_a_query_is_that_of_its_documents(store, project):
    results = ResultStore(store)
    by_projection = results.to_dataframe()
    of_documents = results.to_dataframe(results.query())
    assert set(by_projection.columns) - set(of_documents.columns) == {"uuid", "completed_at"}
    for name in of_documents.columns:
        left, right = by_projection[name], of_documents[name]
        assert left.isna().tolist() == right.isna().tolist(), name
        assert left.dropna().tolist() == right.dropna().tolist(), name
    assert "metrics.valid_after.forces_mae" in of_documents
    assert "uuid" in results.to_dataframe(kind="elastic", limit=2)


def test_a_table_reads_no_array(store, project, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("an array was read")

    monkeypatch.setattr(store.additional_stores["data"], "query", refuse)
    assert len(ResultStore(store).to_dataframe()) == len(project)


def test_an_empty_store_gives_an_empty_table(store):
    assert ResultStore(store).to_dataframe().empty
    assert ResultStore(store).query() == []


def test_a_result_is_found_by_its_id_or_the_beginning_of_it(store, project):
    results = ResultStore(store)
    uuid = project["elastic lora"]
    assert results.find(uuid).document.bulk_modulus == 25.0
    assert results.find(uuid[:13]).uuid == uuid
    assert results.find("abababab").document.kind == "training"
    dataset_hash = results.query(kind="dataset")[0].dataset_hash
    assert results.find(dataset_hash[:20]).document.kind == "dataset"


@pytest.mark.parametrize("identifier", ["abc", {"$gt": ""}, "xyz12345", ".*", "$where"])
def test_what_is_no_id_is_refused(filled_store, identifier):
    with pytest.raises(InputError, match="is not an id"):
        ResultStore(filled_store).find(identifier)


def test_an_unknown_id_says_how_to_list_them(filled_store):
    with pytest.raises(InputError, match="phonotune results"):
        ResultStore(filled_store).find("00000000-1111")


def test_a_beginning_of_several_results_lists_them(store, project, put_documents, make):
    put_documents(second=make.training("0" * 64, "abab" + "0" * 60))
    with pytest.raises(InputError, match="2 results"):
        ResultStore(store).find("abab")


def test_a_model_comes_with_its_adapter(store, project):
    record = ResultStore(store).model(MODEL_ID[:10])
    assert record.model_id == MODEL_ID
    assert record.adapters[0][0].to_bytes() == b"an adapter"
    with pytest.raises(InputError, match="No training gave"):
        ResultStore(store).model("1234567890")


def test_a_document_that_lost_its_array_does_not_hide_the_others(filled_store, caplog):
    lost = {
        "@module": "phonotune.schemas.blob",
        "@class": "Blob",
        "blob_uuid": "x",
        "store": "data",
    }
    row = {
        "uuid": "broken",
        "index": 1,
        "name": "phonon",
        "output": {"kind": "phonon", "data": lost},
    }
    filled_store.docs_store.update([row], key=["uuid", "index"])
    assert len(ResultStore(filled_store).query()) == 3
    assert "lost an array" in caplog.text


def test_every_document_is_of_a_kind_that_can_be_asked_for():
    assert {"phonon", "elastic", "training", "transitions", "quasi_harmonic"} <= set(KINDS)
    assert all(document_types()[kind].model_fields["kind"].default == kind for kind in KINDS)


def test_numbers_know_their_units_by_dotted_name():
    assert units_of("elastic")["bulk_modulus"] == "GPa"
    assert units_of("phonon")["thermal_300.entropy"] == "J/K/mol"
    assert units_of("training")["metrics.valid_after.energy_mae"] == "meV/atom"
