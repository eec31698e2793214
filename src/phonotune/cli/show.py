"""``phonotune show``: one result, for people."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store
from phonotune.cli.results import entry_summary, open_results
from phonotune.cli.tables import new_table, render

if TYPE_CHECKING:
    from rich.console import Group

    from phonotune.store import Entry

_LONGEST: Final = 160

Identifier = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="uuid of a result, model_id or dataset_hash, or its first digits (four or more); "
        "`results` lists them.",
        show_default=False,
    ),
]


def show(
    identifier: Identifier, store: Store = None, json: AsJson = False, debug: Debug = False
) -> None:
    """Show one result of a store: every field, the settings and versions behind it.

    Example: phonotune show 1f0c9d57
    """
    with session(as_json=json, debug=debug) as out, open_results(store) as results:
        entry = results.find(identifier)
        out.finish(entry_summary(entry) | {"job": entry.name}, *entry_tables(entry))


def entry_tables(entry: Entry) -> list[Group]:
    """Return the table of a result's kind, where it has one, and that of all its fields."""
    from phonotune.dotted import load
    from phonotune.schemas.kinds import kind_of
    from phonotune.store.documents import units_of

    document = entry.document
    table = kind_of(document).table
    title = f"{document.kind} {entry.uuid} ({entry.name}, {entry.completed_at[:19]})"
    units = units_of(document.kind)
    rows = [(name, text, units.get(name, "")) for name, text in _lines(entry_summary(entry))]
    fields = new_table(title, ("field", "value", "unit"), rows, numbers=False)
    return [render(load(table)(document)), fields] if table else [fields]


def _lines(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return a line for every field; a list is one line, cut if it is long."""
    lines: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, dict) and value and not key.startswith("unitcell"):
            lines += _lines(value, f"{prefix}{key}.")
            continue
        text = value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)
        lines.append((prefix + key, text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"))
    return lines
