"""What a submission would change: decided before anything is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from jobflow import Flow, JobStore

from phonotune.errors import ConfigError
from phonotune.flows.finished import finished_jobs
from phonotune.flows.queues import ACTIVE, OVER, Queue, QueuedJob, latest

_SHOWN = 3


@dataclass(frozen=True)
class Plan:
    """What is there of a flow, and what is to be done.

    Attributes
    ----------
    uuids
        All jobs of the flow, in order.
    known
        Those that the manager has.
    done
        Those whose results are in the store.
    renewed
        Those to add: nobody has them, or their results are gone, or they need such a one.
    gone
        What the manager is to forget before: the flows that hold a renewed job.
    """

    uuids: tuple[str, ...]
    known: Mapping[str, QueuedJob]
    done: frozenset[str]
    renewed: frozenset[str]
    gone: Mapping[str, QueuedJob]


def plan(flow: Flow, queue: Queue, store: JobStore) -> Plan:
    """Look up what the manager and the store have of a flow.

    Parameters
    ----------
    flow
        With stable names (:func:`phonotune.flows.identity.stable_flow`).
    queue
        The manager's jobs.
    store
        What its workers write to: a job that the manager calls done, and whose output or Blobs are not
        there, is computed again.

    Raises
    ------
    ConfigError
        A part is still being computed, for this flow or another one.
    """
    jobs = [job for job, _ in flow.iterflow()]
    uuids = tuple(job.uuid for job in jobs)
    known = latest(queue.find(uuids))
    ended = {uuid: job.index for uuid, job in known.items() if job.state == "done"}
    done = finished_jobs(jobs, store, ended)
    gone: dict[str, QueuedJob] = {}
    while True:
        renewed = _renewed(flow, known, done, gone)
        stale = [uuid for uuid in renewed if uuid in known and uuid not in gone]
        if not stale:
            break
        gone |= latest(queue.flows_of(stale)) | {uuid: known[uuid] for uuid in stale}
    _check_at_rest(gone, known, done)
    if renewed:
        _check_overlap([known[uuid] for uuid in uuids if uuid not in done | renewed])
    return Plan(uuids, known, frozenset(done), frozenset(renewed), gone)


def check_apart(plans: Mapping[str, Plan]) -> None:
    """Refuse flows of which one is to compute a part of another; the same flow twice does no harm.

    Parameters
    ----------
    plans
        By the name of their flow.

    Raises
    ------
    ConfigError
        Naming both.
    """
    owners: dict[str, str] = {}
    for name, made in plans.items():
        shared = made.renewed & owners.keys()
        if shared and shared != made.renewed:
            raise ConfigError(
                f"{len(shared)} jobs of {name} are a part of {owners[min(shared)]}, too, and nothing is "
                "computed twice; nothing was submitted. Submit one when the other is finished, or "
                "compute everything again with --force."
            )
        owners |= dict.fromkeys(made.renewed, name)


def _renewed(
    flow: Flow, known: Mapping[str, QueuedJob], done: Collection[str], gone: Collection[str]
) -> set[str]:
    """Return the jobs to compute: those that nobody will, and what was made of an earlier output."""
    renewed: set[str] = set()
    for job, _ in flow.iterflow():
        uuid = job.uuid
        if uuid in done:
            again = not renewed.isdisjoint(job.input_uuids)
        else:
            again = uuid not in known or uuid in gone or known[uuid].state in OVER
        if again:
            renewed.add(uuid)
    return renewed


def _check_at_rest(
    gone: Mapping[str, QueuedJob], known: Mapping[str, QueuedJob], done: Collection[str]
) -> None:
    """Refuse to forget a flow that is at work: what runs would be run twice."""
    active = [job for job in gone.values() if job.state in ACTIVE]
    if not active:
        return
    lost = [known[u] for u in gone if u in known and u not in done and known[u].state == "done"]
    why = (
        f"Results of {_names(lost)} are no longer in the store"
        if lost
        else "Jobs of this flow were cancelled"
    )
    raise ConfigError(
        f"{why}, but {_names(active)} of the same flow may still be at work, and nothing is computed "
        "twice; nothing was submitted. Stop the flow (`phonotune cancel`), wait until what runs has come "
        "to its end (`phonotune status`), and submit again."
    )


def _check_overlap(busy: list[QueuedJob]) -> None:
    """Refuse a flow of which another one is computing a part: nothing is computed twice."""
    if busy:
        raise ConfigError(
            f"{len(busy)} jobs of this flow belong to another one that is not finished: {_names(busy)}. "
            "Wait for it (`phonotune status`), mend it (`phonotune retry --failed`), or compute "
            "everything again with --force."
        )


def _names(jobs: list[QueuedJob]) -> str:
    names = ", ".join(f"{job.name} ({job.id}, {job.state})" for job in jobs[:_SHOWN])
    return f"{names} and {len(jobs) - _SHOWN} more" if len(jobs) > _SHOWN else names
