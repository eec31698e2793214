"""What the decorator of every job does: role, a GPU, a further walltime, in every manager."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from jobflow import CURRENT_JOB, Flow, JobStore, Maker, Response, job, run_locally
from jobflow.core.reference import OutputReference
from maggma.stores import MemoryStore

from phonotune.errors import StoreError, WalltimeError
from phonotune.flows.local import run_flow
from phonotune.jobs import base
from phonotune.jobs.base import Role, checked, role_job
from phonotune.models import gpu_lock
from phonotune.schemas.base import Document
from phonotune.schemas.blob import Blob

NUMBER = 41


class Sum(Document):
    """A number."""

    kind: str = "sum"
    number: int


@job
def numbers() -> dict[str, int]:
    return {"number": NUMBER}


@job
def double(number: int) -> int:
    return 2 * number


@dataclass
class StepMaker(Maker):
    """Adds one in several walltimes: each stops after so many steps as `steps` says."""

    name: str = "step"
    role: Role = "gpu_train"

    steps: ClassVar[list[int]] = []
    """Progress of each walltime that is still to come; then the job ends."""
    ran: ClassVar[list[int]] = []
    held: ClassVar[list[gpu_lock.Gpu | None]] = []

    @role_job(lambda maker: maker.role, Sum)
    def make(self, number: int, more: int = 0) -> Sum:
        self.ran.append(number)
        self.held.append(gpu_lock._held.get())
        if self.steps:
            raise WalltimeError("Stopped.", self.steps.pop(0))
        return Sum(number=number + 1 + more)


class Heap(Document):
    """A text, and an array beside it."""

    kind: str = "heap"
    text: str = ""
    data: Blob | None = None


@dataclass
class HeapMaker(Maker):
    """Returns a text of so many bytes, and a Blob of so many characters, alone or in a Response."""

    name: str = "heap"
    role: Role = "light"
    text: int = 0
    payload: int = 0
    in_response: bool = False

    @role_job(lambda maker: maker.role, Heap)
    def make(self) -> Heap | Response[Heap]:
        made = Heap(text="x" * self.text, data=Blob("A" * self.payload, "0"))
        return Response(output=made) if self.in_response else made


@job(data=[Blob])
@checked
def heap_of_a_function(text: int) -> Heap:
    return Heap(text="x" * text)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("steps", "ran", "held"):
        monkeypatch.setattr(StepMaker, name, [])
    monkeypatch.setenv("PHONOTUNE_LEASE_DIR", str(tmp_path / "leases"))


@pytest.fixture
def store() -> JobStore:
    made = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    made.connect()
    return made


def chain(**config: object) -> Flow:
    """Return numbers -> step -> double; the step takes one argument of each kind by reference."""
    first = numbers()
    step = StepMaker().make(first.output["number"], more=first.output["number"])
    step.update_config({"manager_config": config})
    step.append_name(" of a chain")
    return Flow([first, step, double(step.output.number)])


def rows(store: JobStore, name: str) -> list[dict]:
    return sorted(store.query({"name": name}), key=lambda row: row["index"])


def test_a_job_goes_on_after_a_walltime_and_its_children_wait_for_the_result(store) -> None:
    StepMaker.steps += [3, 1]
    run_locally(chain(), store=store, log=False, ensure_success=True)
    assert StepMaker.ran == [NUMBER] * 3
    found = rows(store, "step of a chain")
    assert [row["index"] for row in found] == [1, 2, 3]
    assert [row["output"] is None for row in found] == [True, True, False]
    assert len({row["uuid"] for row in found}) == 1
    assert {row["metadata"]["phonotune"]["role"] for row in found} == {"gpu_train"}
    assert rows(store, "double")[0]["output"] == 2 * (2 * NUMBER + 1)


def test_a_repetition_refers_to_its_inputs_instead_of_holding_them(store) -> None:
    StepMaker.steps += [3]
    flow = chain(worker="gpu")
    flow.jobs[0].run(store)
    (again,) = flow.jobs[1].run(store).replace.jobs
    assert all(isinstance(arg, OutputReference) for arg in again.function_args)
    assert isinstance(again.function_kwargs["more"], OutputReference)
    assert again.config.manager_config == {"worker": "gpu"}
    assert not again.config.pass_manager_config


def test_a_repetition_without_progress_is_an_error(store) -> None:
    StepMaker.steps += [0, 0]
    with pytest.raises(WalltimeError, match="too short for any progress"):
        run_locally(chain(), store=store, log=False, raise_immediately=True)
    assert StepMaker.ran == [NUMBER] * 2


def test_repetitions_have_a_limit(store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_REPETITIONS", 3)
    StepMaker.steps += [1] * 9
    with pytest.raises(WalltimeError, match="gone on 3 times"):
        run_locally(chain(), store=store, log=False, raise_immediately=True)
    assert len(StepMaker.ran) == 4


def test_a_job_that_went_on_is_found_by_the_next_run(store, tmp_path: Path) -> None:
    StepMaker.steps += [3, 1]
    assert run_flow(chain(), store, root_dir=tmp_path).finished == 5
    again = run_flow(chain(), store, root_dir=tmp_path)
    assert (again.reused, again.finished, again.failed) == (3, 0, [])
    assert StepMaker.ran == [NUMBER] * 3


def test_outside_of_a_job_the_end_of_the_walltime_is_an_error() -> None:
    StepMaker.steps += [3]
    CURRENT_JOB.reset()
    with pytest.raises(WalltimeError, match="Stopped"):
        StepMaker.make.original(StepMaker(), 1)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (HeapMaker(text=9_000_000), "'heap' becomes a stored document of 9.0 MB"),
        (HeapMaker(text=9_000_000, in_response=True), "'heap' becomes a stored document"),
        (HeapMaker(text=9_000_000, role="gpu_eval"), "'heap' becomes a stored document"),
        (HeapMaker(payload=9_000_000), "'heap' becomes a stored blob data of 9.0 MB"),
    ],
)
def test_a_document_that_no_database_keeps_fails_its_job_and_is_not_stored(
    store, made: HeapMaker, what: str
) -> None:
    with pytest.raises(StoreError, match=f"The output of {what}"):
        run_locally(made.make(), store=store, log=False, raise_immediately=True)
    assert store.count() == 0
    assert store.additional_stores["data"].count() == 0


def test_the_output_of_a_function_is_checked_beneath_the_decorator_of_jobflow(store) -> None:
    small, large = heap_of_a_function(10), heap_of_a_function(9_000_000)
    run_locally(small, store=store, log=False, raise_immediately=True)
    assert rows(store, "heap_of_a_function")[0]["output"]["text"] == "x" * 10
    with pytest.raises(StoreError, match="'heap_of_a_function' becomes a stored document"):
        run_locally(large, store=store, log=False, raise_immediately=True)


def test_a_document_with_a_full_blob_is_stored(store) -> None:
    made = HeapMaker(payload=8_000_000).make()
    run_locally(made, store=store, log=False, raise_immediately=True)
    assert store.count() == store.additional_stores["data"].count() == 1


def test_a_generator_leaves_the_roles_of_its_children_alone(store) -> None:
    @job
    def generator() -> Flow:
        return Flow([StepMaker().make(1)])

    made = base.tag(generator(), "light", "generator")
    run_locally(Flow([made]), store=store, log=False, ensure_success=True)
    (child,) = rows(store, "step")
    assert child["metadata"]["phonotune"]["role"] == "gpu_train"


@pytest.mark.parametrize(("role", "leases"), [("gpu_train", 1), ("gpu_eval", 1), ("light", 0)])
def test_a_job_on_a_gpu_holds_one_while_it_works(
    role: Role, leases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = gpu_lock.Gpu(0, "a")
    monkeypatch.setattr(gpu_lock, "find_gpus", lambda: [gpu])
    StepMaker.make.original(StepMaker(role=role, name="mine"), 1)
    assert StepMaker.held == [gpu if leases else None]
    assert gpu_lock._held.get() is None
    files = list((tmp_path / "leases").glob("*"))
    assert len(files) == leases
    assert all(json.loads(file.read_text())["job"] == "mine" for file in files)


def test_fireworks_detours_to_the_repetition(store) -> None:
    fireworks = pytest.importorskip("fireworks")
    from jobflow.managers.fireworks import JobFiretask, flow_to_workflow

    StepMaker.steps += [3, 1]
    flow = chain(_category="gpu_train")
    waiting = {fw.name: fw for fw in flow_to_workflow(flow, store).fws}
    flow.jobs[0].run(store)
    tasks = [waiting["step of a chain"]]
    indices = []
    while tasks:
        firework = fireworks.Firework.from_dict(json.loads(json.dumps(tasks.pop().to_dict())))
        assert firework.spec["_category"] == "gpu_train"
        task = firework.tasks[0]
        indices.append(task["job"].index)
        task = JobFiretask(job=task["job"], store=store)
        action = task.run_task(firework.spec)
        tasks += [fw for detour in action.detours for fw in detour.fws]
    assert indices == [1, 2, 3]
    assert store.get_output(flow.jobs[1].uuid)["number"] == 2 * NUMBER + 1


def test_a_worker_of_jobflow_remote_hands_the_repetition_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JFREMOTE_PROJECTS_FOLDER", str(tmp_path))
    remote = pytest.importorskip("jobflow_remote.jobs.run")
    for configure in ("initialize_remote_run_log", "initialize_logger"):  # of the whole process
        monkeypatch.setattr(remote, configure, lambda: None)
    from maggma.stores import JSONStore
    from monty.serialization import dumpfn, loadfn

    StepMaker.steps += [3]
    (tmp_path / "store.json").write_text("[]")
    outputs = JobStore(JSONStore(str(tmp_path / "store.json"), read_only=False))
    made = chain().jobs[1]
    # the runner resolves references before the worker gets the job
    made.function_args, made.function_kwargs = (NUMBER,), {"more": NUMBER}
    dumpfn({"job": made, "store": outputs}, tmp_path / remote.IN_FILENAME)
    remote.run_remote_job(tmp_path)
    written = loadfn(tmp_path / remote.OUT_FILENAME)
    assert written["error"] is None
    (again,) = written["response"].replace.jobs
    assert (again.uuid, again.index) == (made.uuid, 2)
    assert all(isinstance(arg, OutputReference) for arg in again.function_args)
