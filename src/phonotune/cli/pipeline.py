"""What `run` and `demo` share: check everything, run the flows, show and write what came out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phonotune.cli.tables import comparison_table
from phonotune.errors import ConfigError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.cli.console import Session
    from phonotune.flows.local import FailedJob, Progress
    from phonotune.flows.pipeline import PhonotuneMaker
    from phonotune.jobs.vasp.protocol import LabelProtocol
    from phonotune.schemas.base import Document

REPORT: Final = "report.html"


@dataclass
class Outcome:
    """What came out of the flows of one command."""

    documents: list[Document] = field(default_factory=list)
    failed: list[FailedJob] = field(default_factory=list)
    finished: int = 0
    reused: int = 0


def run_pipeline(
    maker: PhonotuneMaker,
    crystals: Mapping[str, Structure],
    store: Path | None,
    folder: Path,
    out: Session,
) -> None:
    """Run one flow a crystal and finish the session with tables and the report's path.

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
    """
    from phonotune.flows.local import documents_of, run_flow
    from phonotune.schemas.labellers import labeller_warning
    from phonotune.store import open_store

    maker = replace(maker, foundation=check_foundation(maker.foundation, crystals))
    check_labeller(maker.labeller, crystals.values(), maker.vasp)
    flows = {name: maker.make(crystal) for name, crystal in crystals.items()}
    job_store = open_store(store)
    warning = labeller_warning(maker.labeller)
    if warning:
        out.note(f"Note: {warning}")
    jobs = folder / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    outcome = Outcome()
    for name, flow in flows.items():
        with _shown(out, name) as progress:
            summary = run_flow(flow, job_store, progress, root_dir=jobs.resolve())
        outcome.failed += summary.failed
        outcome.finished += summary.finished
        outcome.reused += summary.reused
        outcome.documents += documents_of(flow, job_store)
    _finish(outcome, folder / REPORT, warning, out)


def write_report(documents: Sequence[Document], path: Path) -> bool:
    """Write the self-contained HTML report of Documents; return False if they hold nothing to show."""
    from phonotune.report.bundle import bundle_documents
    from phonotune.report.html import render_report

    materials = bundle_documents(documents)
    if materials:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_report(materials), encoding="utf-8")
    return bool(materials)


def check_labeller(labeller: str, crystals: Iterable[Structure], protocol: LabelProtocol) -> None:
    """Refuse VASP where its program or a POTCAR of the crystals is missing; nothing has started yet."""
    from phonotune.cli.doctor import check_potcars, check_vasp

    if labeller == "vasp":
        missing = [f.text for f in (check_vasp(), check_potcars()) if f.state != "ok"]
        if missing:
            raise ConfigError(
                f"Labeller 'vasp' cannot run here: {'; '.join(missing)}. Set what is missing (`phonotune "
                "doctor` shows it) or choose another labeller with --labeller."
            )
        elements = {element.symbol for crystal in crystals for element in crystal.elements}
        protocol.check_potcars(sorted(elements))


def check_foundation(foundation: str, crystals: Mapping[str, Structure]) -> str:
    """Return the foundation's name or absolute path; raise where an element is unknown to it."""
    from phonotune.models.foundation import find_foundation, foundation_elements
    from phonotune.physics.supercell import check_structure

    elements = foundation_elements(find_foundation(foundation))
    for crystal in crystals.values():
        check_structure(crystal, elements, foundation)
    return str(Path(foundation).resolve()) if Path(foundation).is_file() else foundation


@contextmanager
def _shown(out: Session, name: str) -> Iterator[Progress]:
    with out.progress(name) as shown:

        def progress(job: str, event: str, done: int, known: int) -> None:
            shown.advance(done, f"{done} of {known} jobs done, {job}")
            if event == "failed":
                out.note(f"{name}: {job} failed")

        yield progress


def _finish(outcome: Outcome, report: Path, warning: str | None, out: Session) -> None:
    from phonotune.data.document_files import summary_of
    from phonotune.schemas.comparison import ComparisonDocument

    comparisons = [d for d in outcome.documents if isinstance(d, ComparisonDocument)]
    shown: list[Any] = [comparison_table(comparison) for comparison in comparisons]
    if warning and comparisons:
        shown.append(f"Reference: {warning}")
    written = write_report(outcome.documents, report)
    if written:
        shown.append(f"Report: {report}")
    for job in outcome.failed:
        out.note(f"Failed: {job.name}: {job.error}")
    if outcome.failed:
        out.note("What finished is kept; run the same command again to go on from there.")
    payload = {
        "report": str(report) if written else None,
        "comparisons": [summary_of(comparison) for comparison in comparisons],
        "jobs": {"finished": outcome.finished, "reused": outcome.reused},
        "failed": [{"name": job.name, "error": job.error} for job in outcome.failed],
    }
    out.finish(payload, *shown, exit_code=1 if outcome.failed else 0)
