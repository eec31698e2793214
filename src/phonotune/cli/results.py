"""``phonotune results``: what is in a store."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store
from phonotune.cli.tables import new_table, result_row
from phonotune.errors import ConfigError, StoreError
from phonotune.schemas.kinds import KINDS

if TYPE_CHECKING:
    from phonotune.store import Entry, ResultStore, Wanted

COLUMNS: Final = ("id", "formula", "kind", "by", "result", "material")
SHOWN_DIGITS: Final = 8
_RANGE: Final = re.compile(
    r"(?:(?P<low>[-+.\deE]+)\s*<=?\s*)?(?P<name>[A-Za-z_][\w.]*)\s*"
    r"(?:(?P<sign><=?|>=?|=)\s*(?P<value>[-+.\w]+))?"
)

Formula = Annotated[
    str | None,
    typer.Option(metavar="F", help="Reduced formula, e.g. BaTiO3.", show_default=False),
]
Strategy = Annotated[
    str | None,
    typer.Option(metavar="S", help="Strategy, or reference, or untuned.", show_default=False),
]
Kind = Annotated[
    str | None,
    typer.Option(
        metavar="K",
        help=f"One of {', '.join(KINDS)}.",
        show_default=False,
    ),
]
Material = Annotated[
    str | None,
    typer.Option("--material-id", metavar="ID", help="Hash of the crystal.", show_default=False),
]
ModelId = Annotated[
    str | None,
    typer.Option("--model-id", metavar="ID", help="Model that evaluated.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="DATE", help="Finished on or after this day, e.g. 2026-11-22.", show_default=False
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Finished on or before this day.", show_default=False),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RANGE",
        help="A number's range, both ends included, e.g. 'bulk_modulus>=100', "
        "'50<=depth<=80', 'born_stable=true'; may be repeated.",
        show_default=False,
    ),
]


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def results(
    formula: Formula = None,
    strategy: Strategy = None,
    kind: Kind = None,
    material_id: Material = None,
    model_id: ModelId = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Only the newest N.", show_default=False),
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
    with session(as_json=as_json, debug=debug) as out, open_results(store) as found:
        query: dict[str, Any] = {
            "formula": formula,
            "strategy": strategy,
            "kind": kind,
            "material_id": material_id,
            "model_id": model_id,
            "since": since,
            "until": until,
            "where": parse_ranges(where or []),
        }
        if form is Format.csv and not as_json:
            table = found.to_dataframe(limit=limit, **query)
            out.finish({}, table.to_csv(index=False).rstrip("\n") if len(table) else "")
            return
        entries = list(found.entries(wanted_of(**query), limit))
        if not entries and not as_json:
            out.note("No result matches.")
            return
        payload = {"results": [entry_summary(entry) for entry in entries]}
        rows = [(entry.uuid[:SHOWN_DIGITS], *result_row(entry.document)) for entry in entries]
        out.finish(payload, new_table(None, COLUMNS, rows, numbers=False))


def entry_summary(entry: Entry) -> dict[str, Any]:
    """Return a Document's fields as JSON-able values, with the job that stored it."""
    from phonotune.data.document_files import summary_of

    job = {"uuid": entry.uuid, "index": entry.index, "completed_at": entry.completed_at}
    return job | summary_of(entry.document)


def wanted_of(**query: Any) -> Wanted:
    """Return the query of the options."""
    from phonotune.store import Wanted

    return Wanted(**query)


def parse_ranges(texts: list[str]) -> dict[str, Any]:
    """Return the ranges of ``--where`` by field.

    Raises
    ------
    ConfigError
        A text is no range, or one field has two lower or two upper bounds.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, allowed = _parse_range(text)
        known = found.setdefault(name, allowed)
        if known is allowed:
            continue
        if not (isinstance(known, tuple) and isinstance(allowed, tuple)) or any(
            a is not None and b is not None for a, b in zip(known, allowed, strict=True)
        ):
            raise ConfigError(f"--where {text!r} bounds {name!r} a second time. Give one range.")
        found[name] = tuple(b if a is None else a for a, b in zip(known, allowed, strict=True))
    return found


def _parse_range(text: str) -> tuple[str, Any]:
    match = _RANGE.fullmatch(text.strip())
    if match is None or (match["low"] is None and match["value"] is None):
        raise _no_range(text)
    name, low, sign, value = match["name"], match["low"], match["sign"], match["value"]
    if sign == "=" and value in {"true", "false"} and low is None:
        return name, value == "true"
    try:
        bounds = [None if number is None else float(number) for number in (low, value)]
    except ValueError as error:
        raise _no_range(text) from error
    if low is not None and sign not in {None, "<", "<="}:
        raise _no_range(text)
    if sign == "=":
        return name, (bounds[1], bounds[1])
    return name, (bounds[1], None) if sign in {">", ">="} else tuple(bounds)


def _no_range(text: str) -> ConfigError:
    return ConfigError(
        f"--where takes a range like 'bulk_modulus>=100', '50<=depth<=80' or 'born_stable=true' "
        f"(both ends included); found {text!r}."
    )


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
            f"names another."
        )
    from phonotune.store import ResultStore

    return ResultStore(store)
