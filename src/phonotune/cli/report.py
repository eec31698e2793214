"""``phonotune report``: one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store, check_output_file
from phonotune.errors import ConfigError, InputError


def report(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="HTML to write.", show_default=False),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="Folder with results of `phonons`, `elastic`, `double-well`, ..., searched with its "
            "subfolders.",
            show_default=False,
        ),
    ] = None,
    store: Store = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a self-contained HTML report of everything in a store, or in a folder.

    Example: phonotune report -o report.html
    """
    with session(as_json=json, debug=debug) as out:
        check_output_file(output)
        if folder is not None and store is not None:
            raise ConfigError("A report shows a folder or a store; give DIR or --store, not both.")
        from phonotune.cli.pipeline import write_report
        from phonotune.cli.results import open_results
        from phonotune.data.document_files import find_documents

        documents = open_results(store).query() if folder is None else find_documents(folder)
        if not write_report(documents, output):
            raise InputError(
                f"There is nothing to report in {len(documents)} documents; `phonotune demo` or "
                "`phonotune run` computes something."
            )
        out.finish(
            {"report": str(output), "documents": len(documents)},
            f"Report of {len(documents)} documents: {output}",
        )
