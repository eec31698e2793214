"""Leases between real processes; the GPUs are named by hand, so no CUDA is needed."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic

import pytest
from warm import CONTEXT, WarmProcess

from phonotune.errors import InputError, PhonotuneError
from phonotune.models import gpu_lock as module
from phonotune.models.gpu_lock import Gpu, allowed_gpus, find_gpus, hold_gpu
from phonotune.settings import get_settings

ONE = [Gpu(0, "a")]
TWO = [Gpu(0, "a"), Gpu(1, "b")]


def hold(names: str, talk: Connection) -> None:
    """Hold one of the named GPUs, tell which, and give it back when told to."""
    with hold_gpu("training", [Gpu(i, name) for i, name in enumerate(names.split(","))]) as gpu:
        talk.send(gpu.name)
        talk.recv()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PHONOTUNE_LEASE_DIR", str(tmp_path / "leases"))
    choose(monkeypatch, seconds=0)
    monkeypatch.setattr(module, "_PAUSE", 0.02)
    return tmp_path / "leases"


def choose(monkeypatch: pytest.MonkeyPatch, jobs: int = 1, seconds: float = 0) -> None:
    monkeypatch.setenv("PHONOTUNE_JOBS_PER_GPU", str(jobs))
    monkeypatch.setenv("PHONOTUNE_LEASE_SECONDS", str(seconds))
    get_settings.cache_clear()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[str], tuple[WarmProcess, str, Connection]]]:
    """Start another process that holds one of the named GPUs; say which."""
    started = []

    def start(names: str) -> tuple[WarmProcess, str, Connection]:
        here, there = CONTEXT.Pipe()
        process = WarmProcess(hold, names, there, folder=tmp_path / "holders")
        started.append((process, here))
        return process, here.recv(), here

    yield start
    for process, _ in started:
        process.kill()


def test_another_process_gets_another_gpu_and_a_third_is_told_who_holds_them(holder) -> None:
    (first, taken, _), (second, other, _) = holder("a,b"), holder("a,b")
    assert {taken, other} == {"a", "b"}
    sentence = "No GPU came free within 0 s for mine"
    with pytest.raises(PhonotuneError, match=sentence) as told, hold_gpu("mine", TWO):
        pass
    for process in (first, second):
        assert f"pid {process.pid} on " in str(told.value)
    assert "(training, since " in str(told.value)


def test_a_gpu_of_a_process_that_was_killed_is_free_at_once(holder) -> None:
    process, taken, _ = holder("a")
    assert taken == "a"
    process.kill()
    with hold_gpu("mine", ONE) as gpu:
        assert gpu == ONE[0]


def test_a_waiting_job_gets_the_gpu_when_it_is_given_back(
    holder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, _, talk = holder("a")
    choose(monkeypatch, seconds=30)
    caplog.set_level(logging.INFO)
    threading.Timer(0.3, talk.send, ["enough"]).start()
    started = monotonic()
    with hold_gpu("mine", ONE):
        assert 0.2 < monotonic() - started < 20
    assert caplog.text.count("mine waits for a GPU; found a held by pid") == 1


def test_an_exception_gives_the_gpu_back(folder: Path) -> None:
    with pytest.raises(RuntimeError), hold_gpu("one", ONE):
        raise RuntimeError
    with hold_gpu("two", ONE):
        assert json.loads((folder / "gpu-a.lock").read_text())["job"] == "two"


def test_a_call_within_another_is_the_same_gpu() -> None:
    with hold_gpu("outer", TWO) as outer, hold_gpu("inner", TWO) as inner:
        assert inner is outer


def in_threads(count: int, gpus: list[Gpu]) -> tuple[list[str], list[PhonotuneError]]:
    """Let `count` threads ask at once, each holding what it got until all have asked."""
    got, refused = [], []
    asked = threading.Barrier(count)

    def ask() -> None:
        try:
            with hold_gpu("small", gpus) as gpu:
                got.append(gpu.name)
                asked.wait(timeout=20)
        except PhonotuneError as error:
            refused.append(error)
            asked.wait(timeout=20)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(got), refused


def test_small_jobs_share_gpus_when_told_to_and_spread_over_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(monkeypatch, jobs=2)
    got, refused = in_threads(5, TWO)
    assert got == ["a", "a", "b", "b"]
    assert len(refused) == 1


def test_two_small_jobs_take_two_gpus_before_they_share_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(monkeypatch, jobs=4)
    assert in_threads(2, TWO)[0] == ["a", "b"]


@pytest.mark.slow
def test_a_job_that_wants_a_gpu_of_its_own_never_meets_those_that_share(
    holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, jobs=2)
    process, *_ = holder("a")
    choose(monkeypatch, jobs=1)
    with pytest.raises(PhonotuneError, match=f"a held by pid {process.pid}"), hold_gpu("own", ONE):
        pass
    process.kill()
    holder("a")
    choose(monkeypatch, jobs=2)
    with pytest.raises(PhonotuneError, match="No GPU came free"), hold_gpu("small", ONE):
        pass


def test_a_folder_that_cannot_be_written_is_told_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PHONOTUNE_LEASE_DIR", str(tmp_path / "file" / "leases"))
    get_settings.cache_clear()
    with pytest.raises(InputError, match="PHONOTUNE_LEASE_DIR"), hold_gpu("mine", ONE):
        pass


def test_a_link_planted_in_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "precious").write_text("precious")
    (folder / "gpu-a.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="PHONOTUNE_LEASE_DIR"), hold_gpu("mine", ONE):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_nothing_is_held_on_a_cpu(
    device: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHONOTUNE_DEVICE", device)
    get_settings.cache_clear()
    if device == "auto":
        monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    with hold_gpu("mine") as gpu:
        assert gpu is None
    assert not folder.exists()


@pytest.mark.parametrize(
    ("environment", "uuids", "expected"),
    [
        ({}, ["u0", "u1"], [(0, "u0"), (1, "u1")]),
        ({}, ["", ""], [(0, "0"), (1, "1")]),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, ["", ""], [(0, "2"), (1, "3")]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-9f"}, [""], [(0, "9f")]),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1,MIG-2"}, ["u", "u"], [(0, "MIG-1"), (1, "MIG-2")]),
        # Slurm renumbers from 0 on: its own variable tells two jobs of a node apart
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_GPUS": "3"}, [""], [(0, "3")]),
        ({"SLURM_JOB_GPUS": "2,3", "SLURM_STEP_GPUS": "3"}, [""], [(0, "3")]),
        # nobody hides the other GPUs: only those of the job are allowed
        ({"SLURM_JOB_GPUS": "1"}, ["u0", "u1", "u2"], [(1, "u1")]),
    ],
)
def test_gpus_are_those_of_the_scheduler_and_named_alike_everywhere(
    environment: dict[str, str], uuids: list[str], expected: list[tuple[int, str]]
) -> None:
    assert allowed_gpus(environment, uuids) == [Gpu(*gpu) for gpu in expected]


@pytest.mark.gpu
def test_the_held_gpu_is_the_current_one_of_torch() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    last = find_gpus()[-1:]
    with hold_gpu("mine", last) as gpu:
        assert torch.cuda.current_device() == gpu.index
