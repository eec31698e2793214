"""``phonotune campaign``: many crystals through the same DAG, and a folder of tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store, check_output_folder
from phonotune.cli.tables import new_table
from phonotune.errors import ConfigError, InputError
from phonotune.flows.yaml_file import read_mapping

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.cli.console import Session
    from phonotune.flows.campaign import CampaignMaker

_OWN: Final = ("name", "structures")
_ADVICE: Final = "Write one like `structures: [crystals/*.cif]`."


def campaign(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.yaml",
            help="`structures` (files or patterns, from the file's folder), `name`, and fields of "
            "PhonotuneMaker.",
            show_default=False,
        ),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a campaign that wrote to this folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show the plan, start nothing.")
    ] = False,
    store: Store = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder to write. Default: its name.", show_default=False
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run the whole DAG for many crystals on this machine; write tables and a report.

    Finished work is never repeated, so --resume starts where an interrupted campaign stopped. A
    crystal that fails does not stop the others.

    Example: phonotune campaign halides.yaml --out halides
    """
    with session(as_json=json, debug=debug) as out:
        maker, crystals = read_campaign(file)
        folder = out_dir if out_dir is not None else Path(maker.name)
        check_output_folder(folder)
        if dry_run:
            _show_plan(maker, crystals, out)
            return
        from phonotune.flows.campaign import MATERIALS

        if (folder / MATERIALS).exists() and not resume:
            raise InputError(
                f"{folder} holds a campaign already. Add --resume to go on with it, or choose another "
                "folder with --out."
            )
        _run(maker, crystals, store, folder, out)


def read_campaign(file: Path) -> tuple[CampaignMaker, dict[str, Structure]]:
    """Read a campaign's file; return its Maker and the crystals by file name.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds an unknown key or a wrong value.
    StructureError
        No crystal, one that cannot be read, or the same one twice.
    """
    from phonotune.cli.config import maker_of
    from phonotune.data.structures import read_structure
    from phonotune.flows.campaign import CampaignMaker, check_crystals

    content = read_mapping(file, "campaign", _ADVICE)
    own = {key: content.pop(key) for key in _OWN if key in content}
    patterns = own.get("structures", [])
    if not isinstance(patterns, list) or not all(isinstance(text, str) for text in patterns):
        raise ConfigError(f"structures in {file} must be a list of files, found {patterns!r}.")
    paths = [path for text in patterns for path in _files(text, file.parent)]
    maker = maker_of(content, {}, file)
    crystals = {str(path): read_structure(path) for path in paths}
    check_crystals(crystals)
    return CampaignMaker(str(own.get("name", file.stem)), maker), crystals


def _files(text: str, folder: Path) -> list[Path]:
    """Return the files of a name or pattern, in order; a name that is no pattern is kept as it is."""
    if not any(character in text for character in "*?["):
        return [folder / text]
    base, pattern = (Path("/"), text[1:]) if text.startswith("/") else (folder, text)
    found = sorted(base.glob(pattern))
    if not found:
        raise ConfigError(f"No file matches {text!r} in {folder}. Check `structures`.")
    return found


def _show_plan(maker: CampaignMaker, crystals: dict[str, Structure], out: Session) -> None:
    flows = maker.flows(crystals)
    rows = [
        (name, crystal.reduced_formula, str(len(crystal)), str(len(list(flows[name].iterflow()))))
        for name, crystal in crystals.items()
    ]
    columns = ("structure", "formula", "atoms", "jobs at the start")
    payload = {
        "campaign": maker.name,
        "strategies": list(maker.maker.strategies),
        "labels": maker.maker.select.budget,
        "structures": [dict(zip(columns, row, strict=True)) for row in rows],
    }
    text = (
        f"Nothing was started. Labeller {maker.maker.labeller}, {maker.maker.select.budget} labels a "
        f"crystal beside its reference properties, strategies {', '.join(maker.maker.strategies)}."
    )
    out.finish(payload, new_table(None, columns, rows, numbers=False), text)


def _run(
    maker: CampaignMaker,
    crystals: dict[str, Structure],
    store: Path | None,
    folder: Path,
    out: Session,
) -> None:
    from phonotune.cli.pipeline import run_pipeline
    from phonotune.flows.campaign import write_tables
    from phonotune.store import ResultStore, open_store

    results = ResultStore(open_store(store))
    write_tables(crystals, {name: [] for name in crystals}, results, folder)
    outcome = run_pipeline(maker.maker, crystals, store, folder, out)
    files = write_tables(crystals, outcome.documents, results, folder)
    out.note(f"Tables: {', '.join(str(file) for file in files)}")
