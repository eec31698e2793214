"""The scripts of examples/ run as they stand, one after the other as a user would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_script(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_model_is_trained_on_outputs_of_atomate2(tmp_path: Path) -> None:
    said = run_script("train_on_atomate2.py", str(tmp_path))
    assert "18 frames by EMT" in said
    assert (tmp_path / "tuned" / "model.json").is_file()


@pytest.mark.slow
def test_a_tuned_model_drives_atomate2(tuned: str, tmp_path: Path) -> None:
    said = run_script("model_in_atomate2.py", str(tmp_path), tuned)
    assert "bulk modulus" in said
    assert "C_v at 300 K: 2" in said  # near 3R


@pytest.mark.slow
def test_phonotune_gives_atomate2_its_phonons(tuned: str, tmp_path: Path) -> None:
    assert "bulk modulus at rest" in run_script("phonons_in_atomate2.py", str(tmp_path), tuned)


def test_every_script_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text()
    for script in EXAMPLES.glob("*.py"):
        assert script.name in page
