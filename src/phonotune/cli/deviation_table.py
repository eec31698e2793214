"""Every deviation of every model from the reference as one table, one column per model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from phonotune.cli.tables import label, new_table
from phonotune.schemas.kinds import ABSENT, Column, compared_kinds

if TYPE_CHECKING:
    from rich.console import Group

    from phonotune.schemas.comparison import ComparisonDocument


def deviation_table(comparison: ComparisonDocument) -> Group:
    """Return the deviations of all models; a row that nobody has is left out."""
    rows = [
        row
        for kind in compared_kinds().values()
        if kind.comparison is not None
        for column in kind.comparison.columns
        for row in _rows(column, comparison)
    ]
    return new_table(
        f"{comparison.formula}: model minus reference · {comparison.reference.evaluator}",
        ("", *(label(row.source) for row in comparison.rows)),
        [row for row in rows if any(cell != ABSENT for cell in row[1:])],
    )


def _rows(column: Column, comparison: ComparisonDocument) -> Iterator[tuple[str, ...]]:
    """Yield the row of a column; of several numbers by name, those of equal deviations share a row.

    Elastic constants are such numbers: symmetry makes many of them equal.
    """
    values = [column.value(row) for row in comparison.rows]
    named = [value for value in values if isinstance(value, Mapping)]
    if not named:
        yield column.heading, *map(column.number, values)
        return
    grouped: dict[tuple[str, ...], list[str]] = {}
    for name in sorted({name for numbers in named for name in numbers}):
        cells = tuple(column.number(None if v is None else v.get(name)) for v in values)
        grouped.setdefault(cells, []).append(name)
    for cells, equal in grouped.items():
        yield f"{' '.join(equal)}, {column.unit}", *cells
