"""Looking a store over before submission: one sentence on what is wrong, never a password."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from pymongo import MongoClient

from phonotune.errors import StoreError
from phonotune.store import ResultStore, check_store, describe, open_store

PASSWORDS = {"writer": "s3cr3t/wr:it@er", "reader": "t0p-s3cr3t-reader"}
PARTS = (("docs_store", "MongoStore", "outputs"), ("data", "GridFSStore", "blobs"))


def store_file(path: Path, **where: Any) -> Path:
    """Write a store's yaml; `where` is host, port, username, password, or uri."""
    fields = ", ".join(f"{key}: '{value}'" for key, value in where.items() if key != "port")
    if "port" in where:
        fields += f", port: {where['port']}"
    lines = [
        f"{{type: {kind}, {fields}, database: pt, collection_name: {name}}}"
        for _, kind, name in PARTS
    ]
    path.write_text(f"docs_store: {lines[0]}\nadditional_stores: {{data: {lines[1]}}}\n")
    return path


def message_of(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        check_store(path)
    return str(caught.value)


def test_a_good_embedded_store_is_left_as_it_was(tmp_path: Path) -> None:
    store = check_store(tmp_path / "store")
    assert store.count() == store.additional_stores["data"].count() == 0


@pytest.mark.mongo
def test_a_good_server_is_left_as_it_was_and_has_its_indexes(mongo_yaml: Path) -> None:
    with check_store(mongo_yaml) as store:
        assert store.docs_store._collection.count_documents({}) == 0
        assert store.additional_stores["data"].count({}) == 0
        assert "output.formula_1" in store.docs_store._collection.index_information()
        assert check_store(store) is store


def test_an_unreachable_host_is_told_within_five_seconds(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = store_file(
        tmp_path / "s.yaml", host="127.0.0.1", port=port, username="me", password="hush-hush"
    )
    started = time.monotonic()
    message = message_of(path)
    assert time.monotonic() - started < 5.0
    assert "does not answer" in message
    assert "type: GridFSStore" in message, "says what to write"
    assert "hush-hush" not in message


@pytest.fixture(scope="module")
def guarded(mongo_server: Any) -> Iterator[Any]:
    """A server that demands a password, with one user who may write and one who may only read."""
    server = mongo_server()
    with MongoClient(server.uri) as client:
        for (user, password), role in zip(PASSWORDS.items(), ("readWrite", "read"), strict=True):
            roles = [{"role": role, "db": "pt"}]
            client["pt"].command("createUser", user, pwd=password, roles=roles)
    server.stop()
    server.auth = True
    server.start()
    yield server
    server.stop()


def as_fields(server: Any, path: Path, user: str, password: str) -> Path:
    return store_file(path, host="127.0.0.1", port=server.port, username=user, password=password)


def as_uri(server: Any, path: Path, user: str, password: str) -> Path:
    uri = f"mongodb://{user}:{quote_plus(password)}@127.0.0.1:{server.port}/?authSource=pt"
    return store_file(path, uri=uri)


@pytest.mark.mongo
@pytest.mark.parametrize("write", [as_fields, as_uri])
def test_credentials_are_checked_and_never_shown(
    guarded: Any, write: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.yaml"
    with check_store(write(guarded, path, "writer", PASSWORDS["writer"])) as store:
        name = describe(store.docs_store)
    wrong = message_of(write(guarded, path, "writer", "wr0ng/p@ss"))
    reader = message_of(write(guarded, path, "reader", PASSWORDS["reader"]))
    assert "refuses this user and password" in wrong
    assert "cannot be written by this user" in reader
    assert "readWrite" in reader
    said = " ".join([wrong, reader, name, caplog.text])
    secrets = [*PASSWORDS.values(), *map(quote_plus, PASSWORDS.values()), "wr0ng", "p@ss"]
    assert not [secret for secret in secrets if secret in said]


@pytest.mark.mongo
def test_a_server_that_wants_a_password_says_so(guarded: Any, tmp_path: Path) -> None:
    path = store_file(tmp_path / "s.yaml", host="127.0.0.1", port=guarded.port)
    assert "refuses this user and password" in message_of(path)


@pytest.mark.mongo
def test_a_reader_may_query(guarded: Any, tmp_path: Path) -> None:
    path = as_uri(guarded, tmp_path / "s.yaml", "reader", PASSWORDS["reader"])
    with ResultStore(path) as results:
        assert results.query() == []


@pytest.mark.mongo
def test_results_survive_a_server_that_is_killed(mongo_server: Any, tmp_path: Path) -> None:
    server = mongo_server(durable=True)
    path = store_file(tmp_path / "s.yaml", uri=server.uri)
    with open_store(path) as store:
        store.update([{"uuid": "a", "index": 1, "output": 3}], key=["uuid", "index"])
    server.kill()
    server.start()
    with open_store(path) as store:
        assert store.query_one({"uuid": "a"})["output"] == 3


@pytest.mark.parametrize(
    "text",
    [
        "docs_store: {type: MongoStore, password: 'hush-hush', host: h, colour: red}\n",
        "docs_store: {type: NoSuch, uri: 'mongodb://me:hush-hush@h/db'}\n",
        "docs_store: {type: MongoStore, uri: 'mongodb://me:hush-hush@h:x/db', collection_name: c}\n",
        "docs_store: {type: MongoStore, password: 'hush-hush\n  : [",
        "password: hush-hush\n",
    ],
)
def test_a_wrong_file_is_explained_without_its_password(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(StoreError, match="type: GridFSStore") as caught:
        open_store(path)
    chain = [caught.value, caught.value.__cause__]
    assert "hush-hush" not in " ".join(map(str, chain))


def test_a_store_that_changes_what_is_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "s")
    monkeypatch.setattr(store.docs_store, "query", lambda *_a, **_k: iter([{"uuid": "other"}]))
    with pytest.raises(StoreError, match="gives back another document"):
        check_store(store)
