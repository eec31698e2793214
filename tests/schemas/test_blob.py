"""Blobs: arrays that travel beside documents."""

import json

import numpy as np
import pytest
from monty.json import MontyDecoder, MontyEncoder

from phonotune.errors import PhonotuneError
from phonotune.schemas.blob import MAX_BLOB_BYTES, Blob, join_blobs


def test_arrays_come_back_bit_for_bit():
    rng = np.random.default_rng(0)
    forces, flags = rng.normal(size=(4, 3)), np.array([True, False])
    blob = json.loads(
        json.dumps(Blob.pack(forces=forces, flags=flags), cls=MontyEncoder), cls=MontyDecoder
    )
    assert np.array_equal(blob.arrays()["forces"], forces)
    assert np.array_equal(blob.arrays()["flags"], flags)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_by_name(bad):
    with pytest.raises(PhonotuneError, match="forces"):
        Blob.pack(forces=[1.0, bad])


def test_objects_are_refused():
    with pytest.raises(PhonotuneError, match="objects"):
        Blob.pack(things=np.array([{}], dtype=object))


def test_a_damaged_payload_is_noticed():
    blob = Blob.pack(a=[1.0])
    with pytest.raises(PhonotuneError, match="damaged"):
        Blob(Blob.pack(a=[2.0]).payload, blob.sha256).arrays()


def test_a_blob_that_fits_no_document_is_refused():
    with pytest.raises(PhonotuneError, match="MB"):
        Blob.from_bytes(bytes(MAX_BLOB_BYTES), "npz")


def test_equality_is_that_of_the_content():
    assert Blob.pack(a=[1.0]) == Blob.pack(a=[1.0])
    assert Blob.pack(a=[1.0]) != Blob.pack(a=[2.0])
    assert len({Blob.pack(a=[1.0]), Blob.pack(a=[1.0])}) == 1


@pytest.mark.parametrize("size", [0, 1, 1999, 2000, 2001, 5003])
def test_bytes_of_any_size_are_split_and_joined(monkeypatch, size):
    monkeypatch.setattr("phonotune.schemas.blob.MAX_BLOB_BYTES", 2668)
    content = bytes(i % 251 for i in range(size))
    parts = Blob.split(content, "safetensors")
    assert all(len(part.payload) <= 2668 for part in parts)
    assert len(parts) == max(1, -(-size // 2001))
    assert join_blobs(parts) == content
