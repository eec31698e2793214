"""``phonotune merge``: a plain MACE model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, check_output_file


def merge(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Model folder written by `finetune`.", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Model to write.", show_default=False),
    ],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Merge foundation and adapter into a plain MACE model, float64.

    MACE's calculator, LAMMPS and torch-sim load it. The file is a pickle, like MACE's own; phonotune
    itself loads it only after `phonotune models trust`.

    Example: phonotune merge nacl -o nacl.model
    """
    with session(as_json=json, debug=debug) as out:
        check_output_file(output)
        from phonotune.models.export import export_model
        from phonotune.models.records import read_model_directory

        record = read_model_directory(folder)
        output.parent.mkdir(parents=True, exist_ok=True)
        files = [str(file) for file in export_model(record, output)]
        out.finish(
            {
                "output": str(output),
                "files": files,
                "model_id": record.model_id,
                "model": record.label,
            },
            f"{', '.join(files)}: {record.label}, model_id {record.model_id[:12]}",
        )
