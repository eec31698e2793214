"""A table of numbers for people: the page and the terminal show the same one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import floor, log10
from typing import TYPE_CHECKING

from phonotune.schemas.columns import ABSENT, Column, value_at
from phonotune.schemas.kinds import KINDS

if TYPE_CHECKING:
    from phonotune.schemas.base import PropertyDocument, Source


@dataclass(frozen=True)
class Cell:
    """One entry: the value, and what is said about it, such as its deviation from the reference."""

    value: str
    note: str = ""
    good: bool = False


@dataclass(frozen=True)
class Row:
    """A quantity with its unit, one Cell per column."""

    name: str
    unit: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Numbers in rows and columns.

    Attributes
    ----------
    heads
        One pair per column: role and name of a Source, or a quantity and its unit.
    rows
        The rows.
    corner
        What the names of the rows are.
    title
        What the table shows; a page has it as the heading of the section.
    caption
        What a reader must know to read the numbers.
    """

    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    corner: str = "Quantity"
    title: str = ""
    caption: str = ""

    @property
    def compares_sources(self) -> bool:
        """Whether the columns are Sources, not quantities."""
        return self.corner == "Quantity"

    def turned(self) -> Table:
        """Return one row per Source and one column per quantity, without notes: narrower in a terminal."""
        rows = [
            Row(" · ".join(head), "", tuple(replace(row.cells[i], note="") for row in self.rows))
            for i, head in enumerate(self.heads)
        ]
        heads = tuple((row.name.replace(" ", "\n"), row.unit) for row in self.rows)
        return replace(self, heads=heads, rows=tuple(rows), corner="", caption="")


def source_label(source: Source) -> str:
    """Return who computed, e.g. ``reference · teacher`` or ``lora · mini``."""
    return f"{source.role} · {source.evaluator}"


def source_heads(documents: Iterable[PropertyDocument]) -> tuple[tuple[str, str], ...]:
    """Return one column head per Document: role and evaluator."""
    return tuple((d.source.role, d.source.evaluator) for d in documents)


def number(value: float | None, decimals: int) -> str:
    """Return a number with fixed decimals, never ``-0.0``, or a dash where there is none."""
    return ABSENT if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def measured(value: float | None, bar: float | None, decimals: int) -> str:
    """Return a number with one standard deviation after a ±, where a committee gives one.

    The deviation has two significant digits and the number as many decimals, four at most.
    """
    if value is None or bar is None:
        return number(value, decimals)
    if bar == 0.0:
        return f"{number(value, decimals)} ± 0"
    decimals = min(4, max(0, 1 - floor(log10(bar))))
    return f"{number(value, decimals)} ± {bar:.{decimals}f}"


def percent(value: float | None) -> str:
    """Return a signed deviation such as ``+3.2 %``, or nothing for None."""
    return "" if value is None else f"{round(value, 1) + 0.0:+.1f} %"


def yes_no(value: bool) -> str:
    """Return an answer in words."""
    return "yes" if value else "no"


def column(
    document: PropertyDocument, path: str, label: str = "", digits: int = 2, exponent: int = 0
) -> Column:
    """Return the headline column of a kind at a path; where there is none, one of these words."""
    headline = KINDS[document.kind]
    owner = headline.document
    return next(
        (found for found in headline.columns if found.path == path),
        Column(path, label, digits, exponent, owner=owner),
    )


def column_cell(shown: Column, document: PropertyDocument, note: str = "") -> Cell:
    """Return a Document's number in a column, with its error bar."""
    value = value_at(document, shown.path)
    bar = None if document.spread is None else document.spread.numbers.get(shown.path)
    return Cell(measured_in(shown, value, bar), note)


def measured_in(shown: Column, value: float | None, bar: float | None) -> str:
    """Return a number and its error bar as a column shows them."""
    scale = 10.0**-shown.exponent
    scaled = None if value is None else scale * value
    return measured(scaled, None if bar is None else scale * bar, shown.digits)


def column_row(
    shown: Column, documents: Sequence[PropertyDocument], notes: Sequence[str] = ()
) -> Row:
    """Return a number of every Document, its error bar with it, and a note on each."""
    said = notes or [""] * len(documents)
    cells = (column_cell(shown, d, note) for d, note in zip(documents, said, strict=True))
    return Row(sentence(shown.label), shown.unit, tuple(cells))


def sentence(words: str) -> str:
    """Return words with a capital letter."""
    return words[:1].upper() + words[1:]


def bars_note(documents: Iterable[PropertyDocument]) -> str:
    """Return what a ± is, where a committee evaluated; else nothing."""
    sizes = sorted({d.spread.n_members for d in documents if d.spread is not None})
    members = ", ".join(map(str, sizes))
    return f" ±: one standard deviation over a committee of {members}." if sizes else ""
