"""The one decorator of every job: blobs by class, an output schema, a role."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from jobflow import CURRENT_JOB, Flow, Job, Maker, Response, job

from phonotune.schemas.base import Document
from phonotune.schemas.blob import Blob

Role = Literal["light", "dft", "gpu_eval", "gpu_train", "cpu_heavy"]
"""What a job needs of a worker; ``flows.routing`` maps it to a queue."""

P = ParamSpec("P")
M = TypeVar("M", bound=Maker)


def tag(made: Job, role: Role, stage: str) -> Job:
    """Write role and stage into ``job.metadata["phonotune"]`` and keep children's own routing.

    jobflow hands a generator's ``manager_config`` down to every job it returns unless
    ``pass_manager_config`` is off.
    """
    made.update_metadata({"phonotune": {"role": role, "stage": stage}})
    made.update_config({"pass_manager_config": False})
    return made


def role_job(
    role: Role | Callable[[Any], Role], schema: type[Document] | Callable[[Any], type[Document]]
) -> Callable[[Callable[Concatenate[M, P], Any]], Callable[Concatenate[M, P], Job]]:
    """Make a Maker's method a jobflow job that returns ``schema`` and knows its role.

    Parameters
    ----------
    role
        The role, or a function of the Maker that returns it.
    schema
        Document class of the output, or a function of the Maker that returns it: a typo in
        ``job.output.x`` fails when the flow is built.
    """

    def decorate(method: Callable[Concatenate[M, P], Any]) -> Callable[Concatenate[M, P], Job]:
        build = job(method, data=[Blob])

        @wraps(method)
        def make(self: M, *args: P.args, **kwargs: P.kwargs) -> Job:
            made = build(self, *args, **kwargs)
            made.output_schema = schema if isinstance(schema, type) else schema(self)
            made.output.output_schema = made.output_schema
            return tag(made, role(self) if callable(role) else role, self.name)

        make.original = method  # type: ignore[attr-defined]
        return make  # type: ignore[return-value]

    return decorate


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
