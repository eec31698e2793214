"""Results that an earlier version of phonotune left in a store, under the names of this version.

The flow is gone through as in a run, but nothing is computed: a job whose results the store holds under its
old name (:mod:`phonotune.flows.names_before`) gets its new name there, and a light job that was replaced by
others plans them again, so that these are found as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Final

from jobflow import Flow, Job, JobStore, run_locally
from maggma.stores import MemoryStore

from phonotune.errors import PhonotuneError
from phonotune.flows.finished import content_of
from phonotune.flows.identity import FORMAT, stable_flow
from phonotune.flows.local import FlowRunner
from phonotune.flows.names_before import OldName, Origin, old_names
from phonotune.store import rename_result

_BEFORE: Final = {"metadata.phonotune.content": {"$gt": "", "$lt": FORMAT}}
"""Rows of an earlier version: a hexadecimal digit comes before the first letter of the format."""
HINT: Final = (
    "This store holds results of an earlier version of phonotune, which this version does not look for; "
    "`phonotune store migrate` with the structures and options of this command finds them again."
)


@dataclass(frozen=True)
class Migration:
    """What was found.

    Attributes
    ----------
    renamed
        Number of stored outputs that got their new name, or would get it.
    there
        Number of jobs whose results now have the names of this version.
    missing
        Names of jobs of which no version left a result; what depends on them was not looked for.
    """

    renamed: int
    there: int
    missing: tuple[str, ...]


def has_earlier_results(store: JobStore) -> bool:
    """Return whether a store holds results under names of an earlier version."""
    return store.docs_store.query_one(_BEFORE, ["uuid"]) is not None


def migrate(flow: Flow, store: JobStore, *, dry_run: bool = False) -> Migration:
    """Rename what an earlier version computed for a flow.

    Killed at any moment it leaves every result whole, under one name or both; the next call ends it.

    Parameters
    ----------
    flow
        As it is to be run.
    store
        An open store.
    dry_run
        Change nothing; say what would be found.
    """
    if dry_run:
        copy = MemoryStore()
        copy.connect()
        rows = [{k: v for k, v in row.items() if k != "_id"} for row in store.docs_store.query({})]
        if rows:
            copy.update(rows, key=["uuid", "index"])
        store = JobStore(copy, additional_stores=store.additional_stores)
    migrator = _Migrator(store, keep_blobs=dry_run)
    with TemporaryDirectory(prefix="phonotune-") as folder:
        flow = migrator.prepare(stable_flow(flow))
        run_locally(flow, log=False, store=store, root_dir=folder, create_folders=True)
    missing = tuple(failed.name for failed in migrator.summary.failed)
    return Migration(migrator.renamed, migrator.summary.reused, missing)


class _Migrator(FlowRunner):
    """Runs only what plans; all other jobs are found or missing."""

    def __init__(self, store: JobStore, *, keep_blobs: bool) -> None:
        super().__init__(store, lambda *_: None)
        self.keep_blobs = keep_blobs
        self.renamed = 0
        rows = store.docs_store.query(_BEFORE, ["output.versions"])
        recorded = {
            tuple(sorted(versions.items()))
            for row in rows
            if isinstance(row.get("output"), dict) and (versions := row["output"].get("versions"))
        }
        self.names: dict[Origin, dict[str, OldName]] = {
            Origin(versions, moved): {} for versions in sorted(recorded) for moved in (True, False)
        }
        """By who made the store, the old names of all jobs met so far."""
        self.old: dict[tuple[str, int], set[OldName]] = {}
        """Old names of a job, by id and index."""

    def prepare(self, flow: Flow) -> Flow:
        """Find out the old names of the jobs of a flow, and wrap them."""
        for origin, names in self.names.items():
            found = old_names(flow, origin, names)
            for job, _ in flow.iterflow():
                self.old.setdefault((job.uuid, job.index), set()).add(found[job.uuid])
            names |= found
        return super().prepare(flow)

    def is_finished(self, job: Job) -> bool:
        """Rename what there is of a job; return whether it has an output.

        Raises
        ------
        PhonotuneError
            There is nothing of it, and it is more than a plan of other jobs.
        """
        for old in self.old.get((job.uuid, job.index), ()):
            criteria = {"uuid": old.uuid, "metadata.phonotune.content": old.content}
            rows: list[dict[str, Any]] = list(self.store.docs_store.query(criteria))
            for row in sorted(rows, key=lambda row: int(row["index"])):
                rename_result(
                    self.store, row, job.uuid, content_of(job), keep_blobs=self.keep_blobs
                )
                self.renamed += 1
        if super().is_finished(job):
            return True
        own = {"uuid": job.uuid, "index": job.index, "output": None}
        planned = self.store.docs_store.query_one(own, ["uuid"]) is not None
        if not planned or job.metadata["phonotune"].get("role") != "light":
            raise PhonotuneError("no earlier version left a result")
        return False
