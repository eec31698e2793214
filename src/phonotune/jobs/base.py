"""The one decorator of every job: blobs by class, schema and size of the output, a role, a GPU, walltimes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar

from jobflow import CURRENT_JOB, Flow, Job, Maker, Response, job
from jobflow.core.reference import find_and_get_references
from monty.json import MontyDecoder, MontyEncoder

from phonotune.errors import WalltimeError
from phonotune.schemas.base import Document
from phonotune.schemas.blob import Blob
from phonotune.store import check_size

Role = Literal["light", "dft", "gpu_eval", "gpu_train", "cpu_heavy"]
"""What a job needs of a worker; ``flows.routing`` maps it to a queue."""

ON_GPU: Final[tuple[Role, ...]] = ("gpu_train", "gpu_eval")
"""Roles of jobs that hold a GPU while they run, where there is one."""

MOST_REPETITIONS: Final = 100
"""How often a job goes on after the end of a walltime."""

_NOTES: Final = "phonotune_repeat"
"""Key of the metadata with the references among a job's arguments and its repetitions so far."""

logger = logging.getLogger(__name__)

P = ParamSpec("P")
Q = ParamSpec("Q")
M = TypeVar("M", bound=Maker)


def tag(made: Job, role: Role, stage: str) -> Job:
    """Write role and stage into ``job.metadata["phonotune"]`` and keep children's own routing.

    jobflow hands a generator's ``manager_config`` down to every job it returns unless
    ``pass_manager_config`` is off, and its metadata unless they are not ``dynamic``.
    """
    made.update_metadata({"phonotune": {"role": role, "stage": stage}}, dynamic=False)
    made.update_config({"pass_manager_config": False})
    return made


def role_job(
    role: Role | Callable[[Any], Role], schema: type[Document] | Callable[[Any], type[Document]]
) -> Callable[[Callable[Concatenate[M, P], Any]], Callable[Concatenate[M, P], Job]]:
    """Make a Maker's method a jobflow job that returns ``schema`` and knows its role.

    A job on a GPU holds one while it runs (:func:`phonotune.models.gpu_lock.hold_gpu`), and goes on in a
    job like itself after the end of its walltime (:func:`repeat`). A Document that no database would
    keep fails the job before jobflow stores it (:func:`checked`).

    Parameters
    ----------
    role
        The role, or a function of the Maker that returns it.
    schema
        Document class of the output, or a function of the Maker that returns it: a typo in
        ``job.output.x`` fails when the flow is built.
    """

    def decorate(method: Callable[Concatenate[M, P], Any]) -> Callable[Concatenate[M, P], Job]:
        run = checked(method)

        def role_of(maker: M) -> Role:
            return role(maker) if callable(role) else role

        @wraps(method)
        def work(self: M, *args: P.args, **kwargs: P.kwargs) -> Any:
            if role_of(self) not in ON_GPU:
                return run(self, *args, **kwargs)
            from phonotune.models.gpu_lock import hold_gpu

            try:
                with hold_gpu(self.name):
                    return run(self, *args, **kwargs)
            except WalltimeError as error:
                return repeat(self, error)

        build = job(work, data=[Blob])

        @wraps(method)
        def make(self: M, *args: P.args, **kwargs: P.kwargs) -> Job:
            made = build(self, *args, **kwargs)
            made.output_schema = schema if isinstance(schema, type) else schema(self)
            made.output.output_schema = made.output_schema
            made = tag(made, role_of(self), self.name)
            if role_of(self) in ON_GPU:
                _note_references(made)
            return made

        make.original = work  # type: ignore[attr-defined]
        return make  # type: ignore[return-value]

    return decorate


def document_job(
    schema: type[Document] | None = None, content_version: int = 1
) -> Callable[[Callable[Q, Any]], Callable[Q, Job]]:
    """Make a function a jobflow job that returns a Document: what jobs of Makers are made of at run time.

    Its Blobs are moved and its size is looked at as in :func:`role_job`; the role is tagged by whoever
    makes the job.

    Parameters
    ----------
    schema
        Document class of the output; None where the function serves several.
    content_version
        Raised when the mathematics behind the function changes: its jobs then get other ids.
    """

    def decorate(function: Callable[Q, Any]) -> Callable[Q, Job]:
        function.content_version = content_version  # type: ignore[attr-defined]
        made: Callable[Q, Job] = job(checked(function), data=[Blob], output_schema=schema)
        return made

    return decorate


def checked(function: Callable[Q, Any]) -> Callable[Q, Any]:
    """Let a job's function raise where it returns a Document that no database would keep.

    :func:`role_job` and :func:`document_job` do so. What replaces the job is checked when it runs.

    Raises
    ------
    StoreError
        The Document, or a Blob of it, is over 8 MB, or holds NaN or bytes; the message says where.
    """

    @wraps(function)
    def run(*args: Q.args, **kwargs: Q.kwargs) -> Any:
        result = function(*args, **kwargs)
        output = result.output if isinstance(result, Response) else result
        if isinstance(output, Document):
            current: Job | None = CURRENT_JOB.job
            name = function.__name__ if current is None else current.name
            check_size(output, f"The output of {name!r}")
        return result

    return run


def repeat(maker: Maker, error: WalltimeError) -> Response[Any]:
    """Replace the running job by the same job, to go on where the end of the walltime stopped it.

    The new job has uuid, Maker, arguments (references, not what they refer to), worker and metadata
    of the old one, so dependants wait for it in every manager.

    Parameters
    ----------
    maker
        Whose job is running.
    error
        What stopped it.

    Raises
    ------
    WalltimeError
        There is no job, or it is a repetition that got no further, or the last one allowed.
    """
    current: Job | None = CURRENT_JOB.job
    if current is None or getattr(current.function, "__self__", None) is not maker:
        raise error
    noted = current.metadata.get(_NOTES, {})
    done = noted.get("repetition", 0)
    if done and error.progress == 0:
        raise WalltimeError(
            f"{error} A whole walltime was too short for any progress. Ask for a longer one.", 0
        ) from error
    if done >= MOST_REPETITIONS:
        raise WalltimeError(
            f"{error} It has gone on {done} times, which is all that is allowed. Start it again.",
            error.progress,
        ) from error
    logger.info("%s The job goes on as repetition %d.", error, done + 1)
    again = _same_job(current)
    again.metadata = {**current.metadata, _NOTES: {**noted, "repetition": done + 1}}
    return Response(replace=_FlowOfRepetition([again]))


class _FlowOfRepetition(Flow):
    """A flow that refers to jobs that are done; FireWorks and jobflow-remote refuse that in a Flow.

    They look whether all that is referred to is in the flow. It is stored as a Flow.
    """

    @property
    def job_uuids(self) -> tuple[str, ...]:
        """Uuids of the repetition and of what it refers to."""
        return (*super().job_uuids, *(uuid for made in self.jobs for uuid in made.input_uuids))

    def as_dict(self) -> dict[str, Any]:
        """Return the dict of a Flow."""
        content: dict[str, Any] = super().as_dict()
        return {**content, "@module": Flow.__module__, "@class": Flow.__name__}


def _same_job(current: Job) -> Job:
    """Return the running job as it was before it ran, under its next index."""
    text = current.metadata.get(_NOTES, {}).get("references", "{}")
    references = MontyDecoder().decode(text)
    again = Job(
        current.function,
        tuple(references.get(str(i), value) for i, value in enumerate(current.function_args)),
        {key: references.get(key, value) for key, value in current.function_kwargs.items()},
        output_schema=current.output_schema,
        uuid=current.uuid,
        index=current.index + 1,
        name=current.name,
        config=current.config,
        **current._kwargs,
    )
    for updates in ("metadata_updates", "config_updates", "name_updates"):
        setattr(again, updates, getattr(current, updates))
        setattr(current, updates, [])  # what they did, the new job has
    return again


def _note_references(made: Job) -> None:
    """Write arguments that refer to other jobs into the metadata: a running job no longer has them."""
    places = [*enumerate(made.function_args), *made.function_kwargs.items()]
    found = {str(p): value for p, value in places if find_and_get_references(value)}
    if found:
        # as text, which no manager resolves
        made.metadata[_NOTES] = {"references": json.dumps(found, cls=MontyEncoder)}


def replace_by(jobs: list[Any], last: Job) -> Response[Any]:
    """Replace the running job by ``jobs`` and ``last``; the output of ``last`` becomes its own.

    jobflow would add a further job that stores a reference, which fails an output schema and costs a
    document; instead ``last`` takes over uuid and next index, as a single replacing job does.
    """
    current = CURRENT_JOB.job
    last.set_uuid(current.uuid)
    last.index = current.index + 1
    last.metadata = {**last.metadata, **current.metadata}
    return Response(replace=Flow([*jobs, last]))
