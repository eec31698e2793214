"""The largest document of an output, before it is saved."""

import bson
import numpy as np
import pytest

from phonotune.errors import StoreError
from phonotune.schemas.blob import Blob
from phonotune.store import check_size, largest_document


def test_the_estimate_is_the_size_that_is_stored(store, project):
    from phonotune.store import ResultStore

    for document in ResultStore(store).query():
        estimate = largest_document(document)
        sizes = [len(bson.encode(row)) for row in store.docs_store.query({"name": {"$ne": ""}})]
        assert estimate.n_bytes <= max(sizes) + 20_000
        row = store.docs_store.query_one({"output.kind": document.kind})
        assert estimate.n_bytes >= len(bson.encode({"output": row["output"]}))


def test_blobs_count_on_their_own():
    small, large = Blob.pack(a=[1.0]), Blob.pack(a=np.random.default_rng(0).random(50_000))
    largest = largest_document({"text": "x", "more": [{"small": small, "large": large}]})
    assert largest.what == "blob more.0.large"
    assert largest.n_bytes == pytest.approx(len(large.payload), rel=0.01)


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(StoreError, match=r"elastic of NaCl becomes a stored document of 9\.0 MB"):
        check_size({"text": "x" * 9_000_000}, "elastic of NaCl")
    full = Blob("A" * 8_000_000, "0")
    assert check_size({"data": full}, "a full blob").what == "blob data"


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"a": [1.0, float("nan")]}, r"output\.a\.1 is nan"),
        ({"a": {"b": float("-inf")}}, r"output\.a\.b is -inf"),
        ({"a": b"raw"}, r"output\.a holds 3 bytes"),
    ],
)
def test_nan_and_bytes_are_refused_by_place(content, where):
    with pytest.raises(StoreError, match=where):
        largest_document(content)
