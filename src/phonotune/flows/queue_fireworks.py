"""The queue of FireWorks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
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
    jobflow_store,
    last_line,
    still,
)
from phonotune.flows.routing import Profile
from phonotune.flows.submission_lock import COLLECTION, Claims
from phonotune.store import check_store

_STATES: Final[dict[str, State]] = {
    "WAITING": "waiting",
    "READY": "ready",
    "RESERVED": "queued",
    "OFFLINE-RESERVED": "queued",
    "RUNNING": "running",
    "OFFLINE-RUNNING": "running",
    "PAUSED": "paused",
    "COMPLETED": "done",
    "FIZZLED": "failed",
    "DEFUSED": "cancelled",
    "ARCHIVED": "cancelled",
}
_AT_REST: Final = ("WAITING", "READY", "PAUSED", "FIZZLED", "DEFUSED")
"""States in which nobody holds a firework."""
_NOT_CANCELLED: Final = {
    "RUNNING": "it runs and comes to its end; nothing follows it",
    "RESERVED": "a worker is just starting it; it comes to its end, and nothing follows it",
    "COMPLETED": "it is done",
}
_HALF_TAKEN: Final = {"state": "RESERVED", "launches": []}
"""A worker has taken such a firework and not yet written its launch into it; if it dies then, FireWorks has
no command that finds it.
"""
_UUID: Final = "spec._tasks.job.uuid"
_FIELDS: Final = {
    "fw_id": 1,
    "name": 1,
    "state": 1,
    _UUID: 1,
    "spec._tasks.job.index": 1,
    "spec.phonotune": 1,
    "spec._category": 1,
}


class FireworksQueue(Queue):
    """The launchpad of a profile, else FireWorks' own choice (``my_launchpad.yaml``)."""

    manager = "fireworks"

    def __init__(self, profile: Profile) -> None:
        fireworks = need("fireworks", "fireworks")
        self.profile = profile
        self._store: JobStore | None = None
        file = profile.launchpad or need("fireworks.fw_config", "fireworks").LAUNCHPAD_LOC
        if not file or not Path(file).is_file():
            raise ConfigError(
                f"FireWorks' launchpad file {file or 'my_launchpad.yaml'} does not exist. Name it in "
                "the profile (launchpad: FILE), or write one with `phonotune profile init --manager "
                "fireworks`."
            )
        try:
            self.launchpad = fireworks.LaunchPad.from_file(str(file))
            with answer_soon():
                self.launchpad.connection.admin.command("ping")
        except PyMongoError as error:
            raise StoreError(
                f"The database of {file} does not answer ({type(error).__name__}). Is it running, and "
                "do host, port and credentials hold?"
            ) from error
        except Exception as error:  # noqa: BLE001 - parsers quote the line, and with it a password
            raise ConfigError(
                f"The launchpad file {file} cannot be used ({type(error).__name__}). `phonotune profile "
                "init --manager fireworks` writes one."
            ) from None

    def store(self) -> JobStore:
        """Return the store that the workers write to, connected."""
        file = self.profile.store or os.environ.get("JOBFLOW_CONFIG_FILE")
        if not file:
            raise StoreError(
                "FireWorks' workers need a store that they can reach, and none is known. Name a jobflow "
                "file in the profile (store: FILE) or in JOBFLOW_CONFIG_FILE, here and on the workers."
            )
        if self._store is None:
            self._store = check_store(jobflow_store(Path(file).expanduser()))
        return self._store

    def close(self) -> None:
        """Close the connections."""
        if self._store is not None:
            self._store.close()
        self.launchpad.connection.close()

    def find(self, uuids: Sequence[str] | None = None) -> list[QueuedJob]:
        """Return the fireworks of these jobs, or all that phonotune made."""
        query: dict[str, Any] = {"spec.phonotune": {"$exists": True}}
        if uuids is not None:
            self.launchpad.fireworks.create_index(_UUID)
            query = {_UUID: {"$in": list(uuids)}}
        found = list(self.launchpad.fireworks.find(query, _FIELDS))
        failed = [row["fw_id"] for row in found if row["state"] == "FIZZLED"]
        errors = self._errors(failed) if failed else {}
        return [_queued(row, errors.get(row["fw_id"])) for row in found]

    def _errors(self, fw_ids: list[int]) -> dict[int, str | None]:
        field = "action.stored_data._exception._stacktrace"
        rows = self.launchpad.launches.find({"fw_id": {"$in": fw_ids}}, {"fw_id": 1, field: 1})
        errors = {}
        for row in rows:
            stored = ((row.get("action") or {}).get("stored_data") or {}).get("_exception") or {}
            errors[row["fw_id"]] = last_line(stored.get("_stacktrace"))
        return errors

    def flows_of(self, uuids: Sequence[str]) -> list[QueuedJob]:
        """Return all fireworks of the workflows that hold one of these."""
        nodes = self._nodes(self.find(uuids))
        rows = self.launchpad.fireworks.find({"fw_id": {"$in": list(nodes)}}, _FIELDS)
        return [_queued(row, None) for row in rows]

    def _nodes(self, jobs: Sequence[QueuedJob]) -> set[int]:
        """Return the ids of all fireworks of the workflows of these."""
        query = {"nodes": {"$in": [int(job.id) for job in jobs]}}
        return {n for wf in self.launchpad.workflows.find(query, {"nodes": 1}) for n in wf["nodes"]}

    def claims(self) -> Claims:
        """Return the collection of claims, in the launchpad's database."""
        claims: Claims = self.launchpad.db[COLLECTION]
        return claims

    def check(self) -> None:
        """Raise ConfigError if the launchpad was never set up; any category will do."""
        if self.launchpad.fw_id_assigner.find_one() is None:
            raise ConfigError(
                f"FireWorks' database {self.launchpad.name!r} has not been set up. Run `lpad reset` once."
            )

    def sweep(self, uuids: Sequence[str]) -> None:
        """Delete fireworks of these jobs that are in no workflow: whoever runs them fails."""
        found = self.find(uuids)
        lonely = {int(job.id) for job in found} - self._nodes(found)
        if lonely:
            self.launchpad.fireworks.delete_many({"fw_id": {"$in": list(lonely)}})

    def add(self, flow: Flow, default: str) -> list[str]:
        """Add the flow as a workflow.

        The store does not travel with it: it would put credentials into every firework.
        """
        bridge = need("jobflow.managers.fireworks", "fireworks")
        workflow = bridge.flow_to_workflow(flow, allow_external_references=True)
        uuids = [job.uuid for job, _ in flow.iterflow()]
        try:
            self.launchpad.add_wf(workflow)
        except BaseException:
            with contextlib.suppress(PyMongoError):
                self.sweep(uuids)
            raise
        ids = {job.uuid: job.id for job in self.find(uuids)}
        return [ids[uuid] for uuid in uuids]

    def retry(self, jobs: Sequence[QueuedJob]) -> dict[str, str | None]:
        """Rerun fizzled fireworks."""
        return each(jobs, self._retry, ValueError, RuntimeError)

    def _retry(self, job: QueuedJob) -> str | None:
        if job.state == "running":
            self._fizzle(int(job.id))
        if job.state == "queued":
            half_taken = {"fw_id": int(job.id), **_HALF_TAKEN}
            self.launchpad.fireworks.update_one(half_taken, {"$set": {"state": "FIZZLED"}})
        row = self.launchpad.fireworks.find_one({"fw_id": int(job.id)}, {"state": 1})
        if row and row["state"] != "FIZZLED":
            return still(_STATES.get(row["state"], "unknown"))
        return None if self.launchpad.rerun_fw(int(job.id)) else "FireWorks did not rerun it"

    def _fizzle(self, fw_id: int) -> None:
        for launch in self.launchpad.launches.find({"fw_id": fw_id, "state": "RUNNING"}):
            self.launchpad.mark_fizzled(launch["launch_id"])

    def lost(self, seconds: float) -> list[QueuedJob]:
        """Return fireworks whose worker has not pinged, or not written its launch, for a time (seconds).

        Raises
        ------
        ConfigError
            The time is shorter than two pings: healthy jobs would be taken for lost.
        """
        shortest = 2 * need("fireworks.fw_config", "fireworks").PING_TIME_SECS
        if seconds < shortest:
            raise ConfigError(
                f"Jobs were to count as lost after {seconds:g} s, but FireWorks' workers give a sign of "
                f"life only every {shortest / 2:g} s. Give at least {shortest:g} s."
            )
        _, fw_ids, _ = self.launchpad.detect_lostruns(expiration_secs=seconds)
        before = datetime.now(UTC) - timedelta(seconds=seconds)
        taken = {**_HALF_TAKEN, "updated_on": {"$lte": before}}
        fw_ids += [row["fw_id"] for row in self.launchpad.fireworks.find(taken, {"fw_id": 1})]
        return [job for job in self.find() if int(job.id) in set(fw_ids)]

    def cancel(self, jobs: Sequence[QueuedJob]) -> dict[str, str | None]:
        """Defuse fireworks; one that runs comes to its end, and nothing follows it."""
        return each(jobs, self._cancel, ValueError, RuntimeError)

    def _cancel(self, job: QueuedJob) -> str | None:
        """Defuse a firework unless somebody holds it; return the reason then.

        ``defuse_fw`` alone would make a running firework ready first, and another worker start it again.
        """
        fw_id = int(job.id)
        states = [*_AT_REST]
        if self.launchpad.launches.find_one({"fw_id": fw_id, "state": "RESERVED"}, {"fw_id": 1}):
            states.append(
                "RESERVED"
            )  # in a queue; without such a launch a worker is just starting it
        at_rest = {"fw_id": fw_id, "state": {"$in": states}}
        if self.launchpad.fireworks.find_one_and_update(at_rest, {"$set": {"state": "DEFUSED"}}):
            self.launchpad.defuse_fw(fw_id)  # writes it into the workflow
            return None
        row = self.launchpad.fireworks.find_one({"fw_id": fw_id}, {"state": 1})
        state = row["state"] if row else "gone"
        return _NOT_CANCELLED.get(state, f"it is {state}")

    def remove(self, uuids: Sequence[str]) -> list[str]:
        """Delete the workflows of these jobs."""
        for fw_id in {int(job.id) for job in self.find(uuids)}:
            if self.launchpad.workflows.find_one({"nodes": fw_id}, {"nodes": 1}):
                with contextlib.redirect_stdout(None):
                    self.launchpad.delete_wf(fw_id)
        return []


def _queued(row: dict[str, Any], error: str | None) -> QueuedJob:
    spec = row["spec"]
    task = spec["_tasks"][0]["job"]
    return QueuedJob(
        id=str(row["fw_id"]),
        uuid=task["uuid"],
        index=int(task["index"]),
        name=row["name"],
        state=_STATES.get(row["state"], "unknown"),
        about=spec.get("phonotune", {}),
        worker=spec.get("_category"),
        error=error,
    )
