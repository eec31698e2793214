"""``phonotune campaign``: many crystals through the same DAG, and a folder of tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Masses, Store, check_output_folder
from phonotune.cli.tables import new_table
from phonotune.errors import ConfigError, InputError, unknown_name
from phonotune.flows.yaml_file import read_mapping

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.flows.campaign import CampaignMaker

_OWN: Final = ("name", "structures", "masses")
_ADVICE: Final = "Write one like `structures: [crystals/*.cif]`."


def campaign(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.yaml",
            help="YAML with `structures` (files or patterns, relative to it), `name`, `masses` (stated or "
            "natural), and fields of PhonotuneMaker.",
            show_default=False,
        ),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a campaign that wrote to this folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show the plan, start nothing.")
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
        from phonotune.flows.run import level_notes

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
                "labels": maker.maker.select.budget,
                "structures": [dict(zip(columns, row, strict=True)) for row in rows],
            }
            text = (
                f"Nothing was started. Labeller {maker.maker.labeller}, "
                f"{maker.maker.select.budget} labels per crystal beside its reference properties, "
                f"strategies {', '.join(maker.maker.strategies)}."
            )
            out.finish(payload, new_table(None, columns, rows, numbers=False), text)
            return
        from phonotune.cli.pipeline import run_pipeline
        from phonotune.flows.campaign import MATERIALS, write_tables
        from phonotune.store import ResultStore, open_store

        if (folder / MATERIALS).exists() and not resume:
            raise InputError(
                f"{folder} holds a campaign already. Add --resume to continue it, or choose another "
                "folder with --out."
            )
        results = ResultStore(open_store(store))
        write_tables(crystals, {name: [] for name in crystals}, results, folder)
        outcome = run_pipeline(maker.maker, crystals, store, folder, out)
        files = write_tables(crystals, outcome.documents, results, folder)
        out.note(f"Tables: {', '.join(str(file) for file in files)}")


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
    from phonotune.schemas.masses import with_natural_masses

    content = read_mapping(file, "campaign", _ADVICE)
    own = {key: content.pop(key) for key in _OWN if key in content}
    patterns = own.get("structures", [])
    if not isinstance(patterns, list) or not all(isinstance(text, str) for text in patterns):
        raise ConfigError(f"structures in {file} must be a list of files, found {patterns!r}.")
    paths: list[Path] = []
    for text in patterns:
        if not any(character in text for character in "*?["):
            paths.append(file.parent / text)
            continue
        base, pattern = (Path("/"), text[1:]) if text.startswith("/") else (file.parent, text)
        found = sorted(base.glob(pattern))
        if not found:
            raise ConfigError(f"No file matches {text!r} in {file.parent}. Check `structures`.")
        paths += found
    maker = maker_of(content, {}, file)
    masses = str(own.get("masses", Masses.stated))
    if masses not in tuple(Masses):
        raise unknown_name(f"masses in {file}", masses, tuple(Masses))
    crystals = {str(path): read_structure(path) for path in paths}
    if masses == Masses.natural:
        crystals = {name: with_natural_masses(crystal) for name, crystal in crystals.items()}
    check_crystals(crystals)
    return CampaignMaker(str(own.get("name", file.stem)), maker), crystals
