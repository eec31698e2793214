"""The scripts of examples/ run as they stand, one after the other as a user would."""

from __future__ import annotations

import runpy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a script in this process; return what it printed."""

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_a_model_is_trained_on_outputs_of_atomate2(
    run_script: Callable[..., str], tmp_path: Path
) -> None:
    said = run_script("train_on_atomate2.py", str(tmp_path))
    assert "18 frames by EMT" in said
    assert (tmp_path / "tuned" / "model.json").is_file()


@pytest.mark.slow
def test_a_tuned_model_drives_atomate2(
    run_script: Callable[..., str], tuned: str, tmp_path: Path
) -> None:
    said = run_script("model_in_atomate2.py", str(tmp_path), tuned)
    assert "bulk modulus" in said
    assert "C_v at 300 K: 2" in said  # near 3R


@pytest.mark.slow
def test_phonotune_gives_atomate2_its_phonons(
    run_script: Callable[..., str], tuned: str, tmp_path: Path
) -> None:
    assert "bulk modulus at rest" in run_script("phonons_in_atomate2.py", str(tmp_path), tuned)


def test_every_script_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text()
    for script in EXAMPLES.glob("*.py"):
        assert script.name in page
