"""What every workflow manager can do, in one vocabulary: find, add, rerun, stop, remove jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self, get_args

import pymongo
from jobflow import Flow, JobStore

from phonotune.dotted import load
from phonotune.errors import StoreError
from phonotune.flows.managers import manager_row
from phonotune.flows.routing import Profile
from phonotune.flows.submission_lock import Claims

State = Literal[
    "waiting", "ready", "queued", "running", "paused", "done", "failed", "cancelled", "unknown"
]
STATES: Final[tuple[State, ...]] = get_args(State)
OVER: Final[frozenset[State]] = frozenset({"done", "cancelled"})
ACTIVE: Final[frozenset[State]] = frozenset({"ready", "queued", "running", "unknown"})
"""What may be at work, or start at any moment; the others wait for such a one, or for a person."""
SECONDS: Final = 5.0
"""How long an answer of a database is waited for before anything is submitted."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as a manager knows it.

    Attributes
    ----------
    id
        The manager's own id (fw_id, or db_id).
    uuid, index
        jobflow's name of the job.
    about
        What ``job.metadata["phonotune"]`` says: role, stage, formula, material_id, campaign.
    worker
        Category (FireWorks) or worker (jobflow-remote); None if the job has none.
    error
        Last line of what went wrong, of a failed job.
    """

    id: str
    uuid: str
    index: int
    name: str
    state: State
    about: Mapping[str, Any]
    worker: str | None = None
    error: str | None = None


class Queue(ABC):
    """The jobs of one manager that phonotune made; a context that closes its connections."""

    manager: ClassVar[str]

    def __enter__(self) -> Self:
        """Return the queue."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the connections to the databases, that of :meth:`store` included."""

    @abstractmethod
    def find(self, uuids: Sequence[str] | None = None) -> list[QueuedJob]:
        """Return the jobs of these uuids, or all that phonotune made."""

    @abstractmethod
    def flows_of(self, uuids: Sequence[str]) -> list[QueuedJob]:
        """Return all jobs of the flows that hold one of these."""

    @abstractmethod
    def claims(self) -> Claims:
        """Return the collection in which submissions claim jobs (:mod:`phonotune.flows.submission_lock`)."""

    @abstractmethod
    def check(self) -> None:
        """Refuse a profile that the manager cannot follow; raises ConfigError."""

    @abstractmethod
    def sweep(self, uuids: Sequence[str]) -> None:
        """Delete what a submission of these jobs left that was killed half way; they must be claimed."""

    @abstractmethod
    def add(self, flow: Flow, default: str) -> list[str]:
        """Add a routed flow, whole or not at all, and return the ids.

        ``default`` takes jobs that name no worker.
        """

    @abstractmethod
    def retry(self, jobs: Sequence[QueuedJob]) -> dict[str, str | None]:
        """Make failed jobs ready again; return why not, or None, by id."""

    @abstractmethod
    def cancel(self, jobs: Sequence[QueuedJob]) -> dict[str, str | None]:
        """Stop jobs that have not finished; return why not, or None, by id. Results stay.

        A job that may still be at work afterwards is not called cancelled: nobody must start it again.
        """

    @abstractmethod
    def remove(self, uuids: Sequence[str]) -> list[str]:
        """Forget the flows of these jobs, and return why some are still there; results stay."""

    @abstractmethod
    def store(self) -> JobStore:
        """Return the store, connected, that finished jobs write to."""

    def lost(self, seconds: float) -> list[QueuedJob]:
        """Return running jobs that gave no sign of life for a time (seconds)."""
        return []


def open_queue(manager: str, profile: Profile) -> Queue:
    """Connect to a manager.

    Raises
    ------
    ConfigError
        The manager is unknown, not installed, or its configuration cannot be used.
    StoreError
        Its database does not answer within 5 s.
    """
    queue: Queue = load(manager_row(manager).queue)(profile)
    return queue


def jobflow_store(path: Path) -> JobStore:
    """Return the store that a jobflow configuration file (``JOBFLOW_CONFIG_FILE``) describes.

    Raises
    ------
    StoreError
        There is no such file, or it does not contain ``JOB_STORE``.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return JobStore.from_dict_spec(content["JOB_STORE"])
    except OSError as error:
        raise StoreError(f"The store file {path} cannot be read: {error.strerror}.") from error
    except (
        *(KeyError, TypeError, ValueError, AttributeError),
        *(yaml.YAMLError, pymongo.errors.PyMongoError),
    ) as error:
        raise StoreError(
            f"The store file {path} describes no job store under JOB_STORE ({type(error).__name__}). "
            "`phonotune profile init` writes an example."
        ) from None  # parsers quote the line, and with it a password


def answer_soon() -> Any:
    """Return a context in which a database has 5 s to answer."""
    return pymongo.timeout(SECONDS)


def last_line(text: str | None) -> str | None:
    """Return the last line of a traceback that is not empty."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else None


def each(
    jobs: Sequence[QueuedJob], change: Callable[[QueuedJob], str | None], *refusals: type[Exception]
) -> dict[str, str | None]:
    """Change each job on its own; return why not, or None, by id.

    Parameters
    ----------
    jobs
        Which.
    change
        Changes a job, or returns why not.
    refusals
        What the manager raises where it does not change a job: locked, gone, in another state by now.
    """
    answers: dict[str, str | None] = {}
    for job in jobs:
        try:
            answers[job.id] = change(job)
        except refusals as error:
            answers[job.id] = last_line(str(error)) or type(error).__name__
    return answers


def still(state: str) -> str | None:
    """Return why a job that had failed is not tried again; None if it is: with what it follows."""
    return None if state in {"ready", "waiting"} else f"it is {state} by now"


def latest(jobs: Iterable[QueuedJob]) -> dict[str, QueuedJob]:
    """Return each job by uuid; of one that replaced itself, what it became."""
    found: dict[str, QueuedJob] = {}
    for job in sorted(jobs, key=lambda job: job.index):
        found[job.uuid] = job
    return found
