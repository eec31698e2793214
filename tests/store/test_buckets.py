"""Arrays in an S3 bucket: found, read, deleted with their objects; a wrong set-up is one sentence."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import yaml
from jobflow import JobStore
from moto import mock_aws

from phonotune.errors import StoreError
from phonotune.store import BLOB_STORE, ResultStore, check_store, open_store, remove_outputs
from tests.store.test_renaming import check_renaming

BUCKET = "phonotune-arrays"
SECRET = "hush-hush-secret"
PROFILE = {
    "aws_access_key_id": "me",
    "aws_secret_access_key": SECRET,
    "region_name": "us-east-1",
}


def store_file(folder: Path, **changes: Any) -> Path:
    """Write the yaml of a store on disk whose arrays go to a bucket."""
    place = {"type": "MontyStore", "database_path": str(folder), "database_name": "pt"}
    bucket = {
        "type": "S3Store",
        "bucket": BUCKET,
        "s3_profile": PROFILE,
        "key": "blob_uuid",
        "compress": True,
        "index": place | {"collection_name": "index", "key": "blob_uuid"},
    }
    content = {
        "docs_store": place | {"collection_name": "outputs"},
        "additional_stores": {BLOB_STORE: bucket | changes},
    }
    path = folder / "store.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def client() -> Iterator[Any]:
    """Amazon's answers in this process, and a bucket."""
    with mock_aws():
        made = boto3.client("s3", **PROFILE)
        made.create_bucket(Bucket=BUCKET)
        yield made


def objects(client: Any) -> int:
    return int(client.list_objects_v2(Bucket=BUCKET)["KeyCount"])


@pytest.fixture
def bucket_store(client: Any, tmp_path: Path) -> Iterator[JobStore]:
    opened = check_store(store_file(tmp_path))
    yield opened
    opened.additional_stores[BLOB_STORE].close()


@pytest.fixture
def uuids(bucket_store: JobStore, make: Any, tmp_path: Path) -> dict[str, str]:
    return make.put(bucket_store, make.project(), tmp_path)


def test_looking_it_over_leaves_no_object_behind(bucket_store: JobStore, client: Any) -> None:
    assert objects(client) == 0


def test_results_come_back_with_their_arrays(
    bucket_store: JobStore, uuids: dict[str, str], client: Any
) -> None:
    assert objects(client) > 0
    (training,) = ResultStore(bucket_store).query(kind="training")
    np.testing.assert_array_equal(training.history.arrays()["epoch"], [0, 1])
    (lazy,) = ResultStore(bucket_store).query(kind="training", load=False)
    assert lazy.history.sha256 == training.history.sha256


def test_what_is_deleted_leaves_no_object_behind(
    bucket_store: JobStore, uuids: dict[str, str], client: Any
) -> None:
    before = objects(client)
    deleted = ResultStore(bucket_store).delete(kind="labels")
    assert deleted.blobs > 0
    assert objects(client) == before - deleted.blobs
    remove_outputs(bucket_store, list(uuids.values()))
    assert objects(client) == bucket_store.count() == 0


def test_a_result_in_a_bucket_gets_another_id(
    bucket_store: JobStore, uuids: dict[str, str]
) -> None:
    check_renaming(bucket_store, uuids["finetune"])


def test_a_bucket_that_is_not_there_is_one_sentence_without_the_secret(
    client: Any, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="s3://elsewhere") as caught:
        open_store(store_file(tmp_path, bucket="elsewhere"))
    assert SECRET not in str(caught.value)
    assert "type: S3Store" in str(caught.value)


def test_an_endpoint_that_does_not_answer_is_told_within_five_seconds(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(StoreError, match="s3://phonotune-arrays") as caught:
        check_store(store_file(tmp_path, endpoint_url=url))
    assert time.monotonic() - started < 5
    assert SECRET not in str(caught.value)
