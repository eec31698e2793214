"""`phonotune doctor` on this machine, whole and with something broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phonotune.store import open_store


def states(found: dict[str, Any]) -> dict[str, str]:
    return {check["what"]: check["state"] for check in found["checks"]}


def test_a_whole_machine_has_no_failure(cli: Any, tmp_path: Path) -> None:
    found = cli("doctor", "--store", tmp_path / "store")
    assert found["ok"] is True
    assert "fail" not in states(found).values()
    assert states(found)["store"] == states(found)["toy models"] == "ok"


def test_the_store_is_left_empty(cli: Any, tmp_path: Path) -> None:
    cli("doctor", "--store", tmp_path / "store")
    store = open_store(tmp_path / "store")
    assert store.count() == 0
    assert all(extra.count() == 0 for extra in store.additional_stores.values())


def test_a_store_that_cannot_be_made_is_a_failure(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = cli("doctor", "--store", tmp_path / "file" / "store", code=1)
    assert found["ok"] is False
    assert states(found)["store"] == "fail"


def test_a_missing_jobflow_configuration_is_a_failure(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(tmp_path / "jobflow.yaml"))
    found = cli("doctor", "--store", tmp_path / "store", code=1)
    assert states(found)["jobflow"] == "fail"


def test_vasp_is_only_a_warning(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert states(cli("doctor", "--store", tmp_path / "store"))["VASP"] == "warn"
