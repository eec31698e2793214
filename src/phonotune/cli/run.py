"""``phonotune run``: crystals through the whole DAG on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store, check_output_folder


def run(
    structures: Annotated[
        list[Path],
        typer.Argument(
            metavar="STRUCTURE", help="Crystal structures: POSCAR, CIF, ...", show_default=False
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="YAML with fields of PhonotuneMaker; options given here replace them.",
            show_default=False,
        ),
    ] = None,
    foundation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="Foundation model. Default: mace-mp-0b3.", show_default=False
        ),
    ] = None,
    labeller: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who labels frames and is the reference: vasp (default), teacher (a toy), "
            "gfn1-xtb, "
            "emt, chgnet, mace:<foundation>, <module>:<Class>.",
            show_default=False,
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Fine-tuning strategy, one model each; repeatable. Default: lora.",
            show_default=False,
        ),
    ] = None,
    store: Store = None,
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for report.html.")
    ] = Path("phonotune-run"),
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Sample, label, fine-tune, compute properties and compare, on this machine.

    Results go to the store as they finish. The same command again does not repeat them.

    Example: phonotune run BaTiO3.cif --foundation mini --labeller teacher --strategy lora
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(out_dir)
        from phonotune.cli.config import build_maker
        from phonotune.cli.pipeline import run_pipeline
        from phonotune.data.structures import read_structure

        crystals = {str(path): read_structure(path) for path in structures}
        options = {"foundation": foundation, "labeller": labeller, "strategies": strategy}
        run_pipeline(build_maker(config, options), crystals, store, out_dir, out)
