"""Jobs named by what they compute: the same input twice gives the same ids, so finished work is found again.

What counts of a Maker and its arguments, and what keeps an upgrade from renaming all jobs, is said in
:mod:`phonotune.schemas.content`.
"""

from __future__ import annotations

import inspect
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from jobflow import Flow, Job, OutputReference
from monty.json import MontyDecoder, MontyEncoder

from phonotune.schemas.base import hash_json
from phonotune.schemas.content import Notes, content_name, is_watched, read_content

NAMESPACE: Final[uuid.UUID] = uuid.UUID("6c2f3f0e-6a0e-5f0c-9d57-70686f6e6f74")
FORMAT: Final = "v2-"
"""Begin of every content hash of this version; those of 0.1.0 begin with a hexadecimal digit."""


def stable_flow(flow: Flow, keep: Iterable[str] = ()) -> Flow:
    """Return the flow with every job's uuid replaced by one made from its content.

    The content of a job is its function (with its Maker), its arguments and, through their ids, all it
    depends on; name, metadata and manager settings do not count. The hash of that content is written to
    ``job.metadata["phonotune"]["content"]``, also for a job that must keep its id.

    Parameters
    ----------
    flow
        Jobs in an order in which each comes after what it depends on.
    keep
        Ids that must stay (a replacing job bears the id of the job it replaces).
    """
    renamed = {kept: kept for kept in keep}
    seen = Counter[str]()
    hashes = {}
    for job, _ in flow.iterflow():
        content = job_hash(job, renamed)
        if job.uuid not in renamed:
            renamed[job.uuid] = str(uuid.uuid5(NAMESPACE, f"{content}-{seen[content]}"))
            seen[content] += 1
        hashes[renamed[job.uuid]] = content
    pattern = re.compile("|".join(map(re.escape, renamed)))
    text = pattern.sub(lambda match: renamed.get(match[0], ""), json.dumps(flow, cls=MontyEncoder))
    stable = MontyDecoder().process_decoded(json.loads(text))
    for job, _ in stable.iterflow():
        known = job.metadata.get("phonotune", {})
        job.metadata = {**job.metadata, "phonotune": {**known, "content": hashes[job.uuid]}}
    return stable


def job_hash(job: Job, renamed: Mapping[str, str]) -> str:
    """Return the hash of a job's content.

    Parameters
    ----------
    job
        Its arguments count by their names, however they are passed, without those that equal a default
        of the function; the function counts by its name and, above 1, its ``content_version``.
    renamed
        New ids of the jobs that it refers to; others count as they are.
    """

    def reference(value: Any) -> Any:
        if not isinstance(value, OutputReference):
            return None
        return {
            "@job": renamed.get(value.uuid, value.uuid),
            "of": list(map(list, value.attributes)),
        }

    notes: Notes = set()
    function = job.function
    maker = getattr(function, "__self__", None)
    name = content_name(function) if maker is None else function.__name__
    if (version := getattr(function, "content_version", 1)) != 1:
        notes.add((name, f"version {version}"))
    signature = inspect.signature(function)
    bound = signature.bind(*job.function_args, **job.function_kwargs)
    if not is_watched(function):
        bound.apply_defaults()
    arguments = {
        key: read_content(value, notes, reference) for key, value in bound.arguments.items()
    }
    given = {
        key: value
        for key, value in arguments.items()
        if not is_watched(function) or value != signature.parameters[key].default
    }
    content = [name, read_content(maker, notes, reference), given, sorted(notes)]
    return FORMAT + hash_json(content)
