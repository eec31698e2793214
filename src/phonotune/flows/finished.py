"""What is finished: the store counts, not what a manager or a run remembers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from jobflow import Job, JobStore

from phonotune.store.blobs import present_blobs, references

_NOTES: Final = ("content", "deleting")


def content_of(job: Job) -> str:
    """Return the content hash that :func:`phonotune.flows.identity.stable_flow` gave a job."""
    content: str = job.metadata["phonotune"]["content"]
    return content


def finished_jobs(
    jobs: Iterable[Job], store: JobStore, ended: Mapping[str, int] | None = None
) -> set[str]:
    """Return the uuids of the jobs whose output is in the store: of this very content, Blobs included.

    A job that went on after the end of a walltime left it under a later index.

    Parameters
    ----------
    jobs
        Jobs of flows that :func:`phonotune.flows.identity.stable_flow` named.
    store
        An open JobStore; asked once for all documents and once for all Blobs.
    ended
        Index under which a manager ended each job that it ended. With it a generator is finished, too,
        when what it became left an output, and a job that ended without an output when its document is
        there. Without it a generator never is: it must run again to say what its children are.
    """
    wanted = {job.uuid: job for job in jobs}
    rows = store.query(
        {"uuid": {"$in": list(wanted)}},
        properties=["uuid", "index", "output", *(f"metadata.phonotune.{key}" for key in _NOTES)],
        sort={"index": 1},
        load=False,
    )
    planned: set[str] = set()
    blobs: dict[str, set[str]] = {}
    for row in rows:
        job, index = wanted[row["uuid"]], int(row["index"])
        notes = (row.get("metadata") or {}).get("phonotune") or {}
        if index < job.index or notes.get("deleting"):
            continue
        is_own = notes.get("content") == content_of(job)
        has_ended = row.get("output") is not None or (ended or {}).get(job.uuid) == index
        if has_ended and (is_own or job.uuid in planned):
            blobs[job.uuid] = {r["blob_uuid"] for r in references(row.get("output"))}
        elif has_ended:
            blobs.pop(job.uuid, None)
        elif is_own and ended is not None:
            planned.add(job.uuid)
    there = present_blobs(store, set().union(*blobs.values()))
    return {uuid for uuid, needed in blobs.items() if needed <= there}
