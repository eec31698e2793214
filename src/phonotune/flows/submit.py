"""Hand a flow to FireWorks or jobflow-remote, once.

Jobs are named by content (:mod:`phonotune.flows.identity`), so a manager that has a flow already is not
given it again, and jobs whose results are in the store are not given to it at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from jobflow import Flow, Job, JobStore
from monty.json import MontyDecoder, MontyEncoder

from phonotune.errors import ConfigError, StoreError
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import content_of
from phonotune.flows.queues import Manager, Queue, QueuedJob, latest, open_queue
from phonotune.flows.routing import Profile, label_jobs, read_profile, route
from phonotune.schemas.blob import MAX_BLOB_BYTES


@dataclass(frozen=True)
class Submission:
    """What became of a flow.

    Attributes
    ----------
    manager
        Who has it.
    ids
        The manager's ids of the flow's jobs: of those added, or of those it had already.
    uuids
        jobflow's names of all jobs of the flow, in order; the results are stored under them.
    added
        Number of jobs that were added; 0 if the manager or the store had everything.
    finished
        Number of jobs that were left out because their results are in the store.
    states
        Number of the flow's jobs in each state, where the manager had them already.
    """

    manager: Manager
    ids: tuple[str, ...]
    uuids: tuple[str, ...]
    added: int
    finished: int = 0
    states: Mapping[str, int] = field(default_factory=dict)


def submit(
    flow: Flow | Job,
    manager: str,
    profile: Profile | Path | str | None = None,
    *,
    force: bool = False,
    about: Mapping[str, str] | None = None,
) -> Submission:
    """Submit a flow; the same flow again adds nothing.

    Parameters
    ----------
    flow
        What to run; it is not changed.
    manager
        ``fireworks`` or ``jobflow-remote``.
    profile
        Where each role runs: a Profile, its file, or None for the default.
    force
        Compute everything again, under new names, whatever is there.
    about
        What the jobs are about, for ``status`` and queries: ``formula``, ``material_id``, ``campaign``.

    Raises
    ------
    ConfigError
        The manager or the profile cannot be used; or a part of the flow is still being computed for
        another flow. Nothing was submitted.
    StoreError
        A database does not answer, the store lacks a part, or a job is too large for it.
    """
    chosen = profile if isinstance(profile, Profile) else read_profile(_path(profile))
    named = stable_flow(flow if isinstance(flow, Flow) else Flow([flow], name=flow.name))
    with open_queue(manager, chosen) as queue:
        store = queue.store()
        if force:
            return _add(_renamed(named), queue, chosen, about, uuids=None, finished=0)
        uuids = tuple(job.uuid for job, _ in named.iterflow())
        known = latest(queue.find(uuids))
        if _is_all_there(known, uuids):
            return _unchanged(queue, uuids, known)
        done = finished_jobs(named, store)
        _check_overlap(known, done)
        if len(done) == len(uuids):
            return Submission(queue.manager, (), uuids, 0, len(done))
        wanted = _without(named, done)
        if any(job.state == "cancelled" for job in known.values()):
            queue.remove(uuids)
        return _add(wanted, queue, chosen, about, uuids=uuids, finished=len(done))


def _add(
    flow: Flow,
    queue: Queue,
    profile: Profile,
    about: Mapping[str, str] | None,
    *,
    uuids: tuple[str, ...] | None,
    finished: int,
) -> Submission:
    """Label, route and add a flow whose jobs have their final names."""
    names = tuple(job.uuid for job, _ in flow.iterflow())
    label_jobs(flow, {"flow": flow.name, **(about or {})})
    route(flow, profile)
    check_sizes(flow)
    ids = queue.add(flow, profile.route_of(profile.untagged).worker)
    return Submission(queue.manager, tuple(ids), uuids or names, len(ids), finished)


def finished_jobs(flow: Flow, store: JobStore) -> set[str]:
    """Return the uuids of the jobs whose output is in the store, of this very content."""
    contents = {job.uuid: content_of(job) for job, _ in flow.iterflow()}
    rows = store.query(
        {"uuid": {"$in": list(contents)}, "output": {"$ne": None}},
        properties=["uuid", "metadata.phonotune.content"],
    )
    return {
        row["uuid"]
        for row in rows
        if row.get("metadata", {}).get("phonotune", {}).get("content") == contents[row["uuid"]]
    }


def check_sizes(flow: Flow) -> None:
    """Refuse a flow with a job that no database would take.

    Raises
    ------
    StoreError
        A job is larger than 8 MB: both managers store it with its arguments in one document.
    """
    for job, _ in flow.iterflow():
        size = len(json.dumps(job, cls=MontyEncoder))
        if size > MAX_BLOB_BYTES:
            raise StoreError(
                f"Job {job.name!r} has {size / 1e6:.1f} MB with its arguments; the limit of a stored "
                f"document is {MAX_BLOB_BYTES / 1e6:.0f} MB. Give it the output of another job instead "
                "of the data, or split it."
            )


def _is_all_there(known: Mapping[str, QueuedJob], uuids: Collection[str]) -> bool:
    """Return whether the manager has all these jobs and none of them was cancelled."""
    return set(known) >= set(uuids) and all(job.state != "cancelled" for job in known.values())


def _unchanged(queue: Queue, uuids: tuple[str, ...], known: Mapping[str, QueuedJob]) -> Submission:
    states: dict[str, int] = {}
    for uuid in uuids:
        states[known[uuid].state] = states.get(known[uuid].state, 0) + 1
    ids = tuple(known[uuid].id for uuid in uuids)
    return Submission(queue.manager, ids, uuids, 0, states=states)


def _check_overlap(known: Mapping[str, QueuedJob], done: Collection[str]) -> None:
    """Refuse a flow of which another one is computing a part: nothing is computed twice."""
    over = {"done", "cancelled"}
    busy = [job for uuid, job in known.items() if uuid not in done and job.state not in over]
    if busy:
        names = ", ".join(f"{job.name} ({job.id}, {job.state})" for job in busy[:3])
        more = f" and {len(busy) - 3} more" if len(busy) > 3 else ""
        raise ConfigError(
            f"{len(busy)} jobs of this flow belong to another one that is not finished: {names}{more}. "
            "Wait for it (`phonotune status`), mend it (`phonotune retry --failed`), or compute "
            "everything again with --force."
        )


def _without(flow: Flow, done: Collection[str]) -> Flow:
    """Return the flow without finished jobs; what needs them reads the store."""
    if not done:
        return flow
    kept = [job for job, _ in flow.iterflow() if job.uuid not in done]
    for job in kept:
        job.hosts = []
    return Flow(kept, name=flow.name)


def _renamed(flow: Flow) -> Flow:
    """Return the flow with new names for its jobs; contents stay written in them."""
    text = json.dumps(flow, cls=MontyEncoder)
    names = {job.uuid: str(uuid4()) for job, _ in flow.iterflow()}
    pattern = re.compile("|".join(map(re.escape, names)))
    renamed = MontyDecoder().process_decoded(
        json.loads(pattern.sub(lambda match: names[match[0]], text))
    )
    assert isinstance(renamed, Flow)
    return renamed


def _path(profile: Path | str | None) -> Path | None:
    return None if profile is None else Path(profile)
