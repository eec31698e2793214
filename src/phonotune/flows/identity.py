"""Jobs named by their content: the same input twice gives the same ids, so finished work is found again."""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from jobflow import Flow, Job
from monty.json import MontyDecoder, MontyEncoder

from phonotune.schemas.base import hash_json

NAMESPACE: Final[uuid.UUID] = uuid.UUID("6c2f3f0e-6a0e-5f0c-9d57-70686f6e6f74")
_UPDATES = ("metadata_updates", "config_updates", "name_updates")
_NOT_CONTENT = ("uuid", "hosts", "name", "metadata", "config", "index", *_UPDATES)


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
    text = json.dumps(flow, cls=MontyEncoder)
    contents = dict(_jobs_of(json.loads(text)))
    renamed = {kept: kept for kept in keep}
    pattern = re.compile("|".join(map(re.escape, contents)))
    seen = Counter[str]()

    def rename(match: re.Match[str]) -> str:
        return renamed.get(match[0], match[0])

    hashes = {}
    for job, _ in flow.iterflow():
        content = hash_json(pattern.sub(rename, contents[job.uuid]))
        if job.uuid not in renamed:
            renamed[job.uuid] = str(uuid.uuid5(NAMESPACE, f"{content}-{seen[content]}"))
            seen[content] += 1
        hashes[renamed[job.uuid]] = content
    stable = MontyDecoder().process_decoded(json.loads(pattern.sub(rename, text)))
    for job, _ in stable.iterflow():
        known = job.metadata.get("phonotune", {})
        job.metadata = {**job.metadata, "phonotune": {**known, "content": hashes[job.uuid]}}
    return stable


def _jobs_of(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield uuid and content (as JSON text) of every job within a serialised flow."""
    for entry in content["jobs"]:
        if entry["@class"] == Job.__name__:
            kept = {key: value for key, value in entry.items() if key not in _NOT_CONTENT}
            yield entry["uuid"], json.dumps(kept, sort_keys=True)
        else:
            yield from _jobs_of(entry)
