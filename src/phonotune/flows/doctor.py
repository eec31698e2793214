"""Send the doctor's job to a manager's workers, wait for it, and judge what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from jobflow import Flow, Job, JobStore
from monty.json import MontyDecoder

from phonotune.errors import unknown_name
from phonotune.flows.managers import manager_row
from phonotune.flows.queues import Queue, QueuedJob, latest, open_queue
from phonotune.flows.routing import Profile, read_profile
from phonotune.jobs.base import Role, tag
from phonotune.jobs.doctor import Finding, examine_worker, known_potentials
from phonotune.schemas.base import package_versions
from phonotune.schemas.blob import Blob
from phonotune.store import describe, remove_outputs

PROBE: Final = (1.0, 2.0, 3.0)
SKEW: Final = 5.0
"""Seconds by which a worker's clock may differ: a training looks at the clock before its walltime."""
_PAUSE: Final = 0.5


def examine_workers(
    manager: str,
    profile: Profile | Path | None,
    workers: Sequence[str] | None,
    timeout: float,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """Run the checks of :func:`phonotune.jobs.doctor.examine` on workers.

    Parameters
    ----------
    manager
        ``fireworks`` or ``jobflow-remote``; its runner, or qlaunch, must be running.
    profile
        Names the workers.
    workers
        Which of them; None for all.
    timeout
        Seconds until a job that did not come back is taken out of the queue.
    tell
        Called with what is waited for.

    Raises
    ------
    ConfigError
        The manager, the profile or a worker is unknown.
    StoreError
        A database does not answer.
    """
    chosen = profile if isinstance(profile, Profile) else read_profile(profile)
    known = chosen.workers()
    for name in workers or []:
        if name not in known:
            raise unknown_name("worker of the profile", name, known)
    with open_queue(manager, chosen) as queue:
        store, start = queue.store(), time.time()
        sent = {name: _send(queue, chosen, known[name]) for name in workers or known}
        try:
            jobs = _wait(queue, sent, start + timeout, tell)
            answers = {
                name: _answer(manager, store, job, known[name], start)
                if job.state == "done"
                else [_missing(job, timeout)]
                for name, job in jobs.items()
            }
        finally:
            left = queue.remove(list(sent.values()))
            remove_outputs(store, list(sent.values()))
    findings = [
        Finding(f"{name}: {f.what}", f.state, f.text)
        for name, judged in answers.items()
        for f in judged
    ]
    return findings + [
        Finding("queue", "warn", f"a job of this check stays: {why}") for why in left
    ]


def _answer(
    manager: str, store: JobStore, job: QueuedJob, roles: Iterable[Role], start: float
) -> list[Finding]:
    """Return what to say of a job that is done; its answer may be in another store, or not whole."""
    try:
        found = store.get_output(job.uuid, load=True)
    except ValueError:
        what = "its answer is not in"
    except KeyError:
        what = "the array of its answer is not with"
    else:
        return judge(MontyDecoder().process_decoded(found), roles, start, time.time())
    text = (
        f"the worker did the job, but {what} {describe(store.docs_store)}, which is asked here: it "
        f"writes to another store. Compare {manager_row(manager).store_is_named}, with data among the "
        "additional stores."
    )
    return [Finding("store", "fail", text)]


def judge(report: dict[str, Any], roles: Iterable[Role], start: float, end: float) -> list[Finding]:
    """Return a worker's own findings, and those that need a look from outside.

    Parameters
    ----------
    report
        Output of :func:`phonotune.jobs.doctor.examine_worker`.
    roles
        What the worker is for.
    start, end
        When the job was sent and its answer read, by this machine's clock, seconds since 1970.
    """
    findings = [Finding("host", "ok", report["host"])]
    for what, state, text in report["findings"]:
        needs_gpu = what == "device" and any(role.startswith("gpu") for role in roles)
        if needs_gpu and str(text).startswith("cpu"):
            state, text = "warn", f"{text}: no GPU, though roles for one are sent here"
        findings.append(Finding(what, state, text))
    theirs = report["versions"]
    other = [
        f"{name} {theirs.get(name, 'missing')} (here {version})"
        for name, version in package_versions().items()
        if theirs.get(name) != version
    ]
    versions = f"others than here: {', '.join(other)}" if other else "the same as here"
    same = report["probe"].sha256 == Blob.pack(numbers=list(PROBE)).sha256
    store = "document and array came back as they were" if same else "the array came back changed"
    off = max(start - report["time"], report["time"] - end, 0.0)
    clock = "agrees with this machine's" if off <= SKEW else f"is off by at least {off:.0f} s"
    return [
        *findings,
        Finding("versions", "warn" if other else "ok", versions),
        Finding("store", "ok" if same else "fail", store),
        Finding("clock", "ok" if off <= SKEW else "warn", clock),
    ]


def _send(queue: Queue, profile: Profile, roles: Sequence[Role]) -> str:
    """Queue the job for a worker (by one of its roles) and return its uuid."""
    made: Job = tag(examine_worker(PROBE, known_potentials()), roles[0], "doctor")
    route = profile.route_of(roles[0])
    made.update_config({"manager_config": route.manager_config()}, attributes="manager_config")
    queue.add(Flow([made], name="phonotune doctor"), route.worker)
    uuid: str = made.uuid
    return uuid


def _wait(
    queue: Queue, sent: dict[str, str], end: float, tell: Callable[[str], None]
) -> dict[str, QueuedJob]:
    """Return the jobs by worker when all are over, or at the end."""
    while True:
        jobs = latest(queue.find(list(sent.values())))
        open_ = [name for name, uuid in sent.items() if jobs[uuid].state not in {"done", "failed"}]
        if not open_ or time.time() > end:
            return {name: jobs[uuid] for name, uuid in sent.items()}
        tell(", ".join(f"{name} ({jobs[sent[name]].state})" for name in open_))
        time.sleep(_PAUSE)


def _missing(job: QueuedJob, timeout: float) -> Finding:
    if job.state == "failed":
        return Finding("job", "fail", job.error or "it failed without a message")
    advice = {
        "ready": "nobody took it: does the runner (or qlaunch) run, and does a worker take "
        f"{job.worker!r}?",
        "queued": "it waits in the queue; ask the scheduler why",
    }
    text = f"still {job.state} after {timeout:g} s; {advice.get(job.state, 'look at its log')}"
    return Finding("job", "fail", text)
