"""``phonotune submit``: crystals through the whole DAG on a cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.manager_options import Manager, ProfileFile
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
    Strategies,
    StructureFiles,
)
from phonotune.cli.tables import new_table


def submit(
    structures: StructureFiles,
    manager: Manager,
    profile: ProfileFile = None,
    config: ConfigFile = None,
    foundation: FoundationName = None,
    head: Head = None,
    labeller: LabellerName = None,
    preset: LabelPreset = None,
    strategy: Strategies = None,
    properties: Properties = None,
    born: BornChoice = None,
    campaign: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the campaign, by which its results are found.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute everything again, whatever the store holds.")
    ] = False,
    masses: MassesOption = Masses.stated,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Hand the whole workflow to FireWorks or jobflow-remote, each job to the worker of its role.

    All crystals are checked before the first one is added. The same command again adds nothing.
    Results in the store are not computed again; those that were deleted from it are.

    Example: phonotune submit BaTiO3.cif --manager jobflow-remote --profile site/profile.yaml
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.cli.config import read_task
        from phonotune.flows import submit as flows
        from phonotune.flows.campaign import about
        from phonotune.flows.routing import read_profile
        from phonotune.flows.run import check_foundation, level_notes
        from phonotune.schemas.labellers import labeller_warning

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
        chosen = read_profile(profile)
        maker = replace(maker, foundation=check_foundation(maker.foundation, crystals, maker.head))
        for note in level_notes(maker, crystals):
            out.note(f"Note: {note}")
        tags = {} if campaign is None else {"campaign": campaign}
        orders = [
            flows.Order(maker.make(crystal), {**about(crystal), **tags})
            for crystal in crystals.values()
        ]
        if Path(maker.foundation).is_file():
            out.note(f"Note: {maker.foundation} must exist on every worker with a gpu role, too.")
        if warning := labeller_warning(maker.labeller):
            out.note(f"Note: {warning}")
        names = list(crystals)
        with out.progress("Submitting", total=len(orders)) as progress:
            made = flows.submit_all(
                orders,
                manager,
                chosen,
                force=force,
                tell=lambda done: progress.advance(done, names[done]),
                note=lambda text: out.note(f"Note: {text}"),
            )
        if any(s.states.get("failed") for s in made):
            out.note(
                "Some jobs failed earlier: `phonotune status` shows why, and `phonotune retry --failed` "
                "starts them again."
            )
        rows, submitted = [], []
        for name, done in zip(names, made, strict=True):
            there = [f"{number} {state}" for state, number in done.states.items()]
            there += [f"{done.finished} in the store"] if done.finished else []
            ids = ", ".join(done.ids) if len(done.ids) < 4 else f"{done.ids[0]} ... {done.ids[-1]}"
            rows.append((name, f"{done.added} jobs", ", ".join(there) or "-", ids or "-"))
            submitted.append(
                {
                    "structure": name,
                    "added": done.added,
                    "finished": done.finished,
                    "states": dict(done.states),
                    "ids": list(done.ids),
                    "uuids": list(done.uuids),
                }
            )
        columns = ("structure", "added", "already there", "ids")
        table = new_table(None, columns, rows, numbers=False)
        out.finish({"manager": manager, "submitted": submitted}, table)
