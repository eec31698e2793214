"""``phonotune campaign``: many crystals through the same DAG, and a folder of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.campaign_file import read_campaign
from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store, check_output_folder
from phonotune.cli.tables import new_table
from phonotune.errors import InputError


def campaign(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.yaml",
            help="YAML with `structures` (files or patterns, relative to it, prototypes, space groups), "
            "`name`, `masses` (stated or natural), and fields of PhonotuneMaker.",
            show_default=False,
        ),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a campaign that wrote to this folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show the plan, start nothing.")
    ] = False,
    tables: Annotated[
        bool,
        typer.Option(
            "--tables", help="Write tables and report of what the store holds; start nothing."
        ),
    ] = False,
    store: Store = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder to write. Default: the campaign's name.",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run the whole workflow for many crystals on this machine; write tables and a report.

    Finished work is never repeated, so --resume starts where an interrupted campaign stopped. A
    crystal that fails does not stop the others.

    Example: phonotune campaign halides.yaml --out halides
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.flows.run import checked_campaign, level_notes

        maker, crystals = read_campaign(file)
        folder = out_dir if out_dir is not None else Path(maker.name)
        check_output_folder(folder)
        if dry_run:
            flows = maker.flows(crystals)
            for note in level_notes(maker.maker, crystals):
                out.note(f"Note: {note}")
            columns = ("structure", "formula", "atoms", "jobs at the start")
            rows = []
            for name, crystal in crystals.items():
                jobs = len(list(flows[name].iterflow()))
                rows.append((name, crystal.reduced_formula, str(len(crystal)), str(jobs)))
            payload = {
                "campaign": maker.name,
                "strategies": list(maker.maker.strategies),
                "labels": maker.sampler().select.budget,
                "trainings": len(maker.trainings()),
                "structures": [dict(zip(columns, row, strict=True)) for row in rows],
            }
            text = (
                f"Nothing was started. Labeller {maker.maker.labeller}, "
                f"{maker.sampler().select.budget} labels per crystal beside its reference properties, "
                f"{len(maker.trainings())} trainings per crystal by the strategies "
                f"{', '.join(maker.maker.strategies)}."
            )
            out.finish(payload, new_table(None, columns, rows, numbers=False), text)
            return
        from phonotune.cli.pipeline import run_pipeline
        from phonotune.flows.campaign import MATERIALS, write_tables
        from phonotune.store import ResultStore, open_store

        if tables:
            from phonotune.cli.pipeline import REPORT, write_report
            from phonotune.flows.identity import stable_flow
            from phonotune.flows.local import documents_of

            job_store = open_store(store)
            named = {name: stable_flow(flow) for name, flow in maker.flows(crystals).items()}
            found = {n: documents_of(flow.job_uuids, job_store) for n, flow in named.items()}
            written = write_tables(crystals, found, ResultStore(job_store), folder)
            documents = [document for of_one in found.values() for document in of_one]
            if write_report(documents, folder / REPORT):
                written.append(folder / REPORT)
            names = [str(file) for file in written]
            text = f"{len(documents)} documents. Written: {', '.join(names)}"
            out.finish({"documents": len(documents), "files": names}, text)
            return
        if (folder / MATERIALS).exists() and not resume:
            raise InputError(
                f"{folder} holds a campaign already. Add --resume to continue it, or choose another "
                "folder with --out."
            )
        flows = checked_campaign(maker, crystals)
        results = ResultStore(open_store(store))
        write_tables(crystals, {name: [] for name in crystals}, results, folder)
        outcome = run_pipeline(maker.maker, crystals, store, folder, out, flows)
        files = write_tables(crystals, outcome.documents, results, folder)
        out.note(f"Tables: {', '.join(str(file) for file in files)}")
