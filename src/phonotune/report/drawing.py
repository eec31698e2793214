"""What a page is made of: captioned drawings and sections."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from phonotune.report.svg import figure_svg
from phonotune.report.table import Table


@dataclass(frozen=True)
class Drawing:
    """A figure on the page.

    Attributes
    ----------
    id
        Element id, unique in the page.
    name
        What it shows, in one word: bands, thermal, well, ...
    title, caption
        The text below it.
    svg
        The ``<svg>`` for a wide page, or for every page; :func:`figure_svg` has escaped its text.
    narrow
        The drawings that replace it on a phone; empty where one fits both.
    """

    id: str
    name: str
    title: str
    caption: str
    svg: Markup
    narrow: tuple[Markup, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of a material's report: figures, perhaps a table."""

    id: str
    title: str
    figures: tuple[Drawing, ...]
    table: Table | None = None


def draw(prefix: str, name: str, title: str, caption: str, figures: tuple[Figure, ...]) -> Drawing:
    """Return figures as one Drawing: the first for a wide page, the others instead on a phone.

    Parameters
    ----------
    prefix
        Start of every id, unique in the page.
    name
        What it shows, in one word, unique for the material.
    title, caption
        The text below it.
    figures
        One that fits both, or a wide one and those that replace it.
    """
    marked = f"{prefix}-fig-{name}"
    label = f"{title} {caption}"
    svgs = [Markup(figure_svg(f, f"{marked}-{i}", label)) for i, f in enumerate(figures)]
    return Drawing(marked, name, title, caption, svgs[0], tuple(svgs[1:]))
