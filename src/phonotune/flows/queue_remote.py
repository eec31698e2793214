"""The queue of jobflow-remote."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final

from jobflow import Flow, JobStore
from pymongo.errors import PyMongoError

from phonotune.errors import ConfigError, StoreError
from phonotune.flows.managers import need
from phonotune.flows.queues import (
    Queue,
    QueuedJob,
    State,
    answer_soon,
    each,
    last_line,
    still,
)
from phonotune.flows.routing import ROLES, Profile
from phonotune.flows.submission_lock import COLLECTION, Claims
from phonotune.store import check_store

_STATES: Final[dict[str, State]] = {
    "WAITING": "waiting",
    "READY": "ready",
    "CHECKED_OUT": "queued",
    "UPLOADED": "queued",
    "SUBMITTED": "queued",
    "BATCH_SUBMITTED": "queued",
    "RUNNING": "running",
    "BATCH_RUNNING": "running",
    "RUN_FINISHED": "running",
    "DOWNLOADED": "running",
    "PAUSED": "paused",
    "COMPLETED": "done",
    "FAILED": "failed",
    "REMOTE_ERROR": "failed",
    "STOPPED": "cancelled",
    "USER_STOPPED": "cancelled",
}
_STOPPABLE: Final = ("ready", "queued", "running")
_IN_A_BATCH: Final = ("BATCH_SUBMITTED", "BATCH_RUNNING")
_PATIENCE: Final = 30
"""Seconds that a locked job or flow is waited for."""
_FIELDS: Final = (
    "db_id",
    "uuid",
    "index",
    "state",
    "worker",
    "job.name",
    "job.metadata.phonotune",
    "error",
    "remote.error",
)


class RemoteQueue(Queue):
    """A project of jobflow-remote: the profile's, else jobflow-remote's own choice."""

    manager = "jobflow-remote"

    def __init__(self, profile: Profile) -> None:
        self._module = need("jobflow_remote.jobs.jobcontroller", "jobflow-remote")
        self.profile = profile
        self._store: JobStore | None = None
        self.project = _project(profile)
        self.controller = self._module.JobController.from_project(self.project)
        try:
            with answer_soon():
                initialised = self.controller.auxiliary.find_one({"next_id": {"$exists": True}})
        except PyMongoError as error:
            raise StoreError(
                f"The queue database of project {self.project.name!r} does not answer "
                f"({type(error).__name__}). `jf project check --errors` shows more."
            ) from error
        if initialised is None:
            raise ConfigError(
                f"The queue database of project {self.project.name!r} has not been set up. Run `jf -p "
                f"{self.project.name} admin reset` once."
            )

    def store(self) -> JobStore:
        """Return the project's job store, connected."""
        if self._store is None:
            self._store = check_store(self.project.get_jobstore())
        return self._store

    def close(self) -> None:
        """Close the connections."""
        if self._store is not None:
            self._store.close()
        self.controller.close()

    def find(self, uuids: Sequence[str] | None = None) -> list[QueuedJob]:
        """Return the jobs of these uuids, or all that phonotune made."""
        query: dict[str, Any] = {"job.metadata.phonotune": {"$exists": True}}
        if uuids is not None:
            query = {"uuid": {"$in": list(uuids)}}
        return [_queued(row) for row in self.controller.jobs.find(query, list(_FIELDS))]

    def flows_of(self, uuids: Sequence[str]) -> list[QueuedJob]:
        """Return all jobs of the flows that hold one of these."""
        flows = self.controller.flows.find({"jobs": {"$in": list(uuids)}}, ["jobs"])
        return self.find(sorted({uuid for flow in flows for uuid in flow["jobs"]}))

    def claims(self) -> Claims:
        """Return the collection of claims, in the queue's database."""
        claims: Claims = self.controller.db[COLLECTION]
        return claims

    def sweep(self, uuids: Sequence[str]) -> None:
        """Delete flows of these jobs that have no job: locks would be looked for in them."""
        query = {"jobs": {"$in": list(uuids)}}
        for flow in list(self.controller.flows.find(query, ["uuid", "jobs"])):
            if self.controller.jobs.find_one({"uuid": {"$in": flow["jobs"]}}, ["uuid"]) is None:
                self.controller.flows.delete_one({"uuid": flow["uuid"]})

    def check(self) -> None:
        """Raise ConfigError if a worker of the profile is none of the project."""
        workers = set(self.project.workers)
        for role in ROLES:
            worker = self.profile.route_of(role).worker
            if worker not in workers:
                raise ConfigError(
                    f"The profile sends role {role} to worker {worker!r}, which project "
                    f"{self.project.name!r} does not have. Its workers: "
                    f"{', '.join(sorted(workers)) or 'none'}. Change one of the two."
                )

    def add(self, flow: Flow, default: str) -> list[str]:
        """Add the flow to the queue.

        Raises
        ------
        ConfigError
            A worker of the profile is none of the project, or a job is in the queue already.
        """
        self.check()
        try:
            ids = self.controller.add_flow(flow, worker=default, allow_external_references=True)
        except BaseException as error:
            with contextlib.suppress(PyMongoError):
                self.controller.jobs.delete_many({"job.hosts": flow.uuid})
                self.controller.flows.delete_one({"uuid": flow.uuid})
            if isinstance(error, ValueError):
                raise ConfigError(f"jobflow-remote did not take the flow: {error}") from error
            raise
        return [str(db_id) for db_id in ids]

    def retry(self, jobs: Sequence[QueuedJob]) -> dict[str, str | None]:
        """Rerun failed jobs, with all that ran on without them."""
        return each(jobs, self._retry, ValueError, self._locked)

    def _retry(self, job: QueuedJob) -> str | None:
        if (state := self._state(job)) != "failed":
            return still(state)
        try:
            self.controller.rerun_job(db_id=job.id, wait=_PATIENCE)
        except ValueError:
            self.controller.rerun_job(db_id=job.id, force=True, wait=_PATIENCE)
        return None

    def _state(self, job: QueuedJob) -> str:
        """Return the state that a job has at this moment; "in a batch" where it cannot be stopped."""
        row = self.controller.jobs.find_one({"db_id": job.id}, ["state"])
        if row is None:
            return "gone"
        return "in a batch" if row["state"] in _IN_A_BATCH else _STATES.get(row["state"], "unknown")

    @property
    def _locked(self) -> type[Exception]:
        """What jobflow-remote raises where it is at work on a job or flow itself."""
        error: type[Exception] = need(
            "jobflow_remote.utils.db", "jobflow-remote"
        ).LockedDocumentError
        return error

    def cancel(self, jobs: Sequence[QueuedJob]) -> dict[str, str | None]:
        """Stop jobs; what is in a queue or running is cancelled there."""
        # what follows others first, so that nothing becomes ready meanwhile
        in_order = sorted(jobs, key=lambda job: job.state in _STOPPABLE)
        return each(in_order, self._cancel, ValueError, self._locked)

    def _cancel(self, job: QueuedJob) -> str | None:
        states = need("jobflow_remote.jobs.state", "jobflow-remote").JobState
        state = self._state(job)
        if state == "in a batch":
            return "it is in a batch, which cannot be stopped, and comes to its end"
        if state in ("done", "gone"):
            return f"it is {state}"
        if state in _STOPPABLE:
            self.controller.stop_job(db_id=job.id, break_lock=False, wait=_PATIENCE)
        else:
            self.controller.set_job_state(states.USER_STOPPED, db_id=job.id, wait=_PATIENCE)
        return None

    def remove(self, uuids: Sequence[str]) -> list[str]:
        """Delete the flows of these jobs."""
        rows = list(self.controller.flows.find({"jobs": {"$in": list(uuids)}}, ["uuid", "name"]))
        refused = []
        for row in rows:
            try:
                self.controller.delete_flows(
                    flow_ids=[row["uuid"]], max_limit=0, raise_on_error=True, wait=_PATIENCE
                )
            except (ValueError, RuntimeError, self._locked) as error:
                refused.append(f"{row.get('name') or row['uuid']}: {error}")
        return refused


def _project(profile: Profile) -> Any:
    """Return the project; ConfigError in one sentence where there is none."""
    manager = need("jobflow_remote.config.manager", "jobflow-remote").ConfigManager()
    base = need("jobflow_remote.config.base", "jobflow-remote")
    try:
        return manager.get_project(profile.project)
    except base.ConfigError as error:
        raise ConfigError(
            f"jobflow-remote's project cannot be used: {' '.join(str(error).split())} Looked in "
            f"{manager.projects_folder}; `phonotune profile init --manager jobflow-remote` writes one."
        ) from error


def _queued(row: dict[str, Any]) -> QueuedJob:
    remote = (row.get("remote") or {}).get("error")
    return QueuedJob(
        id=str(row["db_id"]),
        uuid=row["uuid"],
        index=int(row["index"]),
        name=row["job"]["name"],
        state=_STATES.get(row["state"], "unknown"),
        about=(row["job"].get("metadata") or {}).get("phonotune", {}),
        worker=row.get("worker"),
        error=last_line(row.get("error") or remote),
    )
