"""``phonotune store``: what is done to a store itself."""

from __future__ import annotations

from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import (
    AsJson,
    ConfigFile,
    Debug,
    FoundationName,
    Head,
    LabellerName,
    LabelPreset,
    Masses,
    Properties,
    Store,
    Strategies,
    StrategyCommand,
    StructureFiles,
    flowing,
)

app = typer.Typer(no_args_is_help=True, help="The store itself: migrate.")


def migrate(
    structures: StructureFiles,
    config: ConfigFile = None,
    foundation: FoundationName = None,
    head: Head = None,
    labeller: LabellerName = None,
    preset: LabelPreset = None,
    strategy: Strategies = None,
    properties: Properties = None,
    store: Store = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; say what would be found.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find results again that an earlier version of phonotune computed.

    Names of jobs used to hold the versions of all packages; now an upgrade renames none. Give the
    structures and options of the `run` or `submit` whose results these are: what it computed gets the
    names of this version, and the same `run` or `submit` continues from there. Nothing is computed. A
    kill at any moment loses no result; the same command then finishes the renaming.

    Example: phonotune store migrate BaTiO3.cif --labeller vasp --store results
    """
    with session(as_json=json, debug=debug) as out:
        from dataclasses import asdict, replace

        from phonotune.cli.config import read_task
        from phonotune.cli.tables import new_table
        from phonotune.flows.migrate import Migration
        from phonotune.flows.migrate import migrate as migrate_flow
        from phonotune.flows.run import check_foundation
        from phonotune.store import open_store

        # the earlier versions knew neither other masses nor Born charges
        crystals, maker = read_task(
            structures,
            config,
            Masses.natural,
            out,
            foundation=foundation,
            head=head,
            labeller=labeller,
            label_preset=preset,
            strategies=strategy,
            properties=properties,
            born="off",
        )
        maker = replace(maker, foundation=check_foundation(maker.foundation, crystals, maker.head))
        flows = {name: maker.make(crystal) for name, crystal in crystals.items()}
        opened = open_store(store)
        found: dict[str, Migration] = {}
        with out.progress("Looking for results", len(flows)) as shown:
            for name, flow in flows.items():
                shown.advance(len(found), name)
                found[name] = migrate_flow(flow, opened, dry_run=dry_run)
        rows = [
            (name, str(made.renamed), str(made.there), ", ".join(made.missing) or "-")
            for name, made in found.items()
        ]
        columns = ("structure", "would be renamed" if dry_run else "renamed", "found", "missing")
        payload = {
            "dry_run": dry_run,
            "migrated": [{"structure": name} | asdict(made) for name, made in found.items()],
        }
        out.finish(payload, new_table(None, columns, rows, numbers=False))


app.command("migrate", cls=StrategyCommand, help=flowing(migrate))(migrate)
