"""What became of submitted flows, per material and stage; retrying and cancelling them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from phonotune.flows.queues import OVER, Queue, QueuedJob, State, latest, open_queue
from phonotune.flows.routing import Profile, read_profile


@dataclass
class StageStatus:
    """The jobs of one stage of one material.

    Attributes
    ----------
    material
        Reduced formula, else name of the flow.
    material_id
        Hash of the crystal; empty if not known.
    stage
        What the jobs do.
    counts
        Number of jobs by state.
    worker
        Where they run.
    errors
        Last line of what each failed job said.
    """

    material: str
    material_id: str
    stage: str
    worker: str
    counts: dict[State, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """What :func:`retry_failed` or :func:`cancel` did, by the manager's ids; why not, for the others."""

    manager: str
    done: list[str]
    refused: dict[str, str] = field(default_factory=dict)


def status(
    manager: str, profile: Profile | Path | None = None, formula: str | None = None
) -> list[StageStatus]:
    """Return the state of all submitted jobs, by material and stage, in the order of submission.

    Raises
    ------
    ConfigError
        The manager or the profile cannot be used.
    StoreError
        Its database does not answer.
    """
    with _open(manager, profile) as queue:
        return summarise(_matching(queue.find(), formula))


def summarise(jobs: Iterable[QueuedJob]) -> list[StageStatus]:
    """Count jobs by material and stage; a job that replaced itself counts as what it became."""
    rows: dict[tuple[str, str, str], StageStatus] = {}
    for job in sorted(latest(jobs).values(), key=_age):
        about = job.about
        material = str(about.get("formula") or about.get("flow") or "")
        key = (material, str(about.get("material_id", "")), str(about.get("stage", job.name)))
        row = rows.setdefault(key, StageStatus(*key, worker=job.worker or ""))
        row.counts[job.state] = row.counts.get(job.state, 0) + 1
        if job.state == "failed":
            row.errors.append(f"{job.name} ({job.id}): {job.error or 'no message'}")
    return list(rows.values())


def retry_failed(
    manager: str,
    profile: Profile | Path | None = None,
    formula: str | None = None,
    lost_after: float | None = None,
) -> Change:
    """Make failed jobs ready again.

    Parameters
    ----------
    manager, profile
        Where.
    formula
        Only jobs of this reduced formula.
    lost_after
        Also take running jobs whose worker gave no sign of life for so many seconds (FireWorks; a killed
        worker cannot say so, and jobflow-remote sees it in the queue).
    """
    with _open(manager, profile) as queue:
        jobs = [job for job in latest(queue.find()).values() if job.state == "failed"]
        if lost_after is not None:
            jobs += queue.lost(lost_after)
        answers = queue.retry(_matching(jobs, formula))
    return _change(queue.manager, answers)


def cancel(
    manager: str, profile: Profile | Path | None = None, formula: str | None = None
) -> Change:
    """Stop everything that is not finished; results stay, and the same submission goes on from there.

    What cannot be stopped is left as it is, with the reason: it may be locked, or comes to its end.
    """
    with _open(manager, profile) as queue:
        jobs = [job for job in latest(queue.find()).values() if job.state not in OVER]
        answers = queue.cancel(_matching(jobs, formula))
    return _change(queue.manager, answers)


def _change(manager: str, answers: Mapping[str, str | None]) -> Change:
    return Change(
        manager,
        [job for job, reason in answers.items() if reason is None],
        {job: reason for job, reason in answers.items() if reason is not None},
    )


def _open(manager: str, profile: Profile | Path | None) -> Queue:
    return open_queue(manager, profile if isinstance(profile, Profile) else read_profile(profile))


def _matching(jobs: Iterable[QueuedJob], formula: str | None) -> list[QueuedJob]:
    return [job for job in jobs if formula is None or job.about.get("formula") == formula]


def _age(job: QueuedJob) -> tuple[int, str]:
    """Return a key that sorts by submission; ids may bear a prefix."""
    digits = "".join(character for character in job.id if character.isdigit())
    return int(digits or 0), job.id
