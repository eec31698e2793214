"""Indexes are made once, and the documented queries use them."""

import pytest

from phonotune.store import Wanted, ensure_indexes, open_store
from phonotune.store.criteria import id_criteria, with_kinds
from phonotune.store.indexes import BLOB_INDEXES, DOCUMENT_INDEXES

QUERIES = [
    Wanted(formula="NaCl"),
    Wanted(material_id="m-NaCl"),
    Wanted(model_id="ab" * 32),
    Wanted(strategy="lora"),
    Wanted(kind="elastic"),
    Wanted(kind="elastic", since="2026-01-01"),
    Wanted(where={"bulk_modulus": (20, None)}),
    Wanted(where={"lowest_frequency": (None, -1)}),
]


def stages(plan):
    """Yield every stage of a query plan."""
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan["stage"]
        for value in plan.values():
            yield from stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from stages(value)


@pytest.fixture
def server(mongo_yaml):
    opened = open_store(mongo_yaml)
    yield opened
    opened.close()


@pytest.mark.mongo
def test_indexes_are_made_once(server):
    assert len(ensure_indexes(server)) == len(DOCUMENT_INDEXES)
    assert ensure_indexes(server) == []
    files = server.additional_stores["data"]._files_collection.index_information()
    keys = {key for index in files.values() for key, _ in index["key"]}
    assert {f"metadata.{name}" for name in BLOB_INDEXES} <= keys


@pytest.mark.mongo
@pytest.mark.parametrize("wanted", QUERIES, ids=str)
def test_a_documented_query_uses_an_index(server, wanted):
    ensure_indexes(server)
    for criteria in wanted.criteria():
        plan = server.docs_store._collection.find(with_kinds(criteria)).explain()
        found = set(stages(plan["queryPlanner"]["winningPlan"]))
        assert "IXSCAN" in found
        assert "COLLSCAN" not in found


def test_what_narrows_most_comes_first():
    """SecantusDB takes the index of the first key; mongod chooses by itself."""
    wanted = Wanted(formula="NaCl", kind="elastic", strategy="lora", since="2026-01-01")
    (criteria,) = wanted.criteria()
    assert list(criteria) == ["output.formula", "completed_at", "output.kind", "output.source.role"]
    (criteria,) = Wanted(model_id="ab", formula="NaCl", kind="training").criteria()
    assert next(iter(criteria)) == "output.model.model_id"


@pytest.mark.mongo
def test_an_id_is_looked_up_by_index(server):
    ensure_indexes(server)
    for criteria in id_criteria("abcdef12"):
        plan = server.docs_store._collection.find(criteria).explain()
        assert "IXSCAN" in set(stages(plan["queryPlanner"]["winningPlan"]))


def test_an_embedded_store_needs_none(tmp_path):
    assert ensure_indexes(open_store(tmp_path / "s")) == []
