"""The command ``phonotune``: assembles the commands; each imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from phonotune.cli import (
    archive,
    benchmark,
    campaign,
    compare,
    dataset,
    demo,
    doctor,
    finetune,
    importing,
    label,
    lineage,
    merge,
    models,
    profile,
    report,
    results,
    run,
    sample,
    show,
    status,
    store,
    submit,
)
from phonotune.cli.console import USAGE_ERROR, print_error
from phonotune.cli.options import StrategyCommand, SupercellCommand, flowing
from phonotune.dotted import load
from phonotune.schemas.kinds import property_kinds

PIPELINE, CLUSTER, PIECES, RESULTS, SETUP = (
    "The whole pipeline",
    "On a cluster",
    "Its pieces, one at a time",
    "Results",
    "Set-up",
)


class PhonotuneGroup(TyperGroup):
    """The commands; with ``--json`` a usage error is one JSON object on stdout as well."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run the command line; exits with 0, 1 (the work failed) or 2 (wrong input)."""
        given = sys.argv[1:] if args is None else list(args)
        if "--json" not in given:
            return super().main(given, *rest, **extra)
        try:
            code = super().main(given, *rest, **(extra | {"standalone_mode": False}))
        except USAGE_ERROR as error:
            message = getattr(error, "format_message", error.__str__)()
            print_error("UsageError", message, as_json=True)
            code = 2
        sys.exit(code or 0)


app = typer.Typer(
    name="phonotune",
    cls=PhonotuneGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("phonotune"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Fine-tune MACE foundation models for phonons: from a crystal to compared phonons.

    Exit codes: 0 done; 1 the work failed; 2 the input or the configuration is wrong.
    """


def property_commands() -> dict[str, Callable[..., None]]:
    """Return the commands that compute a property, by name, from the rows of the kinds."""
    rows = property_kinds().values()
    return {kind.command_name: load(kind.command) for kind in rows if kind.command}


def _add(
    name: str,
    function: Callable[..., None],
    panel: str,
    command: type[TyperCommand] | None = None,
) -> None:
    app.command(name, cls=command, help=flowing(function), rich_help_panel=panel)(function)


_add("demo", demo.demo, PIPELINE)
_add("run", run.run, PIPELINE, StrategyCommand)
_add("campaign", campaign.campaign, PIPELINE)
_add("submit", submit.submit, CLUSTER, StrategyCommand)
_add("status", status.status, CLUSTER)
_add("retry", status.retry, CLUSTER)
_add("cancel", status.cancel, CLUSTER)
app.add_typer(profile.app, name="profile", rich_help_panel=CLUSTER)
_add("sample", sample.sample, PIECES)
_add("label", label.label, PIECES)
_add("import", importing.import_labels, PIECES)
app.add_typer(dataset.app, name="dataset", rich_help_panel=PIECES)
_add("finetune", finetune.finetune, PIECES, StrategyCommand)
_add("merge", merge.merge, PIECES)
for _name, _function in property_commands().items():
    _add(_name, _function, PIECES, SupercellCommand)
_add("compare", compare.compare, RESULTS)
_add("benchmark", benchmark.benchmark, RESULTS)
_add("results", results.results, RESULTS)
_add("show", show.show, RESULTS)
_add("lineage", lineage.lineage, RESULTS)
app.add_typer(archive.app, name="archive", rich_help_panel=RESULTS)
_add("report", report.report, RESULTS)
app.add_typer(store.app, name="store", rich_help_panel=RESULTS)
_add("doctor", doctor.doctor, SETUP)
app.add_typer(models.app, name="models", rich_help_panel=SETUP)


def main() -> None:
    """Entry point of ``phonotune``."""
    app(prog_name="phonotune")
