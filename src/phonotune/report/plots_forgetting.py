"""Figure of the forgetting probe: the pairs' repulsive walls before and after tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, SymmetricalLogLocator

from phonotune.report.style import (
    GRID,
    INK,
    MUTED,
    NARROW,
    TEXT,
    Look,
    dress,
    legend_above,
    looks,
    new_figure,
)
from phonotune.report.table import source_label
from phonotune.schemas.base import Source
from phonotune.schemas.forgetting import ForgettingProbe

MAX_PAIRS: Final = 6
"""More pairs than this: those with the deepest holes are drawn."""
LINEAR: Final = 1.0
"""Energies within this, eV, are drawn to a linear scale, others to a logarithmic one."""
_COLUMNS: Final = 2


def plot_hole_scan(
    probes: Sequence[ForgettingProbe], sources: Sequence[Source], width: float = NARROW
) -> Figure:
    """Draw energy (eV, against the atoms apart) against distance (Å), one panel per pair of elements.

    Parameters
    ----------
    probes
        Probes of one material, from one foundation, whose curve is drawn once.
    sources
        The tuned model of each probe.
    width
        Width of the figure, inch.
    """
    arrays = [probe.holes.data.arrays() for probe in probes]
    untuned = Source(role="untuned", evaluator=sources[0].evaluator)
    styles = looks([untuned, *sources])
    worst = np.max([a["depths_after"] for a in arrays], axis=0)
    shown = sorted(int(i) for i in np.argsort(-worst, kind="stable")[:MAX_PAIRS])
    rows = -(-len(shown) // _COLUMNS)
    figure = new_figure(width, 0.5 + 1.45 * rows)
    panels = figure.subplots(rows, min(_COLUMNS, len(shown)), squeeze=False).ravel()
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for place, (axes, pair) in enumerate(zip(panels, shown, strict=False)):
        first = arrays[0]
        _curve(axes, first["distances"][pair], first["energies_before"][pair], styles[0], untuned)
        for content, look, source in zip(arrays, styles[1:], sources, strict=True):
            _curve(axes, content["distances"][pair], content["energies_after"][pair], look, source)
        axes.set_yscale("symlog", linthresh=LINEAR)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10.0, linthresh=LINEAR))
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−"))
        )
        axes.axhline(0.0, color=MUTED, linewidth=0.6, zorder=1)
        axes.grid(axis="y", which="major", color=GRID, linewidth=0.5)
        axes.margins(x=0.02)
        corner = {"transform": axes.transAxes, "ha": "right", "va": "top"}
        axes.text(0.97, 0.93, str(first["pairs"][pair]), fontsize=TEXT, color=INK, **corner)
        below = place + _COLUMNS >= len(shown)
        dress(axes, "Distance (Å)" if below else "", "E (eV)" if place % _COLUMNS == 0 else "")
    legend_above(figure, panels[0], 2)
    return figure


def _curve(axes: Axes, x: np.ndarray, y: np.ndarray, look: Look, source: Source) -> None:
    axes.plot(x, y, label=source_label(source), **look.line)
