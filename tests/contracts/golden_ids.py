"""The ids of representative jobs and every default behind them, as ``golden.json`` keeps them.

`python tests/contracts/golden_ids.py` writes the file again. It refuses where a default changed and its class
still has the same ``content_version``: results of the old default would be served as those of the new one.
`--rename` also allows ids that change although no version was raised, e.g. after new wiring of a flow.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import sys
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jobflow import Flow, Maker
from pydantic import BaseModel
from pymatgen.core import Lattice, Structure

import phonotune.flows
import phonotune.jobs
from phonotune.flows.identity import stable_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.jobs.compare import CompareMaker
from phonotune.jobs.conductivity import ConductivityMaker
from phonotune.jobs.dataset import DatasetMaker
from phonotune.jobs.elastic import ElasticMaker
from phonotune.jobs.finetune import FineTuneMaker
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.labellers import find_labeller
from phonotune.jobs.phonon import PhononMaker
from phonotune.jobs.phonon_flow import PhononFlowMaker
from phonotune.jobs.quasi_harmonic import QuasiHarmonicMaker
from phonotune.jobs.sample import RattleMaker, SelectMaker, TrajectoryMaker
from phonotune.jobs.sscha import SSCHAMaker
from phonotune.jobs.task_frames import TaskFramesMaker
from phonotune.jobs.transitions import TransitionMaker
from phonotune.jobs.wells import DoubleWellMaker
from phonotune.schemas.base import Document, hash_json
from phonotune.schemas.content import content_name, defaults_of, fields_of, read_content
from phonotune.schemas.dataset import Candidate
from phonotune.schemas.training import FoundationRecord, ModelRecord

FILE = Path(__file__).with_name("golden.json")
COMMAND = "python tests/contracts/golden_ids.py"
LONG = 300
"""Characters above which only the hash of a default is kept."""
LABELLERS = ("vasp", "teacher", "gfn1-xtb")
"""Whose static makers are watched, with all that stands in them."""


def crystal() -> Structure:
    """Rock salt, in numbers without rounding."""
    return Structure(
        Lattice.cubic(5.5), ["Na", "Cl"] * 4, [[x / 2, y / 2, z / 2] for x, y, z in _corners()]
    )


def _corners() -> list[tuple[int, int, int]]:
    face = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    return [p for x, y, z in face for p in ((x, y, z), (x + 1, y, z))]


def flows() -> dict[str, Flow]:
    """Representative flows, not yet named."""
    cell = crystal()
    made = {
        f"pipeline {labeller}": PhonotuneMaker(
            foundation="mini", labeller=labeller, strategies=["lora", "equitrain"]
        ).make(cell)
        for labeller in ("teacher", "vasp")
    }
    rattled = RattleMaker().make(cell)
    relaxed = TrajectoryMaker().make(rattled.output, "mini")
    selected = SelectMaker().make(relaxed.output)
    label = LabelMaker(labeller="teacher")
    labelled = label.make(selected.output)
    dataset = DatasetMaker().make(labelled.output)
    tuned = FineTuneMaker(foundation="mini").make(dataset.output)
    phonons = PhononMaker().make(cell, tuned.output)
    elastic = ElasticMaker().make(cell, "mini")
    well = DoubleWellMaker(labeller=label).make(cell, phonons.output)
    jobs = [rattled, relaxed, selected, labelled, dataset, tuned, phonons, elastic, well]
    jobs += [
        TransitionMaker().make(cell, "mini"),
        QuasiHarmonicMaker().make(cell, "mini"),
        ConductivityMaker().make(cell, "mini"),
        SSCHAMaker().make(cell, "mini"),
        CompareMaker().make([phonons.output], [[phonons.output]]),
        TaskFramesMaker().make([tuned.output]),
    ]
    made["each Maker"] = Flow(jobs)
    made["atomate2's phonons"] = PhononFlowMaker(model="mini").make(cell)
    for name in LABELLERS:
        chosen = LabelMaker(labeller=name)
        statics = chosen.static_jobs([cell])
        collected = chosen.collect_job(statics, [Candidate(cell, "group", "reason")])
        made[f"labels of {name}"] = Flow([*statics, collected])
    return made


def ids() -> dict[str, list[str]]:
    """Ids of all jobs of :func:`flows`, by flow and name of the job."""
    found: dict[str, list[str]] = {}
    for name, flow in flows().items():
        for job, _ in stable_flow(flow).iterflow():
            found.setdefault(f"{name} | {job.name}", []).append(job.uuid)
    return {name: sorted(uuids) for name, uuids in found.items()}


def defaults() -> dict[str, dict[str, Any]]:
    """Defaults and ``content_version`` of every class that takes part in an id, by its name there."""
    return {
        content_name(kind): {
            "content_version": getattr(kind, "content_version", 1),
            "defaults": {
                name: _short(read_content(value, set()))
                for name, value in defaults_of(kind).items()
            },
        }
        for kind in sorted(_classes(), key=content_name)
    }


def functions() -> dict[str, int]:
    """``content_version`` of every function that a job runs, by its name in ids."""
    found = [job.function for flow in flows().values() for job, _ in flow.iterflow()]
    return {
        content_name(f): getattr(f, "content_version", 1)
        for f in found
        if not hasattr(f, "__self__")
    }


def _short(content: Any) -> Any:
    long = len(json.dumps(content)) > LONG
    return f"sha256 {hash_json(content)}" if long else content


def _classes() -> set[type]:
    """All Makers of the package, the settings of their fields, and the classes of labellers' makers."""
    for room in (phonotune.jobs, phonotune.flows):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    found: set[type] = set()
    makers = [kind for kind in _subclasses(Maker) if kind.__module__.startswith("phonotune.")]
    for kind in makers:
        hints = typing.get_type_hints(kind)
        found |= {kind} | _models(hints[field.name] for field in dataclasses.fields(kind))
    for name in LABELLERS:
        labeller = find_labeller(name)
        found |= _reached(labeller.static) | _reached(labeller.relax)
    return found


def _subclasses(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def _models(hints: Iterable[Any]) -> set[type]:
    """Settings within the annotations of fields; results, and what records a model, are none."""
    found: set[type] = set()
    for hint in hints:
        found |= _models(typing.get_args(hint))
        if not (isinstance(hint, type) and issubclass(hint, BaseModel)):
            continue
        if not issubclass(hint, Document | ModelRecord | FoundationRecord):
            found |= {hint} | _models(field.annotation for field in hint.model_fields.values())
    return found


def _reached(value: Any) -> set[type]:
    """Classes of an object and of all within it, defaults included."""
    if isinstance(value, dict):
        return set().union(*map(_reached, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(_reached, value))
    fields = None if value is None or isinstance(value, type) else fields_of(value)
    if fields is None:
        return set()
    return {type(value)} | _reached([*fields.values(), *defaults_of(type(value)).values()])


def now() -> dict[str, Any]:
    """What the golden file is to hold."""
    return {"ids": ids(), "functions": functions(), "classes": defaults()}


def unraised(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say which defaults changed, or went away, while their class kept its ``content_version``."""
    said = []
    for name, was in old["classes"].items():
        entry = new["classes"].get(name)
        if entry is None or entry["content_version"] != was["content_version"]:
            continue
        for field, value in was["defaults"].items():
            found = entry["defaults"].get(field, "no default")
            if found != value:
                said.append(f"{name}.{field}: {value!r} became {found!r}")
    return said


def raised(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Names of classes and functions whose ``content_version`` is not what it was."""
    classes = [
        name
        for name, was in old["classes"].items()
        if new["classes"].get(name, was)["content_version"] != was["content_version"]
    ]
    return classes + [
        name for name, was in old["functions"].items() if new["functions"].get(name, was) != was
    ]


def renamed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Jobs that have other ids than before."""
    return [name for name, were in old["ids"].items() if new["ids"].get(name, were) != were]


def write(argv: list[str]) -> int:
    """Write the file; return 1, with the reason on stderr, where it must not be written."""
    new = now()
    if FILE.exists():
        old = json.loads(FILE.read_text(encoding="utf-8"))
        if changed := unraised(old, new):
            sys.stderr.write(
                "These defaults changed. Raise content_version of their class, then run this again:\n"
                + "\n".join(changed)
                + "\n"
            )
            return 1
        names = renamed(old, new)
        if names and not raised(old, new) and "--rename" not in argv:
            sys.stderr.write(
                "These jobs get another id, though no content_version was raised; finished work is "
                "computed again. Is that meant (new wiring)? Then add --rename:\n"
                + "\n".join(names)
                + "\n"
            )
            return 1
    FILE.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(write(sys.argv[1:]))
