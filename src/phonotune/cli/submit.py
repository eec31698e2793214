"""``phonotune submit``: crystals through the whole DAG on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonotune.cli.console import session
from phonotune.cli.manager_options import Manager, ProfileFile
from phonotune.cli.options import (
    AsJson,
    ConfigFile,
    Debug,
    FoundationName,
    LabellerName,
    Properties,
    Strategies,
    StructureFiles,
)
from phonotune.cli.tables import new_table

if TYPE_CHECKING:
    from phonotune.cli.console import Session
    from phonotune.flows.pipeline import PhonotuneMaker
    from phonotune.flows.submit import Submission


def submit(
    structures: StructureFiles,
    manager: Manager,
    profile: ProfileFile = None,
    config: ConfigFile = None,
    foundation: FoundationName = None,
    labeller: LabellerName = None,
    strategy: Strategies = None,
    properties: Properties = None,
    campaign: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A name for all of it, to query it by.", show_default=False
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute everything again, whatever is there.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Hand the whole DAG to FireWorks or jobflow-remote, each job to the worker of its role.

    All crystals are checked before the first one is added. The same command again adds nothing;
    results that are in the store are not computed again, those that were deleted from it are.

    Example: phonotune submit BaTiO3.cif --manager jobflow-remote --profile site/profile.yaml
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.cli.config import build_maker
        from phonotune.data.structures import read_structure

        crystals = {str(path): read_structure(path) for path in structures}
        options = {
            "foundation": foundation,
            "labeller": labeller,
            "strategies": strategy,
            "properties": properties,
        }
        maker = build_maker(config, options)
        submitted = _submit_all(maker, crystals, manager, profile, campaign, force, out)
        _finish(submitted, manager, out)


def _submit_all(
    maker: PhonotuneMaker,
    crystals: dict[str, Any],
    manager: str,
    profile: Path | None,
    campaign: str | None,
    force: bool,
    out: Session,
) -> dict[str, Submission]:
    from dataclasses import replace

    from phonotune.flows import submit as flows
    from phonotune.flows.campaign import about
    from phonotune.flows.routing import read_profile
    from phonotune.flows.run import check_foundation
    from phonotune.schemas.labellers import labeller_warning

    chosen = read_profile(profile)
    maker = replace(maker, foundation=check_foundation(maker.foundation, crystals))
    tags = {} if campaign is None else {"campaign": campaign}
    orders = [
        flows.Order(maker.make(crystal), {**about(crystal), **tags})
        for crystal in crystals.values()
    ]
    if Path(maker.foundation).is_file():
        out.note(f"Note: {maker.foundation} must be there on every worker of a gpu role, too.")
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
    return dict(zip(names, made, strict=True))


def _finish(submitted: dict[str, Submission], manager: str, out: Session) -> None:
    rows = [(name, *_words(s)) for name, s in submitted.items()]
    payload = {
        "manager": manager,
        "submitted": [
            {
                "structure": name,
                "added": s.added,
                "finished": s.finished,
                "states": dict(s.states),
                "ids": list(s.ids),
                "uuids": list(s.uuids),
            }
            for name, s in submitted.items()
        ],
    }
    if any(s.states.get("failed") for s in submitted.values()):
        out.note(
            "Some jobs failed earlier: `phonotune status` shows why, `phonotune retry --failed`."
        )
    columns = ("structure", "added", "already there", "ids")
    out.finish(payload, new_table(None, columns, rows, numbers=False))


def _words(submission: Submission) -> tuple[str, str, str]:
    there = [f"{number} {state}" for state, number in submission.states.items()]
    there += [f"{submission.finished} in the store"] if submission.finished else []
    ids = submission.ids
    shown = ", ".join(ids) if len(ids) < 4 else f"{ids[0]} ... {ids[-1]}"
    return f"{submission.added} jobs", ", ".join(there) or "-", shown or "-"
