"""Blobs: arrays that travel beside documents."""

import json

import numpy as np
import pytest
from monty.json import MontyDecoder, MontyEncoder

from phonotune.errors import PhonotuneError
from phonotune.schemas.blob import MAX_BLOB_BYTES, Blob


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
