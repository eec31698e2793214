"""Archives: the same results in another store; what was tampered with is refused before anything is written."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phonotune.errors import InputError
from phonotune.store import (
    ResultStore,
    Wanted,
    archive_file,
    load_archive,
    open_store,
    save_archive,
)

Members = dict[str, bytes]


def read(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]


def write(path: Path, members: Members, *extra: tarfile.TarInfo, sign: bool = True) -> Path:
    """Write a tar.gz; with `sign` the manifest is made to fit the members."""
    if sign:
        manifest = json.loads(members["manifest.json"])
        manifest["members"] = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in members.items()
            if name != "manifest.json"
        }
        members = members | {"manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(path, "w:gz") as tar:
        for info in extra:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def change(name: str, edit: Callable[[Any], None]) -> Callable[[Members], Members]:
    """Return what edits the first member of a folder."""

    def changed(members: Members) -> Members:
        key = min(member for member in members if member.startswith(name))
        content = json.loads(members[key])
        edit(content)
        return members | {key: json.dumps(content).encode()}

    return changed


@pytest.fixture
def saved(store: Any, project: dict[str, str], tmp_path: Path) -> Path:
    path = tmp_path / "project.tar.gz"
    save_archive(ResultStore(store), path)
    return path


@pytest.fixture
def archive(tmp_path: Path, make: Any, put_documents_embedded: Any) -> Path:
    path = tmp_path / "project.tar.gz"
    save_archive(ResultStore(put_documents_embedded), path)
    return path


@pytest.fixture
def put_documents_embedded(tmp_path: Path, make: Any) -> Any:
    opened = open_store(tmp_path / "source")
    make.put(opened, make.project(), tmp_path)
    return opened


def content_of(store: Any) -> tuple[Any, Any]:
    """Return everything in a store that an archive carries."""
    rows = [
        {k: v for k, v in row.items() if k != "_id" and not k.startswith("@")}
        for row in store.docs_store.query({})
    ]
    blobs = {b["blob_uuid"]: b["data"] for b in store.additional_stores["data"].query({})}
    return sorted(rows, key=lambda row: str(row["uuid"])), blobs


def test_an_archive_brings_the_same_results_into_another_store(
    store: Any, saved: Path, tmp_path: Path
) -> None:
    other = open_store(tmp_path / "other")
    loaded = load_archive(ResultStore(other), saved)
    assert (loaded.documents, loaded.kept) == (7, 0)
    assert content_of(other) == content_of(store)
    assert ResultStore(other).query() == ResultStore(store).query()
    assert ResultStore(other).lineage("abababab").missing == ()


def test_loading_twice_changes_nothing(store: Any, saved: Path) -> None:
    before = content_of(store)
    loaded = load_archive(ResultStore(store), saved)
    assert (loaded.documents, loaded.blobs, loaded.kept) == (0, 0, 7)
    assert content_of(store) == before


def test_an_archive_goes_from_one_kind_of_store_to_the_other(
    store: Any, archive: Path, put_documents_embedded: Any
) -> None:
    load_archive(ResultStore(store), archive)
    assert content_of(store) == content_of(put_documents_embedded)
    load_archive(ResultStore(store), archive)
    assert content_of(store) == content_of(put_documents_embedded)


def test_a_load_that_was_killed_is_ended_by_the_next(
    store: Any, archive: Path, monkeypatch: pytest.MonkeyPatch, put_documents_embedded: Any
) -> None:
    def die(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.docs_store, "update", die)
        with pytest.raises(KeyboardInterrupt):
            load_archive(ResultStore(store), archive)
    assert ResultStore(store).query() == []
    load_archive(ResultStore(store), archive)
    assert content_of(store) == content_of(put_documents_embedded)


def test_a_part_is_archived_with_all_it_comes_from(
    store: Any, project: Any, tmp_path: Path
) -> None:
    path = tmp_path / "part.tar.gz"
    save_archive(ResultStore(store), path, Wanted(strategy="lora", kind="elastic"))
    other = ResultStore(open_store(tmp_path / "other"))
    load_archive(other, path)
    assert {e.stage for e in other.entries()} == {"label", "dataset", "finetune", "elastic lora"}
    assert other.lineage(project["elastic lora"]).missing == ()


def test_equal_content_gives_equal_bytes(put_documents_embedded: Any, tmp_path: Path) -> None:
    results = ResultStore(put_documents_embedded)
    for name in ("a.tar.gz", "b.tar.gz"):
        save_archive(results, tmp_path / name)
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    assert not list(tmp_path.glob(".*part"))


def test_nothing_to_archive_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to archive"):
        save_archive(ResultStore(tmp_path / "empty"), tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


def test_the_manifest_has_the_sha256_of_every_member(archive: Path) -> None:
    members = read(archive)
    manifest = json.loads(members.pop("manifest.json"))
    assert {n: m["sha256"] for n, m in manifest["members"].items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in members.items()
    }
    assert manifest["documents"] == 7


def plain(name: str, size: int = 1) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        plain("/etc/passwd"),
        plain("../../escape.json"),
        plain("documents/../../escape.json"),
        plain("documents/000000.json/../x"),
        plain("documents/000000.json"),
        plain("notes.txt"),
        special("documents/000009.json", tarfile.SYMTYPE, "/etc/passwd"),
        special("documents/000009.json", tarfile.LNKTYPE, "../../x"),
        special("documents/000009.json", tarfile.CHRTYPE),
        special("documents/000009.json", tarfile.BLKTYPE),
        special("documents/000009.json", tarfile.FIFOTYPE),
        special("documents", tarfile.DIRTYPE),
        plain("documents/000009.json", archive_file.MAX_MEMBER + 1),
    ],
    ids=lambda info: f"{info.name}-{info.type!r}-{info.size}",
)
def test_a_hostile_member_is_refused_and_nothing_is_written(
    archive: Path, tmp_path: Path, member: tarfile.TarInfo
) -> None:
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    path = write(folder / "bad.tar.gz", read(archive), member)
    before = sorted(tmp_path.rglob("*"))
    other = open_store(tmp_path / "other")
    there = sorted({*before, *tmp_path.rglob("*")})
    with pytest.raises(InputError, match="Nothing was loaded"):
        load_archive(ResultStore(other), path)
    assert sorted(tmp_path.rglob("*")) == there
    assert content_of(other) == ([], {})


def test_a_bomb_is_not_unpacked(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_file, "MAX_TOTAL", 1000)
    with pytest.raises(InputError, match="unpacks to more"):
        load_archive(ResultStore(tmp_path / "other"), archive)


def evil_class(content: Any) -> None:
    content["output"]["settings"] = {"@module": "subprocess", "@class": "Popen", "args": "true"}


def set_to(value: Any, *path: str) -> Callable[[Any], None]:
    def edit(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        change("documents", evil_class),
        change("documents", set_to({"$gt": ""}, "uuid")),
        change("documents", set_to({"$where": "1"}, "metadata")),
        change("documents", set_to("phonon", "output", "kind")),
        change("documents", set_to("spell", "output", "kind")),
        change("documents", set_to("red", "output", "colour")),
        change("documents", set_to("x", "output", "@class")),
        change("documents", set_to(None, "output")),
        change("documents", set_to(1, "extra")),
        change("blobs", set_to("AAAA", "data", "payload")),
        change("blobs", set_to({"$gt": ""}, "blob_uuid")),
        change("blobs", set_to("elsewhere", "store")),
        change("blobs", set_to("00000000", "job_uuid")),
        lambda members: {n: d for n, d in members.items() if n != "blobs/000000.json"},
        lambda members: members | {"documents/000000.json": b"[1, 2]"},
        lambda members: members | {"documents/000000.json": b"{" * 100_000},
        lambda members: members | {"documents/000000.json": b'{"a": NaN}'},
    ],
)
def test_tampered_content_with_right_hashes_is_refused(
    archive: Path, tmp_path: Path, edit: Callable[[Members], Members]
) -> None:
    path = write(tmp_path / "bad.tar.gz", edit(read(archive)))
    other = open_store(tmp_path / "other")
    with pytest.raises(InputError):
        load_archive(ResultStore(other), path)
    assert content_of(other) == ([], {})


@pytest.mark.parametrize(
    "edit",
    [
        change("documents", set_to("other", "name")),
        lambda members: {n: d for n, d in members.items() if n != "documents/000000.json"},
        lambda members: members | {"documents/000099.json": b"{}"},
        lambda members: {n: d for n, d in members.items() if n != "manifest.json"},
        lambda members: members | {"manifest.json": b'{"format": "other"}'},
        lambda members: members | {"manifest.json": b"[]"},
    ],
)
def test_hashes_that_do_not_match_are_refused(
    archive: Path, tmp_path: Path, edit: Callable[[Members], Members]
) -> None:
    path = write(tmp_path / "bad.tar.gz", edit(read(archive)), sign=False)
    with pytest.raises(InputError, match="not an archive that can be loaded"):
        load_archive(ResultStore(tmp_path / "other"), path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no tar", gzip.compress(b"no tar"), gzip.compress(b"\0" * 20_000)],
    ids=["empty", "text", "zipped text", "zipped zeros"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_archive(ResultStore(tmp_path / "other"), path)


def test_a_cut_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(archive.read_bytes()[:-400])
    with pytest.raises(InputError):
        load_archive(ResultStore(tmp_path / "other"), path)


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tar\.gz"):
        load_archive(ResultStore(tmp_path / "other"), tmp_path / "none.tar.gz")


def test_a_document_that_lost_an_array_is_not_archived(
    put_documents_embedded: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = ResultStore(put_documents_embedded)
    (training,) = (e for e in results.entries() if e.stage == "finetune")
    put_documents_embedded.additional_stores["data"].remove_docs({"job_uuid": training.uuid})
    assert save_archive(results, tmp_path / "a.tar.gz").documents == 6
    assert "lost an array" in caplog.text
