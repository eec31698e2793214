"""The whole DAG through both managers on Slurm: the right partitions, the numbers of a quiet run."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
from pymatgen.core import Structure

from phonotune.flows.doctor import examine_workers
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.flows.queues import Queue, latest, open_queue
from phonotune.flows.routing import read_profile
from phonotune.flows.status import cancel, status
from phonotune.flows.submit import submit
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.store import BLOB_STORE, ResultStore

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.filterwarnings("ignore:POTCAR data with symbol:UserWarning"),
    pytest.mark.filterwarnings("ignore:No POTCAR file with matching TITEL:UserWarning"),
    pytest.mark.filterwarnings("ignore:Float overflow:UserWarning"),
]
WORKERS = ("light", "cpu", "gpu")
PARTITIONS = {
    "fireworks": {"light": {"cpu"}, "cpu": {"cpu"}, "gpu": {"gpu"}},
    "jobflow-remote": {"cpu": {"cpu"}, "gpu": {"gpu"}},  # light runs beside the runner
}
SAME = 1e-5
"""Relative: a training of two epochs in float32, whose sums another process may order otherwise."""
SECONDS = 900


@contextlib.contextmanager
def working(manager: str, site: Path) -> Iterator[None]:
    """Run what a user would leave running: qlaunch for each worker, or jobflow-remote's runner."""
    with contextlib.ExitStack() as stack:
        stack.callback(processes.run, "scancel", "--user", "root")  # what then still waits for jobs
        if manager == "jobflow-remote":
            command = ["jf", "runner", "run"]
            stack.enter_context(processes.Background(command, site / "runner.log", cwd=site))
        else:
            for worker in WORKERS:
                command = ["qlaunch", "-c", str(site / worker), "rapidfire", "-m", "1"]
                command += ["--nlaunches", "infinite", "--sleep", "1"]
                stack.enter_context(
                    processes.Background(command, site / f"{worker}.log", cwd=site / worker)
                )
        yield


def partitions(site: Path) -> dict[str, set[str]]:
    """Return by worker, in Slurm's own words, the partitions that its jobs of the last minutes had."""
    found: dict[str, set[str]] = {}
    for line in processes.run("scontrol", "show", "job", "-o").splitlines():
        fields = dict(re.findall(r"(\w+)=(\S+)", line))
        folder = Path(fields.get("WorkDir", "/"))
        if folder.is_relative_to(site):
            (worker,) = {"light", "cpu", "gpu"}.intersection(folder.relative_to(site).parts)
            found.setdefault(worker, set()).add(fields["Partition"])
    return found


def is_over(queue: Queue) -> bool:
    states = Counter(job.state for job in latest(queue.find()).values())
    assert not states["failed"], [job for job in queue.find() if job.error]
    return set(states) == {"done"}


def numbers(content: Any, name: str = "") -> dict[str, float]:
    """Return every number within nested content, by its place."""
    if isinstance(content, dict):
        parts = {f"{name}.{key}": value for key, value in content.items()}
    elif isinstance(content, list | tuple):
        parts = {f"{name}[{index}]": value for index, value in enumerate(content)}
    else:
        return {name: content} if isinstance(content, int | float) else {}
    return {key: n for part, value in parts.items() for key, n in numbers(value, part).items()}


@pytest.mark.parametrize(
    ("manager", "site"),
    [("fireworks", "fireworks"), ("jobflow-remote", "jobflow-remote")],
    indirect=["site"],
)
def test_the_dag_gives_what_a_quiet_run_gives_on_the_workers_of_its_roles(
    manager: str,
    site: Path,
    crystal: Structure,
    maker: PhonotuneMaker,
    quiet: ComparisonDocument,
) -> None:
    profile = read_profile(site / "profile.yaml")
    about = {"formula": "Al", "material_id": "m"}
    first = submit(maker.make(crystal), manager, profile, about=about)
    assert first.added == len(first.uuids) > 10
    with open_queue(manager, profile) as queue:
        with working(manager, site):
            processes.wait_for(lambda: is_over(queue), SECONDS, every=2)
        assert partitions(site) == PARTITIONS[manager]
        jobs = queue.find()
        for job in jobs:
            assert job.worker == profile.route_of(job.about["role"]).worker, job
        (comparison,) = ResultStore(queue.store()).query(kind="comparison")
        assert isinstance(comparison, ComparisonDocument)
        found, wanted = (
            numbers([row.model_dump(exclude={"source"}) for row in document.rows])
            for document in (comparison, quiet)
        )
        assert len(wanted) > 20
        assert found == pytest.approx(wanted, rel=SAME, abs=SAME)
    assert submit(maker.make(crystal), manager, profile, about=about).added == 0
    rows = status(manager, profile, "Al")
    assert sum(row.counts["done"] for row in rows) == len(latest(jobs))


@pytest.mark.parametrize(
    ("manager", "site"),
    [("fireworks", "fireworks"), ("jobflow-remote", "jobflow-remote")],
    indirect=["site"],
)
def test_doctor_examines_every_worker_and_leaves_no_job_behind(manager: str, site: Path) -> None:
    profile = read_profile(site / "profile.yaml")
    with working(manager, site):
        findings = examine_workers(manager, profile, None, SECONDS)
    assert partitions(site) == PARTITIONS[manager]
    found = {finding.what: finding for finding in findings}
    for worker in WORKERS:
        for what in ("python", "toy models", "store", "clock", "versions"):
            assert found[f"{worker}: {what}"].state == "ok", found[f"{worker}: {what}"]
    assert found["gpu: device"].state == "warn"
    with open_queue(manager, profile) as queue:
        assert queue.find() == []
        assert queue.store().count() == 0
        assert queue.store().additional_stores[BLOB_STORE].count() == 0


@pytest.mark.parametrize(
    ("manager", "site"),
    [("fireworks", "fireworks"), ("jobflow-remote", "jobflow-remote")],
    indirect=["site"],
)
def test_what_was_cancelled_is_submitted_again_and_nobody_at_work_is_told(
    manager: str, site: Path, crystal: Structure, maker: PhonotuneMaker
) -> None:
    profile = read_profile(site / "profile.yaml")
    about = {"formula": "Al"}
    first = submit(maker.make(crystal), manager, profile, about=about)
    assert submit(maker.make(crystal), manager, profile, about=about).ids == first.ids
    assert cancel(manager, profile, "Cu").done == []
    assert sorted(cancel(manager, profile, "Al").done) == sorted(first.ids)
    assert {state for row in status(manager, profile) for state in row.counts} == {"cancelled"}
    again = submit(maker.make(crystal), manager, profile, about=about)
    assert again.added == first.added
    with open_queue(manager, profile) as queue:
        assert len(queue.find()) == first.added
        assert {job.state for job in queue.find()} == {"ready", "waiting"}
    (finding, *_) = examine_workers(manager, profile, ["light"], timeout=1.0)
    assert finding.state == "fail"
    assert "nobody took it" in finding.text
