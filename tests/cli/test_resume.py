"""A command that is killed goes on where it stopped, and gives the same document."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.models import answer_cache
from phonotune.models.evaluate import ModelEvaluator
from phonotune.ports import Evaluation
from phonotune.settings import get_settings

COMMANDS = {
    "phonons": ("phonons", "--supercell", "1", "1", "1", "--relax"),
    "elastic": ("elastic", "--relax"),
    "double-well": ("double-well", "--supercell", "1", "1", "1", "--relax"),
    "thermal": ("thermal", "--supercell", "1", "1", "1", "--relax"),
    "transitions": ("transitions", "--depth", "0"),
}
FILES = {
    "phonons": "phonons.json",
    "elastic": "elastic.json",
    "double-well": "well.json",
    "thermal": "quasi_harmonic.json",
    "transitions": "transitions.json",
}

KILLED = """
import os, signal, sys
from phonotune.cli.app import app
from phonotune.models import answer_cache, evaluate

answer_cache.ATOMS_AT_ONCE = 1
answer, asked = evaluate.ModelEvaluator.__call__, []

def answer_or_die(self, structures):
    asked.append(len(structures))
    if len(asked) > int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(self, structures)

evaluate.ModelEvaluator.__call__ = answer_or_die
app(sys.argv[2:])
"""


class Counter:
    """Counts the structures that models evaluate, and stops like Ctrl-C after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.most = 0, sys.maxsize
        answer = ModelEvaluator.__call__

        def count(evaluator: ModelEvaluator, structures: Sequence[Structure]) -> list[Evaluation]:
            if self.asked >= self.most:
                raise KeyboardInterrupt
            self.asked += len(structures)
            return answer(evaluator, structures)

        monkeypatch.setattr(ModelEvaluator, "__call__", count)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Counts; every answer is evaluated alone and written at once."""
    monkeypatch.setattr(answer_cache, "ATOMS_AT_ONCE", 1)
    monkeypatch.setenv("PHONOTUNE_CHECKPOINT_SECONDS", "1e-9")
    get_settings.cache_clear()
    return Counter(monkeypatch)


@pytest.fixture
def crystal(tmp_path: Path) -> Path:
    path = tmp_path / "si.cif"
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.45), ["Si"], [[0, 0, 0]])
    silicon.get_primitive_structure().to(filename=str(path))
    return path


def written(command: str, folder: Path) -> Any:
    return json.loads((folder / FILES[command]).read_text(encoding="utf-8"))


def kept() -> list[Path]:
    return list(get_settings().checkpoint_dir.glob("*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_was_interrupted_evaluates_nothing_twice(
    cli: Any, crystal: Path, tmp_path: Path, counter: Counter, command: str
) -> None:
    name, *options = COMMANDS[command]
    call = (name, crystal, "--model", "teacher", *options, "-o")
    cli(*call, tmp_path / "whole")
    whole = counter.asked
    assert whole >= 4
    assert kept() == []
    counter.asked, counter.most = 0, whole - 2
    cli(*call, tmp_path / "again", code=130)
    assert not (tmp_path / "again").exists()
    assert len(kept()) == 1
    counter.asked, counter.most = 0, sys.maxsize
    cli(*call, tmp_path / "again")
    assert counter.asked == 2
    assert written(command, tmp_path / "again") == written(command, tmp_path / "whole")
    assert kept() == []


@pytest.mark.slow
def test_a_command_that_was_killed_by_9_goes_on(
    cli: Any, crystal: Path, tmp_path: Path, counter: Counter
) -> None:
    name, *options = COMMANDS["double-well"]
    call = (name, str(crystal), "--model", "teacher", *options, "-o")
    cli(*call, tmp_path / "whole")
    whole, counter.asked = counter.asked, 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(whole - 2), *call, str(tmp_path / "again")],
        env=environment,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len([path for path in kept() if path.suffix == ".sqlite"]) == 1
    cli(*call, tmp_path / "again")
    assert counter.asked == 2
    assert written("double-well", tmp_path / "again") == written("double-well", tmp_path / "whole")


def test_the_crystal_that_the_model_relaxed_is_the_one_computed(
    cli: Any, crystal: Path, tmp_path: Path
) -> None:
    call = ("phonons", crystal, "--model", "teacher", "--supercell", "1", "1", "1")
    given = cli(*call, "-o", tmp_path / "given")["phonon"]
    relaxed = cli(*call, "--relax", "-o", tmp_path / "relaxed")["phonon"]
    assert not given["relaxed"]
    assert relaxed["relaxed"]
    assert relaxed["material_id"] == given["material_id"]
    assert relaxed["unitcell"]["lattice"]["volume"] != given["unitcell"]["lattice"]["volume"]
    assert relaxed["unitcell"]["lattice"]["a"] == pytest.approx(
        relaxed["unitcell"]["lattice"]["b"], rel=1e-8
    )
