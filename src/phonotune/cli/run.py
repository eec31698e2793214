"""``phonotune run``: crystals through the whole DAG on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import (
    AsJson,
    BornChoice,
    ConfigFile,
    Debug,
    FoundationName,
    Head,
    LabellerName,
    LabelPreset,
    Masses,
    MassesOption,
    Properties,
    Store,
    Strategies,
    StructureFiles,
    check_output_folder,
)


def run(
    structures: StructureFiles,
    config: ConfigFile = None,
    foundation: FoundationName = None,
    head: Head = None,
    labeller: LabellerName = None,
    preset: LabelPreset = None,
    strategy: Strategies = None,
    properties: Properties = None,
    born: BornChoice = None,
    store: Store = None,
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for report.html.")
    ] = Path("phonotune-run"),
    masses: MassesOption = Masses.stated,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Sample, label, fine-tune, compute properties and compare, on this machine.

    Results go to the store as they are finished. The same command again does not repeat them.

    Example: phonotune run BaTiO3.cif --foundation mini --labeller teacher --strategy lora
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(out_dir)
        from phonotune.cli.config import read_task
        from phonotune.cli.pipeline import run_pipeline

        crystals, maker = read_task(
            structures,
            config,
            masses,
            out,
            foundation=foundation,
            head=head,
            labeller=labeller,
            label_preset=preset,
            strategies=strategy,
            properties=properties,
            born=born,
        )
        run_pipeline(maker, crystals, store, out_dir, out)
