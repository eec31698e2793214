"""``phonotune benchmark``: models against many phonopy references, with tables and figures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, check_output_folder
from phonotune.cli.tables import new_table
from phonotune.errors import InputError


def benchmark(
    references: Annotated[
        list[Path],
        typer.Argument(
            metavar="REFERENCE",
            help="Calculations of phonopy (yaml, or folder with FORCE_SETS), or folders of `phonons`.",
            show_default=False,
        ),
    ],
    models: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="DIR|NAME|FILE|ase:MODULE:CALLABLE",
            help="A model as in `phonons`; repeatable.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")
    ] = Path("benchmark"),
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compute the phonons of references by models, and compare: tables and figures as of a campaign.

    Each model computes each crystal in the reference's own supercell, with its Born charges if it has
    some. The same command again computes no finished pair again. A reference that cannot be used is
    listed in failed.csv with its reason and stops nothing.

    Example: phonotune benchmark refs/*/phonopy_params.yaml --model mini --model nacl -o benchmark
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        from phonotune.flows.benchmark import run_benchmark
        from phonotune.models.records import find_model
        from phonotune.report.study import STUDY, write_study

        records = {name: find_model(name) for name in models}
        names: dict[str, str] = {}
        for name, record in records.items():
            first = names.setdefault(record.model_id, name)
            if first != name:
                raise InputError(f"{first} and {name} are the same model. Leave one of them out.")
        with out.progress("benchmark") as progress:
            made = run_benchmark(list(dict.fromkeys(references)), records, output, progress)
        output.mkdir(parents=True, exist_ok=True)
        failed = output / "failed.csv"
        failed.unlink(missing_ok=True)
        if made.failures:
            with failed.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["reference", "model", "reason"])
                writer.writerows([f.reference, f.model, f.reason] for f in made.failures)
            out.note(f"{len(made.failures)} failed; {failed} has the reasons.")
        if not made.documents:
            raise InputError(f"No reference could be compared. {made.failures[0].reason}")
        files = write_study(made.documents, output, names)
        rows: list[dict[str, Any]] = [
            {
                "reference": reference,
                "model": names.get(row.source.model_id or "", row.source.evaluator),
                "frequency_mae": row.deviations.frequency_mae,
                "highest_frequency_bias": row.deviations.highest_frequency_bias,
            }
            for reference, documents in made.documents.items()
            for row in documents[-1].rows  # type: ignore[attr-defined]
        ]
        columns = ("reference", "model", "zone MAE, THz", "highest mode, %")
        cells = [
            (
                r["reference"],
                r["model"],
                f"{r['frequency_mae']:.3f}",
                f"{r['highest_frequency_bias']:+.1f}",
            )
            for r in rows
        ]
        payload = {
            "output": str(output),
            "rows": rows,
            "computed": made.computed,
            "found": made.found,
            "failed": [vars(failure) for failure in made.failures],
        }
        words = f"{output / STUDY} and {len(files) - 1} more files: statistics, figures, numbers."
        out.finish(payload, new_table(None, columns, cells), words)
