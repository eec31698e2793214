"""``phonotune born``: Born charges and dielectric tensor of a crystal by a labeller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import (
    AsJson,
    Debug,
    OutputFolder,
    Store,
    StructureFile,
    check_output_folder,
)
from phonotune.cli.tables import render


def born(
    structure: StructureFile,
    output: OutputFolder,
    labeller: Annotated[
        str,
        typer.Option(metavar="NAME", help="Who computes: vasp, by its label protocol."),
    ] = "vasp",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="YAML as for `run`; its fields phonon, vasp and monitoring count.",
            show_default=False,
        ),
    ] = None,
    store: Store = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compute Born charges (e) and dielectric tensor of an insulator; a metal is told by its band gap.

    Two runs of the primitive cell, as it is given: relax the crystal first. Writes born.json and phonopy's
    BORN, which `phonons`, `thermal` and `run` take as --born. The same command again does not repeat them.

    Example: phonotune born POSCAR -o nacl-born
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        from jobflow import Flow

        from phonotune.cli.config import build_maker
        from phonotune.cli.pipeline import shown_jobs
        from phonotune.data.document_files import summary_of
        from phonotune.data.structures import read_structure
        from phonotune.flows.run import check_labeller, run_flows
        from phonotune.jobs.born import BornMaker, BornSettings
        from phonotune.jobs.label import LabelMaker
        from phonotune.report.files import write_born_charges
        from phonotune.report.tables import kind_table
        from phonotune.schemas.born import BornDocument
        from phonotune.schemas.kinds import find_kind
        from phonotune.store import open_store

        crystal = read_structure(structure)
        chosen = build_maker(config, {"labeller": labeller})
        label = LabelMaker(labeller=labeller, vasp=chosen.vasp, monitoring=chosen.monitoring)
        cell = BornSettings(
            primitive_matrix=chosen.phonon.primitive_matrix, symprec=chosen.phonon.symprec
        )
        maker = BornMaker(settings=cell, labeller=label)
        maker.response()
        check_labeller(labeller, [crystal], chosen.vasp)
        outcome = run_flows(
            {str(structure): Flow([maker.make(crystal)])},
            open_store(store),
            output / "jobs",
            lambda name: shown_jobs(out, name),
        )
        for job in outcome.failed:
            out.note(f"Failed: {job.name}: {job.error}")
        found = [document for documents in outcome.documents.values() for document in documents]
        if not found:
            out.note("What finished is kept; run the same command again to go on from there.")
            out.finish(
                {"output": None, "failed": [job.error for job in outcome.failed]}, exit_code=1
            )
            return
        (document,) = found
        assert isinstance(document, BornDocument)
        files = write_born_charges(document, output)
        out.finish(
            {"output": str(output), "files": files, "born": summary_of(document)},
            render(kind_table(find_kind("born"), [document])),
            f"{document.formula}: {document.in_words}",
            f"{output}: {', '.join(files)}",
        )
