"""Hand flows to FireWorks or jobflow-remote, once.

Jobs are named by content (:mod:`phonotune.flows.identity`), so a manager that has a flow already is not
given it again, and jobs whose results are in the store are not given to it at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from jobflow import Flow, Job
from monty.json import MontyDecoder, MontyEncoder
from pymongo.errors import PyMongoError

from phonotune.errors import ConfigError, PhonotuneError, StoreError
from phonotune.flows.identity import stable_flow
from phonotune.flows.migrate import HINT, has_earlier_results
from phonotune.flows.queues import Queue, open_queue
from phonotune.flows.routing import Profile, label_jobs, read_profile, route
from phonotune.flows.submission_lock import claimed
from phonotune.flows.submission_plan import Plan, check_apart, plan
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

    manager: str
    ids: tuple[str, ...]
    uuids: tuple[str, ...]
    added: int
    finished: int = 0
    states: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """A flow to submit.

    Attributes
    ----------
    flow
        What to run; it is not changed.
    about
        What the jobs are about, for ``status`` and queries: ``formula``, ``material_id``, ``campaign``.
    """

    flow: Flow | Job
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Parcel:
    """A flow, checked, with what is to be added of it: routed, under its final names; or None."""

    flow: Flow
    about: Mapping[str, str]
    plan: Plan
    load: Flow | None


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
        The manager or the profile cannot be used; or a part of the flow is still being computed, or is
        being submitted by somebody else. Nothing was submitted.
    StoreError
        A database does not answer, the store lacks a part, or a job is too large for it.
    """
    (made,) = submit_all([Order(flow, about or {})], manager, profile, force=force)
    return made


def submit_all(
    orders: Sequence[Order],
    manager: str,
    profile: Profile | Path | str | None = None,
    *,
    force: bool = False,
    tell: Callable[[int], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> list[Submission]:
    """Submit flows as :func:`submit` does; all are checked before the first one is added.

    Parameters
    ----------
    orders
        The flows; what became of each is returned in their order.
    manager, profile, force
        As :func:`submit` takes them.
    tell
        Called with the number of flows that are through, before each.
    note
        Called with what the user should know, before anything is submitted.

    Raises
    ------
    ConfigError, StoreError
        As :func:`submit` does, for any of the flows. Nothing was submitted.
    PhonotuneError
        The database or the manager failed after some of the flows had been added.
    """
    chosen = profile if isinstance(profile, Profile) else read_profile(profile)
    flows = [
        o.flow if isinstance(o.flow, Flow) else Flow([o.flow], name=o.flow.name) for o in orders
    ]
    named = [(stable_flow(f), order.about) for f, order in zip(flows, orders, strict=True)]
    uuids = [] if force else [job.uuid for flow, _ in named for job, _ in flow.iterflow()]
    with open_queue(manager, chosen) as queue:
        if has_earlier_results(queue.store()):
            note(HINT)
        queue.check()
        with claimed(queue.claims(), uuids) as renew:
            queue.sweep(uuids)
            parcels = []
            for flow, about in named:
                renew()
                parcels.append(_packed(flow, about, queue, chosen, force=force))
            check_apart({f"{n} ({p.flow.name})": p.plan for n, p in enumerate(parcels, start=1)})
            gone = sorted({uuid for parcel in parcels for uuid in parcel.plan.gone})
            if gone and (refused := queue.remove(gone)):
                raise ConfigError(
                    "Flows that were cancelled, or whose results are gone, cannot be taken out of the "
                    f"queue: {'; '.join(refused)}. Nothing was submitted; try again when the manager no "
                    "longer holds them."
                )
            return _add_all(parcels, queue, chosen, renew, tell)


def _packed(
    flow: Flow, about: Mapping[str, str], queue: Queue, profile: Profile, *, force: bool = False
) -> _Parcel:
    """Check a flow, and label and route what is to be added of it."""
    if force:
        flow = _renamed(flow)
        names = tuple(job.uuid for job, _ in flow.iterflow())
        made = Plan(names, {}, frozenset(), frozenset(names), {})
    else:
        made = plan(flow, queue, queue.store())
    if not made.renewed:
        return _Parcel(flow, about, made, None)
    load = _only(flow, made.renewed)
    label_jobs(load, {"flow": flow.name, **about})
    route(load, profile)
    check_sizes(load)
    return _Parcel(flow, about, made, load)


def _add_all(
    parcels: Sequence[_Parcel],
    queue: Queue,
    profile: Profile,
    renew: Callable[[], None],
    tell: Callable[[int], None],
) -> list[Submission]:
    """Add what is to be added; where a flow before took jobs away or brought them, look again."""
    forgotten = {uuid for parcel in parcels for uuid in parcel.plan.gone}
    added: set[str] = set()
    made: list[Submission] = []
    for number, parcel in enumerate(parcels):
        tell(number)
        try:
            renew()
            if not added.union(forgotten - parcel.plan.gone.keys()).isdisjoint(parcel.plan.uuids):
                parcel = _packed(parcel.flow, parcel.about, queue, profile)
            made.append(_add(parcel, queue, profile))
        except (PhonotuneError, PyMongoError) as error:
            if not added:
                raise
            raise PhonotuneError(
                f"Of {len(parcels)} flows {number} are in the queue, then it failed: {error} The same "
                "command goes on from there."
            ) from error
        added |= parcel.plan.renewed
    return made


def _add(parcel: _Parcel, queue: Queue, profile: Profile) -> Submission:
    """Add what a parcel holds, and say what became of its flow."""
    made, load = parcel.plan, parcel.load
    if load is not None:
        ids = queue.add(load, profile.route_of(profile.untagged).worker)
        finished = len(made.uuids) - len(made.renewed)
        return Submission(queue.manager, tuple(ids), made.uuids, len(ids), finished)
    states: dict[str, int] = {}
    there = [made.known[uuid] for uuid in made.uuids if uuid in made.known]
    for job in there:
        states[job.state] = states.get(job.state, 0) + 1
    ids = [job.id for job in there]
    finished = len(made.done - made.known.keys())
    return Submission(queue.manager, tuple(ids), made.uuids, 0, finished, states)


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


def _only(flow: Flow, uuids: Iterable[str]) -> Flow:
    """Return a new flow of these jobs; what needs the others reads the store."""
    wanted = set(uuids)
    kept = [job for job, _ in flow.iterflow() if job.uuid in wanted]
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
