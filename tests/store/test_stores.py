"""Opening stores: the embedded default, yaml files, and one clear sentence where that fails."""

import os

import pytest

from phonotune.errors import StoreError
from phonotune.settings import get_settings
from phonotune.store import BLOB_STORE, open_store


def test_the_default_lies_in_the_data_directory():
    store = open_store()
    assert BLOB_STORE in store.additional_stores
    assert get_settings().store_path.is_dir()


def test_documents_outlive_the_connection(tmp_path):
    store = open_store(tmp_path / "s")
    store.update([{"uuid": "a", "index": 1, "output": 3}], key=["uuid", "index"])
    store.close()
    assert open_store(tmp_path / "s").query_one({"uuid": "a"})["output"] == 3


def test_a_yaml_file_describes_a_store(tmp_path):
    path = tmp_path / "store.yaml"
    path.write_text(
        "docs_store: {type: MemoryStore}\nadditional_stores: {data: {type: MemoryStore}}\n"
    )
    assert BLOB_STORE in open_store(path).additional_stores


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("docs_store: {type: MemoryStore}\n", "no additional store 'data'"),
        ("host: nowhere\n", "no docs_store"),
        ("docs_store: {type: NoSuchStore}\n", "does not describe a job store"),
    ],
)
def test_a_wrong_yaml_file_is_explained_with_an_example(tmp_path, text, message):
    path = tmp_path / "store.yaml"
    path.write_text(text)
    with pytest.raises(StoreError, match=message) as caught:
        open_store(path)
    assert "GridFSStore" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_yaml_file_is_named(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        open_store(tmp_path / "none.yaml")


def test_a_path_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(tmp_path / "file" / "store")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"not writable|cannot be made"):
        open_store(tmp_path)
