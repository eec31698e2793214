"""``phonotune models``: foundation models by name, verified by sha256."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Head, flowing
from phonotune.cli.tables import new_table

app = typer.Typer(no_args_is_help=True, help="Foundation models: list, fetch, verify, trust.")


def list_models(json: AsJson = False, debug: Debug = False) -> None:
    """List the foundation models that are known by name."""
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.catalogue import catalogue

        entries = catalogue()
        rows = [(e.name, e.where, str(e.path or "")) for e in entries]
        out.finish(
            {
                "models": [
                    {"name": e.name, "where": e.where, "path": str(e.path or "")} for e in entries
                ]
            },
            new_table(None, ("foundation", "where", "file"), rows, numbers=False),
        )


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name of `phonotune models list`.", show_default=False
        ),
    ],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Download a foundation model into mace-torch's cache, and check that it loads.

    For machines whose compute nodes have no network: run it once on the login node.
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.foundation import find_mace
        from phonotune.models.foundation_weights import read_facts

        record = find_mace(name)
        read_facts(record)
        out.finish(
            record.model_dump(), f"{record.name}: sha256 {record.sha256} is in the cache and loads"
        )


def verify(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE|DIR", help="Foundation model, or model folder.", show_default=False
        ),
    ],
    head: Head = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check that a model has the sha256 on record, and that it loads."""
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.load import load_members
        from phonotune.models.records import find_model

        record = find_model(model, head)
        load_members(record)
        content = record.model_dump(exclude={"adapters"})
        out.finish(
            content,
            f"{record.label}: foundation sha256 {record.foundation.sha256}, model_id "
            f"{record.model_id}",
        )


def trust(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A MACE model file.", show_default=False)
    ],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Allow one model file to be loaded, by its sha256.

    MACE's files are pickles: loading one runs the code in it. Trust only what you made yourself or
    what comes from people you know.
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.foundation import trust_file

        record = trust_file(file)
        out.finish(record.model_dump(), f"{record.name}: sha256 {record.sha256} is trusted now")


for _name, _command in (
    ("list", list_models),
    ("fetch", fetch),
    ("verify", verify),
    ("trust", trust),
):
    app.command(_name, help=flowing(_command))(_command)
