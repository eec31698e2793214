"""``phonotune demo``: the whole DAG on one crystal with embedded defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, check_output_folder


def demo(
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for report.html.")
    ] = Path("phonotune-demo"),
    structure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A crystal to use instead of cubic BaTiO3 (only elements that `mini` knows).",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run the whole workflow on cubic BaTiO3: its soft mode and double well, before and after tuning.

    The foundation is `mini`, the reference is `teacher`: toy models that ship with phonotune, not
    for science.
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(out_dir)
        from phonotune.cli.pipeline import run_pipeline
        from phonotune.data.structures import read_structure
        from phonotune.flows.demo import demo_maker, demo_structure

        crystal = demo_structure() if structure is None else read_structure(structure)
        name = crystal.reduced_formula if structure is None else str(structure)
        run_pipeline(demo_maker(), {name: crystal}, None, out_dir, out)
