"""Run a flow here, with progress, finding finished jobs in the store instead of repeating them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jobflow import Flow, Job, JobStore, Response, run_locally
from monty.json import MontyDecoder

from phonotune.flows.finished import finished_jobs
from phonotune.flows.identity import stable_flow
from phonotune.schemas.base import Document

logger = logging.getLogger(__name__)

Event = Literal["start", "done", "reused", "failed"]
Watcher = Callable[[str, Event, int, int], None]
"""Called with job name, event, jobs finished so far, jobs known so far."""


@dataclass(frozen=True)
class FailedJob:
    """A job that failed, the error's own words, and the crystal that it was for."""

    name: str
    error: str
    material: str = ""


@dataclass
class RunSummary:
    """What a run did: how many jobs finished, how many were found, which failed.

    ``uuids`` are the ids of the flow's own jobs, in order; generators leave more in the store.
    """

    finished: int = 0
    reused: int = 0
    failed: list[FailedJob] = field(default_factory=list)
    uuids: tuple[str, ...] = ()


def run_flow(
    flow: Flow, store: JobStore, progress: Watcher | None = None, root_dir: Path | None = None
) -> RunSummary:
    """Run a flow with jobflow's local manager; finished jobs of an earlier run are reused.

    Each job is identified by its content (:mod:`phonotune.flows.identity`). A run that was killed goes on
    where it stopped; a failed job does not stop the jobs that do not need it.

    Parameters
    ----------
    flow
        What to run.
    store
        An open JobStore.
    progress
        Called at every start and end of a job.
    root_dir
        Where each job gets a folder for its files; the current directory if None.
    """
    named = stable_flow(flow)
    runner = FlowRunner(store, progress or (lambda *_: None))
    runner.summary.uuids = named.job_uuids
    run_locally(
        runner.prepare(named), log=False, store=store, root_dir=root_dir, create_folders=True
    )
    for folder in (root_dir or Path.cwd()).glob("job_*"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return runner.summary


def called(job: Job) -> str:
    """Return the name of a job, with the training of a study that it serves."""
    variant = job.metadata.get("phonotune", {}).get("variant")
    return f"{job.name}, {variant}" if variant else job.name


def documents_of(uuids: Sequence[str], store: JobStore) -> list[Document]:
    """Return the Documents that jobs left in the store, in the order of their ids."""
    rows = store.query(
        {"uuid": {"$in": list(uuids)}, "output": {"$ne": None}},
        properties=["uuid", "index", "output"],
        load=True,
    )
    last = {row["uuid"]: row for row in sorted(rows, key=lambda row: int(row["index"]))}
    decoder = MontyDecoder()
    outputs = [decoder.process_decoded(last[uuid]["output"]) for uuid in uuids if uuid in last]
    return [output for output in outputs if isinstance(output, Document)]


class FlowRunner:
    """Wraps ``Job.run`` of every job, also of those that jobs return, with lookup and progress."""

    def __init__(self, store: JobStore, progress: Watcher) -> None:
        self.store = store
        self.progress = progress
        self.summary = RunSummary()
        self.known = 0
        self.renewed: set[str] = set()
        """Jobs that gave an output in this run: what depends on them runs again."""

    def prepare(self, flow: Flow) -> Flow:
        """Wrap the jobs of a flow with final names."""
        for job, _ in flow.iterflow():
            self.known += 1
            job.run = self._wrap(job)
        return flow

    def _wrap(self, job: Job) -> Callable[..., Response[Any]]:
        run = job.run

        def run_or_reuse(store: JobStore, job_dir: Path | None = None) -> Response[Any]:
            try:
                if self.is_finished(job):
                    self.summary.reused += 1
                    self._report(job, "reused")
                    return Response()
                self._report(job, "start")
                response = run(store, job_dir)
                self._prepare_children(job, response)
            except Exception as error:
                self.summary.failed.append(
                    FailedJob(called(job), f"{type(error).__name__}: {error}")
                )
                self._report(job, "failed")
                raise
            if response.replace is None:
                self.renewed.add(job.uuid)
            self.summary.finished += 1
            self._report(job, "done")
            return response

        return run_or_reuse

    def is_finished(self, job: Job) -> bool:
        """Return whether the store holds this very job's output; a generator always plans again."""
        if self.renewed.intersection(job.input_uuids):
            return False
        return bool(finished_jobs([job], self.store))

    def _prepare_children(self, job: Job, response: Response[Any]) -> None:
        for kind in ("replace", "detour", "addition"):
            children = getattr(response, kind)
            if children is not None:
                setattr(response, kind, self.prepare(stable_flow(children, keep=[job.uuid])))

    def _report(self, job: Job, event: Event) -> None:
        done = self.summary.finished + self.summary.reused + len(self.summary.failed)
        self.progress(called(job), event, done, self.known)
