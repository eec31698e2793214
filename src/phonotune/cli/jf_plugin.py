"""``jf phonotune``: phonotune's commands for a cluster within jobflow-remote's own command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import typer

from phonotune.cli import doctor, status, submit
from phonotune.cli.options import StrategyCommand, flowing

COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "submit": submit.submit,
    "status": status.status,
    "retry": status.retry,
    "cancel": status.cancel,
    "doctor": doctor.doctor,
}


def setup_jf_plugin() -> None:
    """Add the commands; jobflow-remote calls this when ``jf`` starts."""
    from jobflow_remote.cli.jf import app

    if any(group.name == "phonotune" for group in app.registered_groups):
        return
    group = typer.Typer(
        name="phonotune", help="Commands of phonotune for this project.", no_args_is_help=True
    )
    for name, function in COMMANDS.items():
        group.command(name, cls=StrategyCommand, help=flowing(function))(for_this_manager(function))
    app.add_typer(group)


def for_this_manager(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command without its option ``--manager``, which is jobflow-remote."""
    signature = inspect.signature(function, eval_str=True)
    kept = [p for name, p in signature.parameters.items() if name != "manager"]

    def command(**given: Any) -> None:
        function(manager="jobflow-remote", **given)

    command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in kept}
    return command
