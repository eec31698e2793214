"""What `run`, `demo` and `campaign` share: run the flows, show and write what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phonotune.cli.tables import render
from phonotune.progress import told_to

if TYPE_CHECKING:
    from jobflow import Flow
    from pymatgen.core import Structure

    from phonotune.cli.console import Session
    from phonotune.flows.local import Watcher
    from phonotune.flows.pipeline import PhonotuneMaker
    from phonotune.flows.run import Outcome
    from phonotune.schemas.base import Document

REPORT: Final = "report.html"


def run_pipeline(
    maker: PhonotuneMaker,
    crystals: Mapping[str, Structure],
    store: Path | None,
    folder: Path,
    out: Session,
    flows: Mapping[str, Flow] | None = None,
) -> Outcome:
    """Run one flow per crystal, finish the session with tables and the report's path, return what came out.

    Parameters
    ----------
    maker
        Makes the flows.
    crystals
        Structures by the name they are reported with; all are checked before the first one starts.
    store
        Where results are kept; results already there are not computed again.
    folder
        Gets ``report.html``, and ``jobs`` where jobs write files.
    flows
        The flow of each crystal, checked; None: those of ``maker``.
    """
    from phonotune.flows.migrate import HINT, has_earlier_results
    from phonotune.flows.run import checked_flows, level_notes, run_flows
    from phonotune.schemas.labellers import labeller_warning
    from phonotune.store import open_store

    if flows is None:
        flows = checked_flows(maker, crystals)
    job_store = open_store(store)
    warning = labeller_warning(maker.labeller)
    if warning:
        out.note(f"Note: {warning}")
    for note in level_notes(maker, crystals):
        out.note(f"Note: {note}")
    if has_earlier_results(job_store):
        out.note(f"Note: {HINT}")
    outcome = run_flows(flows, job_store, folder / "jobs", lambda name: shown_jobs(out, name))
    _finish(outcome, folder / REPORT, warning, out)
    return outcome


def write_report(documents: Sequence[Document], path: Path) -> bool:
    """Write the self-contained HTML report of Documents; return False if they hold nothing to show."""
    from phonotune.report.bundle import bundle_documents
    from phonotune.report.html import render_report

    materials = bundle_documents(documents)
    if materials:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_report(materials), encoding="utf-8")
    return bool(materials)


@contextmanager
def shown_jobs(out: Session, name: str) -> Iterator[Watcher]:
    """Show how far the jobs of a crystal are, and which failed."""
    with out.progress(name) as shown, told_to(shown):

        def progress(job: str, event: str, done: int, known: int) -> None:
            shown.advance(done, f"{done} of {known} jobs done, {job}")
            if event == "failed":
                out.note(f"{name}: {job} failed")

        yield progress


def _finish(outcome: Outcome, report: Path, warning: str | None, out: Session) -> None:
    from phonotune.data.document_files import summary_of
    from phonotune.report.tables_headline import comparison_table
    from phonotune.schemas.comparison import ComparisonDocument

    documents = [document for found in outcome.documents.values() for document in found]
    comparisons = [d for d in documents if isinstance(d, ComparisonDocument)]
    shown: list[Any] = [render(comparison_table(comparison)) for comparison in comparisons]
    if warning and comparisons:
        shown.append(f"Reference: {warning}")
    written = write_report(documents, report)
    if written:
        shown.append(f"Report: {report}")
    for job in outcome.failed:
        out.note(f"Failed: {job.material}: {job.name}: {job.error}")
    if outcome.failed:
        out.note("What finished is kept; run the same command again to go on from there.")
    payload = {
        "report": str(report) if written else None,
        "comparisons": [summary_of(comparison) for comparison in comparisons],
        "jobs": {"finished": outcome.finished, "reused": outcome.reused},
        "failed": [{"name": job.name, "error": job.error} for job in outcome.failed],
    }
    out.finish(payload, *shown, exit_code=1 if outcome.failed else 0)
