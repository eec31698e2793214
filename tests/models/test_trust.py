from __future__ import annotations

import pytest

from phonotune.errors import FoundationError
from phonotune.models.trust import (
    ledger_path,
    read_verified,
    sha256_of,
    trust,
    trusted_files,
)
from phonotune.settings import get_settings

A, B = "a" * 64, "b" * 64


def test_nothing_is_trusted_at_first():
    assert trusted_files() == ()


def test_trusted_files_are_remembered_in_order(tmp_path):
    trust("one.model", tmp_path / "one.model", A)
    trust("two.model", tmp_path / "two.model", B)
    assert [(file.name, file.sha256) for file in trusted_files()] == [
        ("one.model", A),
        ("two.model", B),
    ]


def test_a_file_that_moved_keeps_one_entry(tmp_path):
    trust("one.model", tmp_path / "here", A)
    trust("one.model", tmp_path / "there", A)
    assert [file.path for file in trusted_files()] == [tmp_path / "there"]


def test_a_damaged_ledger_says_what_to_do():
    ledger_path().parent.mkdir(parents=True, exist_ok=True)
    ledger_path().write_text("{")
    with pytest.raises(FoundationError, match=r"trusted\.json.*models trust"):
        trusted_files()


def test_a_ledger_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("PHONOTUNE_CACHE_DIR", str(tmp_path / "cache"))
    get_settings.cache_clear()
    with pytest.raises(FoundationError, match="PHONOTUNE_CACHE_DIR"):
        trust("one.model", tmp_path / "one.model", A)


def test_sha256_follows_the_content_and_a_changed_file_is_not_read(tmp_path):
    path = tmp_path / "one.model"
    path.write_bytes(b"first")
    first = sha256_of(path)
    assert read_verified(path, first) == b"first"
    path.write_bytes(b"second!")
    assert sha256_of(path) != first
    with pytest.raises(FoundationError, match="the file changed"):
        read_verified(path, first)
