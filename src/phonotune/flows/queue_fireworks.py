"""The queue of FireWorks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jobflow import Flow, JobStore
from pymongo.errors import PyMongoError

from phonotune.errors import ConfigError, StoreError
from phonotune.flows.queues import (
    Manager,
    Queue,
    QueuedJob,
    State,
    answer_soon,
    jobflow_store,
    last_line,
    need,
)
from phonotune.flows.routing import Profile
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

    manager: Manager = "fireworks"

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

    def add(self, flow: Flow, default: str) -> list[str]:
        """Add the flow as a workflow.

        The store does not travel with it: it would put credentials into every firework.
        """
        bridge = need("jobflow.managers.fireworks", "fireworks")
        workflow = bridge.flow_to_workflow(flow, allow_external_references=True)
        self.launchpad.add_wf(workflow)
        uuids = [job.uuid for job, _ in flow.iterflow()]
        ids = {job.uuid: job.id for job in self.find(uuids)}
        return [ids[uuid] for uuid in uuids]

    def retry(self, jobs: Sequence[QueuedJob]) -> dict[str, str | None]:
        """Rerun fizzled fireworks."""
        done: dict[str, str | None] = {}
        for job in jobs:
            if job.state == "running":
                self._fizzle(int(job.id))
            rerun = self.launchpad.rerun_fw(int(job.id))
            done[job.id] = None if rerun else "FireWorks did not rerun it"
        return done

    def _fizzle(self, fw_id: int) -> None:
        for launch in self.launchpad.launches.find({"fw_id": fw_id, "state": "RUNNING"}):
            self.launchpad.mark_fizzled(launch["launch_id"])

    def lost(self, seconds: float) -> list[QueuedJob]:
        """Return running fireworks whose worker has not pinged for a time (seconds).

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
        return [job for job in self.find() if int(job.id) in set(fw_ids)]

    def cancel(self, jobs: Sequence[QueuedJob]) -> list[str]:
        """Defuse fireworks; one that runs comes to its end, and nothing follows it."""
        for job in jobs:
            self.launchpad.defuse_fw(int(job.id))
        return [job.id for job in jobs]

    def remove(self, uuids: Sequence[str]) -> None:
        """Delete the workflows of these jobs."""
        for fw_id in {int(job.id) for job in self.find(uuids)}:
            if self.launchpad.workflows.find_one({"nodes": fw_id}, {"nodes": 1}):
                with contextlib.redirect_stdout(None):
                    self.launchpad.delete_wf(fw_id)


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
