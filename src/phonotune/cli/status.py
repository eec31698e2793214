"""``phonotune status``, ``retry`` and ``cancel``: jobs that were submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.manager_options import (
    Manager,
    OnlyFormula,
    ProfileFile,
    status_payload,
    status_table,
)
from phonotune.cli.options import AsJson, Debug
from phonotune.errors import ConfigError

if TYPE_CHECKING:
    from phonotune.cli.console import Session
    from phonotune.flows.status import Change


def status(
    manager: Manager,
    profile: ProfileFile = None,
    formula: OnlyFormula = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show submitted jobs per material and stage, and why jobs failed.

    Example: phonotune status --manager fireworks --formula BaTiO3
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.flows import status as flows

        rows = flows.status(manager, profile, formula)
        if not rows:
            out.note("There are no jobs of phonotune in this queue.")
        errors = [f"Failed: {error}" for row in rows for error in row.errors]
        out.finish(status_payload(rows), *([status_table(rows)] if rows else []), *errors)


def retry(
    manager: Manager,
    profile: ProfileFile = None,
    formula: OnlyFormula = None,
    failed: Annotated[bool, typer.Option("--failed", help="Take every job that failed.")] = False,
    lost_after: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="FireWorks: also take jobs whose worker has given no sign of life for this many seconds.",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make failed jobs ready again; a training continues from its checkpoint.

    Example: phonotune retry --failed --manager jobflow-remote
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.flows.status import retry_failed

        if not failed:
            raise ConfigError(
                "Nothing was chosen to try again. Add --failed for every failed job (--formula for "
                "those of one material)."
            )
        _finish(retry_failed(manager, profile, formula, lost_after), "ready again", out)


def cancel(
    manager: Manager,
    profile: ProfileFile = None,
    formula: OnlyFormula = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Cancel every material; needed without --formula.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Stop what is not finished; results stay, and the same submission continues from them.

    Example: phonotune cancel --manager fireworks --formula BaTiO3
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.flows import status as flows

        if (formula is None) != everything:
            raise ConfigError(
                "Say what to cancel: --formula F for one material, or --all. Not both."
            )
        _finish(flows.cancel(manager, profile, formula), "cancelled", out)


def _finish(change: Change, done: str, out: Session) -> None:
    lines = [f"{len(change.done)} jobs {done}."]
    lines += [f"Job {job} was left as it is: {reason}" for job, reason in change.refused.items()]
    payload = {"manager": change.manager, "done": change.done, "refused": change.refused}
    out.finish(payload, *lines, exit_code=1 if change.refused else 0)
