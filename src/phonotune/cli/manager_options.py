"""Options of the commands that talk to a workflow manager, and the tables they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from phonotune.cli.tables import new_table
from phonotune.flows.managers import MANAGERS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from phonotune.flows.status import StageStatus

_NAMES: Final = " or ".join(MANAGERS)
Manager = Annotated[
    str,
    typer.Option(
        "--manager",
        envvar="PHONOTUNE_MANAGER",
        metavar="NAME",
        help=f"{_NAMES}.",
        show_default=False,
    ),
]
MaybeManager = Annotated[
    str | None,
    typer.Option(
        "--manager",
        metavar="NAME",
        help=f"Examine the workers of {_NAMES} instead of this machine.",
        show_default=False,
    ),
]
ProfileFile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        envvar="PHONOTUNE_PROFILE",
        metavar="FILE",
        help="Which worker takes which role; `phonotune profile init` writes one.",
        show_default=False,
    ),
]
OnlyFormula = Annotated[
    str | None,
    typer.Option(
        "--formula", metavar="F", help="Only this reduced formula, e.g. BaTiO3.", show_default=False
    ),
]
_SHOWN = ("waiting", "ready", "queued", "running", "paused", "done", "failed", "cancelled")


def status_table(rows: Sequence[StageStatus]) -> RenderableType:
    """Return the table of ``status``: one row per stage, one column per state that occurs."""
    states = [state for state in _SHOWN if any(state in row.counts for row in rows)]
    cells = []
    for row in rows:
        counts = [str(row.counts.get(state, "")) for state in states]  # type: ignore[call-overload]
        cells.append((row.material, row.stage, row.worker, *counts))
    return new_table(None, ("material", "stage", "worker", *states), cells, numbers=False)


def status_payload(rows: Sequence[StageStatus]) -> dict[str, Any]:
    """Return what ``status --json`` prints."""
    return {
        "stages": [
            {
                "material": row.material,
                "material_id": row.material_id,
                "stage": row.stage,
                "worker": row.worker,
                "counts": dict(row.counts),
                "errors": row.errors,
            }
            for row in rows
        ]
    }
