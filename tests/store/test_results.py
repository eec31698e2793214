"""Typed queries over a job store."""

import pytest

from phonotune.errors import ConfigError, InputError
from phonotune.schemas.elastic import ElasticDocument
from phonotune.store import ResultStore


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
    ],
)
def test_a_query_returns_what_matches(filled_store, query, moduli):
    assert [d.bulk_modulus for d in ResultStore(filled_store).query(**query)] == moduli


def test_an_unknown_kind_is_refused_with_the_nearest(filled_store):
    with pytest.raises(ConfigError, match="Did you mean 'elastic'"):
        ResultStore(filled_store).query(kind="elasic")


def test_a_query_operator_is_refused(filled_store):
    with pytest.raises(InputError, match="must be text"):
        ResultStore(filled_store).query(formula={"$gt": ""})


def test_the_data_frame_holds_scalars_by_dotted_name(filled_store):
    frame = ResultStore(filled_store).to_dataframe(formula="NaCl")
    assert list(frame["bulk_modulus"]) == [20.0, 25.0]
    assert list(frame["source.role"]) == ["untuned", "lora"]
    assert not any(name.startswith("settings") for name in frame.columns)


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
