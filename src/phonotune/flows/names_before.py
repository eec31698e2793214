"""The names that jobs had before an upgrade renamed none of them: how stores of that time are found again.

Those names hashed the whole JSON of a job, versions of packages, modules and defaults included. They are
made again here of a job as it is now: with the versions that the results of a store record, and with the
modules and fields of that time (``names_0_1_0.json``). :func:`phonotune.flows.migrate.migrate` looks for them.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jobflow import Flow, Job
from monty.json import MontyEncoder

from phonotune.flows.identity import NAMESPACE
from phonotune.schemas.base import hash_json

_UPDATES = ("metadata_updates", "config_updates", "name_updates")
_NOT_CONTENT = ("uuid", "hosts", "name", "metadata", "config", "index", *_UPDATES)

_VASP: Final = "phonotune.jobs.custody"
_EARLIER: Final = {
    "LabelInputGenerator": "phonotune.jobs.inputs",
    "LabelProtocol": "phonotune.jobs.protocol",
    "VaspMonitoring": "phonotune.jobs.protocol",
    "ElectronicConvergence": _VASP,
    "FatalMessage": _VASP,
    "FrozenRun": _VASP,
    "TaskFramesMaker": "phonotune.jobs.foreign",
    "TaskSettings": "phonotune.jobs.foreign",
    "frames_from_tasks": "phonotune.jobs.foreign",
    "RelaxSettings": "phonotune.models.relax",
}
"""Modules of classes and functions in the first stores of 0.1.0, before these moved."""
_EARLIER_WORDS: Final = {"VaspMonitoring": "Custody", "monitoring": "custody"}


@dataclass(frozen=True)
class Origin:
    """Who made a store.

    Attributes
    ----------
    versions
        Of packages, as a result records them.
    moved
        Whether the modules of :data:`_EARLIER` had moved already.
    """

    versions: tuple[tuple[str, str], ...]
    moved: bool


@dataclass(frozen=True)
class OldName:
    """Id of a job in a store of 0.1.0, and the hash of its content there."""

    uuid: str
    content: str


def old_names(flow: Flow, origin: Origin, keep: Mapping[str, OldName]) -> dict[str, OldName]:
    """Return the names that the jobs of a flow had, by their ids now.

    Parameters
    ----------
    flow
        Jobs in order, named by :func:`phonotune.flows.identity.stable_flow`.
    origin
        Who named them.
    keep
        Old names of jobs of other flows by their ids now; one that is also in this flow keeps its id.
    """
    entries = dict(_entries(json.loads(json.dumps(flow, cls=MontyEncoder))))
    renamed = {new: old.uuid for new, old in keep.items()}
    seen = Counter[str]()
    found = {}
    for job, _ in flow.iterflow():
        text = json.dumps(_as_before(entries[job.uuid], origin), sort_keys=True)
        pattern = re.compile("|".join(map(re.escape, {**entries, **renamed})))
        content = hash_json(pattern.sub(lambda match: renamed.get(match[0], match[0]), text))
        if job.uuid not in renamed:
            renamed[job.uuid] = str(uuid.uuid5(NAMESPACE, f"{content}-{seen[content]}"))
            seen[content] += 1
        found[job.uuid] = OldName(renamed[job.uuid], content)
    return found


def _entries(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in content["jobs"]:
        if entry["@class"] == Job.__name__:
            yield entry["uuid"], {k: v for k, v in entry.items() if k not in _NOT_CONTENT}
        else:
            yield from _entries(entry)


@cache
def _known() -> dict[str, Any]:
    """Return modules and fields of classes, and modules of functions, in 0.1.0."""
    text = files("phonotune.flows").joinpath("names_0_1_0.json").read_text(encoding="utf-8")
    known: dict[str, Any] = json.loads(text)
    return known


def _as_before(content: Any, origin: Origin, fields_of: str | None = None) -> Any:
    """Return JSON as 0.1.0 wrote it; ``fields_of`` is the class of a nested object, which JSON does not say."""
    if isinstance(content, list):
        return [_as_before(value, origin) for value in content]
    if not isinstance(content, dict):
        return content
    classes, functions = _known()["classes"], _known()["functions"]
    name = content.get("@class", fields_of)
    if content.get("strategy") is not None and name == "FineTuneConfig":
        fields_of = f"{str(content['strategy']).capitalize()}Options"
    entry = classes.get(fields_of if fields_of in classes else name)
    ours = entry is not None and str(content.get("@module", "phonotune")).startswith("phonotune")
    result = {}
    for key, value in content.items():
        if ours and not key.startswith("@") and key not in entry["fields"]:
            continue
        nested = entry["fields"].get(key) if ours and entry else None
        result[key] = _as_before(value, origin, nested)
    root = str(content.get("@module", "")).partition(".")[0]
    versions = dict(origin.versions)
    if content.get("@version") is not None and root in versions:
        result["@version"] = versions[root]
    if ours and "versions" in result:
        result["versions"] = versions
    if ours and "@module" in result:
        result["@module"] = classes[name]["module"]
    if root == "phonotune" and content.get("@callable") in functions:
        result["@module"] = functions[content["@callable"]]
    if not origin.moved:
        known = content.get("@class", content.get("@callable"))
        if root == "phonotune" and known in _EARLIER:
            result["@module"] = _EARLIER[known]
        if name == "LabelMaker":
            result = {_EARLIER_WORDS.get(key, key): value for key, value in result.items()}
        if known in _EARLIER_WORDS:
            result["@class"] = _EARLIER_WORDS[known]
    return result
