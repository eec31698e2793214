"""Documents as tables for people: field's terms, units in the heading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from phonotune.report.table import number, source_label
from phonotune.schemas.columns import ABSENT
from phonotune.schemas.kinds import kind_of

if TYPE_CHECKING:
    from phonotune.report.table import Cell
    from phonotune.report.table import Table as NumbersTable
    from phonotune.schemas.base import Document
    from phonotune.schemas.statistics import DatasetStatistics


def new_table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    caption: str | None = None,
    numbers: bool = True,
) -> Group:
    """Return a table with its title and caption; with ``numbers`` only the first column is text."""
    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if numbers and index else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) if isinstance(cell, str) else cell for cell in row))
    above = [] if title is None else [Text(title, style="bold")]
    below = [] if caption is None else [Text(caption)]
    return Group(*above, table, *below)


def render(table: NumbersTable) -> Group:
    """Return a table of numbers as the terminal shows it: units below the heads, notes in brackets."""
    between = " · " if table.compares_sources else "\n"

    def text(cell: Cell) -> Text:
        note = f" ({cell.note})" if cell.note else ""
        return Text(f"{cell.value}{note}", style="bold" if cell.good else "")

    return new_table(
        table.title or None,
        [table.corner, *(between.join(filter(None, head)) for head in table.heads)],
        [
            [f"{row.name}, {row.unit}" if row.unit else row.name, *map(text, row.cells)]
            for row in table.rows
        ],
        caption=table.caption or None,
    )


def result_row(document: Document) -> tuple[str, ...]:
    """Return formula, kind, who computed, headline and material of any document."""
    source = getattr(document, "source", None)
    model = getattr(document, "model", None)
    by = source_label(source) if source is not None else getattr(model, "label", "")
    material = getattr(document, "material_id", "")
    return (
        getattr(document, "formula", ""),
        document.kind,
        by,
        kind_of(document).words(document),
        material,
    )


def dataset_table(
    title: str,
    statistics: DatasetStatistics,
    n_duplicates: int,
    groups: Sequence[tuple[str, int]],
) -> Group:
    """Return what a dataset holds, one fact per line; ``groups`` are those to show, with their frames."""
    s = statistics
    atoms = str(s.smallest) if s.smallest == s.largest else f"{s.smallest} to {s.largest}"
    labels = (
        f"{s.with_energy} energy, {s.with_forces} forces, {s.with_stress} stress, "
        f"{s.with_magmoms} magnetic moments"
    )
    hidden = s.n_groups - len(groups)
    rows = [
        ("frames", str(s.n_frames)),
        ("atoms per frame", atoms),
        ("frames by composition", _counts(s.compositions.items())),
        ("frames by labeller and protocol", _counts(s.protocols.items())),
        (
            f"frames by group ({s.n_groups})",
            _counts(groups) + (f" and {hidden} more" if hidden else ""),
        ),
        ("labels", labels),
        ("energy, eV/atom", _range(s.energy_lowest, s.energy_highest, 4)),
        ("force component, rms, eV/Å", number(s.force_rms, 4)),
        ("largest force on an atom, eV/Å", number(s.force_largest, 4)),
        ("pressure, GPa", _range(s.pressure_lowest, s.pressure_highest, 2)),
        ("duplicates", str(n_duplicates)),
    ]
    return new_table(title, ("", ""), rows, numbers=False)


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in pairs) or ABSENT


def _range(lowest: float | None, highest: float | None, digits: int) -> str:
    if lowest is None or highest is None:
        return ABSENT
    return f"{number(lowest, digits)} to {number(highest, digits)}"
