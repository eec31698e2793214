"""A calculator in another environment is a model: its answers, its deaths, and what is said of them."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.errors import ConfigError, FoundationError, PhonotuneError, StructureError
from phonotune.models import gpu_lock, process_engine
from phonotune.models.answer_cache import AnswerCache
from phonotune.models.engines import require_trainable
from phonotune.models.potentials import record_of, write_potentials
from phonotune.models.process_engine import ProcessEvaluator, running, stop_processes
from phonotune.models.records import model_record
from phonotune.schemas.potential import Potential, Weights
from phonotune.settings import get_settings

VERSIONS = {"stub_potentials": "1.0"}
Make = Callable[..., ProcessEvaluator]


@pytest.fixture(autouse=True)
def _no_process_stays() -> Iterator[None]:
    yield
    stop_processes()


@pytest.fixture
def cells(aluminium: Structure) -> list[Structure]:
    """Six displaced cells."""
    made = []
    for step in range(6):
        cell = aluminium.copy()
        cell.translate_sites([0], [0.01 + 0.01 * step, 0.005, 0.0])
        made.append(cell)
    return made


@pytest.fixture
def make(other_python: Path, tmp_path: Path) -> Make:
    """Make the evaluator of a stub."""

    def evaluator(
        stub: str = "Pair", elements: tuple[str, ...] | None = None, **arguments: Any
    ) -> Any:
        potential = Potential(
            calculator=f"stub_potentials:{stub}",
            arguments={"log": str(tmp_path / "calls"), **arguments} if stub != "Nan" else {},
            python=str(other_python),
            versions=VERSIONS,
            elements=elements,
        )
        return ProcessEvaluator(model_record(record_of("stub", potential)))

    return evaluator


@functools.cache
def reference() -> Any:
    """The stub in this process."""
    file = Path(__file__).parents[1] / "stub_potentials.py"
    spec = importlib.util.spec_from_file_location("reference_potentials", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Pair()


def expected(cell: Structure) -> tuple[float, np.ndarray, np.ndarray]:
    atoms = cell.to_ase_atoms()
    atoms.calc = reference()
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)


def check(answers: list[Any], cells: list[Structure]) -> None:
    for answer, cell in zip(answers, cells, strict=True):
        energy, forces, stress = expected(cell)
        assert answer.energy == pytest.approx(energy, abs=1e-12)
        np.testing.assert_allclose(answer.forces, forces, atol=1e-12)
        np.testing.assert_allclose(answer.stress, stress, atol=1e-12)


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text())


def test_it_answers_what_the_calculator_answers_by_one_process(
    make: Make, cells: list[Structure], tmp_path: Path
) -> None:
    evaluator = make()
    check(evaluator(cells), cells)
    pid = running(evaluator._record.foundation).pid
    check(make()(cells), cells)
    assert evaluator([]) == []
    assert running(evaluator._record.foundation).pid == pid != os.getpid()
    assert calls(tmp_path) == 12


def test_it_is_named_by_package_version_arguments_and_weights(make: Make) -> None:
    source = make(factor=2.0).source
    assert source.evaluator == "stub"
    assert source.potential is not None
    assert source.potential.startswith("stub_potentials 1.0, Pair(")
    assert "factor=2.0" in source.potential
    assert make(factor=2.0).identity == source.model_id != make(factor=3.0).identity


@pytest.mark.parametrize("bad", ["killed", "chatter"])
def test_a_process_that_dies_or_prints_in_the_middle_changes_no_answer(
    make: Make, cells: list[Structure], tmp_path: Path, bad: str
) -> None:
    check(make(bad=bad, at=3)(cells), cells)
    assert calls(tmp_path) == len(cells) + (
        bad == "killed"
    )  # nothing that was answered is asked again


def test_kill_from_outside_in_the_middle_changes_no_answer(
    make: Make, cells: list[Structure], tmp_path: Path
) -> None:
    evaluator, many = make(), cells * 20
    pid = running(evaluator._record.foundation).pid

    def kill() -> None:
        while not (tmp_path / "calls").exists() or calls(tmp_path) < 5:
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    answers = evaluator(many)
    killer.join()
    check(answers[:6], cells)
    check(answers[-6:], cells)
    assert running(evaluator._record.foundation).pid != pid


def test_a_structure_that_kills_it_again_and_again_is_told(
    make: Make, cells: list[Structure], tmp_path: Path
) -> None:
    with pytest.raises(PhonotuneError) as caught:
        make(bad="killed_always", at=2)(cells)
    assert str(caught.value).startswith(
        "The process of stub died 3 times at Al4: killed by SIGKILL. It wrote last: out of memory. "
    )
    assert calls(tmp_path) == 2 + 3


def test_answers_before_a_failure_are_kept(
    make: Make, cells: list[Structure], tmp_path: Path
) -> None:
    with AnswerCache(make(bad="killed_always", at=2), interval=0.0) as cache:
        check(cache.evaluator(cells[:2]), cells[:2])
        with pytest.raises(PhonotuneError, match="died 3 times"):
            cache.evaluator(cells)
        cache.keep = True
    before = calls(tmp_path)
    with AnswerCache(make(bad="killed_always", at=2), work=None, interval=0.0) as cache:
        check(cache.evaluator(cells[:2]), cells[:2])
    assert calls(tmp_path) == before


def test_a_hang_ends_at_the_limit(
    make: Make, cells: list[Structure], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = make(bad="hang", at=2)
    process = running(evaluator._record.foundation)
    process._limit = 0.3
    with pytest.raises(PhonotuneError) as caught:
        evaluator(cells)
    assert str(caught.value) == (
        "stub gave no answer for 0.3 s, and its process was stopped. It wrote last: iteration 7 of many. Look "
        "whether it hangs, or set PHONOTUNE_POTENTIAL_SECONDS higher."
    )
    assert not process.alive


def test_a_process_that_does_not_read_ends_at_the_limit(make: Make, aluminium: Structure) -> None:
    evaluator = make()
    process = running(evaluator._record.foundation)
    os.kill(process.pid, signal.SIGSTOP)
    process._limit = 0.3
    with pytest.raises(PhonotuneError, match=r"no answer for 0\.3 s"):
        evaluator([aluminium * (4, 4, 4)] * 40)  # more than a pipe holds


@pytest.mark.parametrize(
    ("stub", "said"),
    [
        ("nothing", "it gave a dict, not an ASE calculator"),
        ("broken", "ValueError: no weights"),
        ("leave", "exit code 3. It wrote last: licence server not found"),
        ("die", "killed by SIGABRT. It wrote last: Fatal: no libcudart"),
        ("Missing", "AttributeError"),
    ],
)
def test_a_death_at_the_start_is_told(
    other_python: Path, aluminium: Structure, stub: str, said: str
) -> None:
    potential = Potential(
        calculator=f"stub_potentials:{stub}", python=str(other_python), versions=VERSIONS
    )
    with pytest.raises(FoundationError) as caught:
        ProcessEvaluator(model_record(record_of("stub", potential)))([aluminium])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(other_python) in str(caught.value)


def test_nan_is_told_and_the_process_stays(make: Make, cells: list[Structure]) -> None:
    evaluator = make("Nan")
    for _ in range(2):
        with pytest.raises(PhonotuneError, match="stub gave NaN or infinity for Al4"):
            evaluator(cells)
    assert running(evaluator._record.foundation).alive


def test_an_element_that_is_missing_is_told(make: Make, aluminium: Structure) -> None:
    salt = aluminium.copy()
    salt.replace_species({"Al": "Na"})
    with pytest.raises(PhonotuneError, match=r"stub gave no answer for Na4.*NotImplementedError"):
        make()([aluminium, salt])
    with pytest.raises(StructureError, match="stub does not know Na of Na4"):
        make(elements=("Al", "Cu"))([salt])
    assert make("Known").elements == ("Al", "Cu")
    assert make().elements is None


def test_a_python_that_is_not_here_is_told(
    make: Make, aluminium: Structure, other_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = make()
    foundation = evaluator._record.foundation
    assert foundation.potential is not None
    away = foundation.potential.model_copy(update={"python": "/no/such/python"})
    evaluator = ProcessEvaluator(model_record(record_of("stub", away)))
    with pytest.raises(
        FoundationError, match=r"/no/such/python, cannot be started here.*PHONOTUNE_POTENTIALS"
    ):
        evaluator([aluminium])
    monkeypatch.setenv("PHONOTUNE_POTENTIALS", f'{{"stub": "{other_python}"}}')
    get_settings.cache_clear()
    check(evaluator([aluminium]), [aluminium])


def test_the_python_that_was_added_here_is_taken(make: Make, aluminium: Structure) -> None:
    here = make()._record.foundation.potential
    assert here is not None
    write_potentials({"stub": here})
    away = here.model_copy(update={"python": "/no/such/python"})
    evaluator = ProcessEvaluator(model_record(record_of("stub", away)))
    check(evaluator([aluminium]), [aluminium])


def test_another_version_is_refused(make: Make, aluminium: Structure) -> None:
    here = make()._record.foundation.potential
    assert here is not None
    other = here.model_copy(update={"versions": {"stub_potentials": "0.9"}})
    with pytest.raises(
        FoundationError, match=r"found stub_potentials .*, expected stub_potentials 0\.9"
    ):
        ProcessEvaluator(model_record(record_of("stub", other)))([aluminium])


def test_weights_are_an_argument_and_part_of_the_identity(
    other_python: Path, aluminium: Structure, tmp_path: Path
) -> None:
    file = tmp_path / "weights.txt"
    file.write_text("2.0")
    sha256 = process_engine.potential_worker.sha256_of(file)

    def evaluator(sha256: str) -> ProcessEvaluator:
        potential = Potential(
            calculator="stub_potentials:Pair",
            arguments={"weights": "{weights}"},
            python=str(other_python),
            weights=Weights(path=str(file), sha256=sha256),
            versions=VERSIONS,
        )
        return ProcessEvaluator(model_record(record_of("stub", potential)))

    (answer,) = evaluator(sha256)([aluminium])
    assert answer.energy == pytest.approx(2.0 * expected(aluminium)[0], abs=1e-12)
    with pytest.raises(
        FoundationError, match=f"weights {sha256[:12]}, expected .*weights 000000000000"
    ):
        evaluator("0" * 64)([aluminium])


def test_it_sees_the_gpu_that_the_job_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert process_engine.visible_devices() == "4,5,6"
    token = gpu_lock._held.set(gpu_lock.Gpu(1, "b"))
    try:
        assert process_engine.visible_devices() == "5"
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        assert process_engine.visible_devices() == "1"
    finally:
        gpu_lock._held.reset(token)
    monkeypatch.setenv("PHONOTUNE_DEVICE", "cpu")
    get_settings.cache_clear()
    assert process_engine.visible_devices() == ""


def test_it_ends_with_the_process_that_started_it(other_python: Path) -> None:
    folder = Path(process_engine.potential_worker.__file__).parent
    code = f"""
import os, subprocess, sys
sys.path.insert(0, {str(folder)!r})
import potential_worker
process = subprocess.Popen([{str(other_python)!r}, potential_worker.__file__], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, start_new_session=True)
process.stdin.write(potential_worker.pack_frame(
    {{"calculator": "stub_potentials:Pair", "arguments": {{}}, "weights": None}}))
process.stdin.flush()
potential_worker.read_frame(process.stdout.read)
print(process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid, end = int(done.stdout), time.monotonic() + 5.0
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_it_is_not_trained(make: Make) -> None:
    with pytest.raises(ConfigError, match="Strategy 'lora' needs a MACE model, and stub is an ASE"):
        require_trainable(make()._record.foundation, "Strategy 'lora'")


def test_a_process_that_another_thread_stopped_is_started_again(
    make: Make, cells: list[Structure]
) -> None:
    evaluator = make()
    process = running(evaluator._record.foundation)
    send = process.send

    def stopped_before(content: bytes) -> None:
        process.stop()
        send(content)

    process.send = stopped_before  # type: ignore[method-assign]
    check(evaluator(cells), cells)
