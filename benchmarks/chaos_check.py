"""What chaos.py compares: the results of a quiet run with those that went through kills."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chaos_site
from jobflow import JobStore

from phonotune.flows.identity import stable_flow
from phonotune.flows.local import run_flow
from phonotune.flows.queues import latest, open_queue
from phonotune.flows.routing import Profile
from phonotune.schemas.base import structure_hash
from phonotune.schemas.blob import Blob
from phonotune.store import BLOB_STORE, ResultStore, open_store

SAME = 1e-5
"""Relative: a training of two epochs in float32, whose sums another process may order otherwise."""


def quiet_run(folder: Path) -> dict[str, JobStore]:
    """Run each crystal here, into a store of its own; what is there is not run again."""
    stores = {}
    for name, structure in chaos_site.crystals().items():
        stores[name] = open_store(folder / name / "store")
        summary = run_flow(chaos_site.MAKER.make(structure), stores[name], root_dir=folder / name)
        if summary.failed:
            raise SystemExit(f"the quiet run of {name} failed: {summary.failed}")
    return stores


def compare(
    manager: str, profile: Profile, quiet: dict[str, JobStore], say: Callable[[str], None]
) -> list[str]:
    """Return what is wrong with the results in the manager's store: missing, double, damaged, other."""
    with open_queue(manager, profile) as queue:
        jobs, store = queue.find(), queue.store()
        faults = [f"{j.name} is {j.state}" for j in latest(jobs).values() if j.state != "done"]
        faults += doubles(store) + damaged(store, say)
        rows = list(store.query({}, ["uuid", "index", "name", "output", "metadata"]))
        for name, structure in chaos_site.crystals().items():
            material = structure_hash(structure)
            mine = [row for row in rows if about(row).get("material_id") == material]
            faults += missing(name, {row["uuid"] for row in mine if row["output"] is not None})
            faults += other_counts(name, mine, quiet[name])
            faults += other_numbers(name, mine, quiet[name], say)
        say(f"{len(jobs)} jobs, {len(rows)} documents")
    return faults


def about(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (row.get("metadata") or {}).get("phonotune", {})
    return found


def doubles(store: JobStore) -> list[str]:
    """Return jobs that left two documents under one name and index."""
    keys = Counter((row["uuid"], row["index"]) for row in store.query({}, ["uuid", "index"]))
    return [f"{key} is stored {count} times" for key, count in keys.items() if count > 1]


def damaged(store: JobStore, say: Callable[[str], None]) -> list[str]:
    """Return Documents that cannot be read, with blobs whose hash does not hold, or without theirs."""
    faults = []
    documents = 0
    used: set[str] = set()
    for row in store.query({"output": {"$ne": None}}, ["uuid", "name", "output"]):
        used |= set(references(row["output"]))
    found = {row["blob_uuid"] for row in store.additional_stores[BLOB_STORE].query({})}
    faults += [f"blob {blob} is missing" for blob in used - found]
    try:
        for document in ResultStore(store).query():
            documents += 1
            for blob in blobs(document.model_dump()):
                blob.to_bytes()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        faults.append(f"a document cannot be read: {type(error).__name__}: {error}")
    say(f"{documents} Documents read, {len(used)} blobs, {len(found - used)} blobs of no document")
    return faults


def references(content: Any) -> list[str]:
    """Return the ids of all blobs that a stored output refers to."""
    if isinstance(content, dict):
        own = [content["blob_uuid"]] if "blob_uuid" in content else []
        return own + [i for value in content.values() for i in references(value)]
    if isinstance(content, list):
        return [i for value in content for i in references(value)]
    return []


def blobs(content: Any) -> list[Blob]:
    """Return all blobs within nested content."""
    if isinstance(content, Blob):
        return [content]
    if isinstance(content, dict):
        return [blob for value in content.values() for blob in blobs(value)]
    if isinstance(content, list | tuple):
        return [blob for value in content for blob in blobs(value)]
    return []


def missing(name: str, there: set[str]) -> list[str]:
    """Return the jobs of a crystal's flow that left no output."""
    flow = stable_flow(chaos_site.MAKER.make(chaos_site.crystals()[name]))
    return [
        f"{name}: no output of {job.name}" for job, _ in flow.iterflow() if job.uuid not in there
    ]


def other_counts(name: str, rows: list[dict[str, Any]], quiet: JobStore) -> list[str]:
    """Return jobs that the quiet run has more or less often; each output counts."""
    mine = Counter(row["name"] for row in rows if row["output"] is not None)
    wanted = Counter(row["name"] for row in quiet.query({"output": {"$ne": None}}, ["name"]))
    return [
        f"{name}: {key} is there {mine[key]} times, {wanted[key]} in the quiet run"
        for key in sorted(mine | wanted)
        if mine[key] != wanted[key]
    ]


def other_numbers(
    name: str, rows: list[dict[str, Any]], quiet: JobStore, say: Callable[[str], None]
) -> list[str]:
    """Return numbers of the comparison that differ from the quiet run's."""
    kind = "comparison"
    found = [row["output"] for row in rows if (row["output"] or {}).get("kind") == kind]
    (wanted,) = (row["output"] for row in quiet.query({"output.kind": kind}, ["output"]))
    if len(found) != 1:
        return [f"{name}: {len(found)} comparisons"]
    mine, theirs = numbers(found[0]["rows"]), numbers(wanted["rows"])
    if mine.keys() != theirs.keys():
        return [f"{name}: other numbers: {sorted(mine.keys() ^ theirs.keys())}"]
    gaps = {k: abs(mine[k] - theirs[k]) / max(1.0, abs(theirs[k])) for k in mine}
    say(
        f"{name}: {len(gaps)} numbers, largest deviation from the quiet run {max(gaps.values()):.1e}"
    )
    return [f"{name}: {k} is {mine[k]} instead of {theirs[k]}" for k in gaps if gaps[k] > SAME]


def numbers(content: Any, name: str = "") -> dict[str, float]:
    """Return every number within nested content, by its place."""
    if isinstance(content, dict):
        parts = {f"{name}.{key}": value for key, value in content.items() if key != "source"}
    elif isinstance(content, list | tuple):
        parts = {f"{name}[{index}]": value for index, value in enumerate(content)}
    else:
        return {name: content} if isinstance(content, int | float) else {}
    return {key: n for part, value in parts.items() for key, n in numbers(value, part).items()}
