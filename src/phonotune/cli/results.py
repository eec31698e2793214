"""``phonotune results``: what is in a store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.documents import summary_of
from phonotune.cli.options import AsJson, Debug, Store
from phonotune.cli.tables import new_table, result_row
from phonotune.errors import StoreError

if TYPE_CHECKING:
    from phonotune.store import ResultStore

COLUMNS = ("formula", "kind", "by", "result", "material")


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def results(
    formula: Annotated[
        str | None,
        typer.Option(metavar="F", help="Reduced formula, e.g. BaTiO3.", show_default=False),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(metavar="S", help="Strategy, or reference, or untuned.", show_default=False),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="K",
            help="structures, trajectories, labels, dataset, training, phonon, elastic, well, "
            "comparison.",
            show_default=False,
        ),
    ] = None,
    store: Store = None,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List results in a store, oldest first.

    The table shows the headline of each; csv and json hold every number.

    Example: phonotune results --formula BaTiO3 --kind phonon --format csv > phonons.csv
    """
    as_json = json or form is Format.json
    with session(as_json=as_json, debug=debug) as out:
        found = open_results(store)
        documents = found.query(formula=formula, strategy=strategy, kind=kind)
        shown = (
            found.to_dataframe(documents).to_csv(index=False).rstrip("\n")
            if form is Format.csv
            else new_table(
                None, COLUMNS, [result_row(document) for document in documents], numbers=False
            )
        )
        if not documents and not as_json:
            out.note("No result matches.")
            return
        out.finish({"results": [summary_of(document) for document in documents]}, shown)


def open_results(store: Path | None) -> ResultStore:
    """Open a store that exists.

    Raises
    ------
    StoreError
        There is none; opening it would make an empty one.
    """
    import os

    from phonotune.settings import get_settings

    chosen = store if store is not None else get_settings().store
    if chosen is None and not os.environ.get("JOBFLOW_CONFIG_FILE"):
        chosen = get_settings().store_path
    if chosen is not None and not chosen.expanduser().exists():
        raise StoreError(
            f"There is no store {chosen}; `phonotune demo` or `phonotune run` makes one, --store "
            f"names "
            "another."
        )
    from phonotune.store import ResultStore

    return ResultStore(store)
