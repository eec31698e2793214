"""Double wells and elastic constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from phonotune.ports import FloatArray
from phonotune.report.style import (
    GRID,
    MUTED,
    NARROW,
    TEXT,
    dress,
    legend_above,
    looks,
    new_figure,
    source_label,
)
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.wells import WellDocument

_CLASSES: Final = (
    ((0, 0), (1, 1), (2, 2)),
    ((0, 1), (0, 2), (1, 2)),
    ((3, 3), (4, 4), (5, 5)),
)
_SUBSCRIPTS: Final = "₁₂₃₄₅₆"


def plot_well(wells: Sequence[WellDocument], width: float = NARROW) -> Figure:
    """Draw E(Q) of one mode by several Sources: computed points, even polynomial, depth at ±Q0.

    Parameters
    ----------
    wells
        Documents of the same mode, one a Source.
    width
        Width of the figure, inch.
    """
    figure = new_figure(width, 0.68 * width)
    axes = figure.subplots()
    axes.axhline(0.0, color=MUTED, linewidth=0.7, zorder=1)
    for well, look in zip(wells, looks([w.source for w in wells]), strict=True):
        arrays = well.data.arrays()
        reach = float(np.abs(arrays["amplitudes"]).max())
        grid = np.linspace(-reach, reach, 241)
        text = f"{source_label(well.source)}: {_depth_text(well)}"
        axes.plot(grid, well_energy(arrays["coefficients"], grid), label=text, **look.line)
        axes.plot(
            arrays["amplitudes"],
            arrays["energies"],
            linestyle="none",
            marker=look.marker,
            markersize=3.2,
            color=look.color,
            zorder=look.zorder + 1,
        )
        if well.has_double_well:
            for side in (-well.q0, well.q0):
                axes.plot([side, side], [-well.depth, 0.0], color=look.color, lw=0.7, ls=":")
    axes.margins(x=0.02)
    window = well_window(wells)
    if window is not None:
        reach, top = window
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-0.35 * top, top)
    dress(axes, "Q (Å·√amu)", "E − E(Q = 0) (meV/f.u.)")
    legend_above(figure, axes, 1)
    return figure


def well_window(wells: Sequence[WellDocument]) -> tuple[float, float] | None:
    """Return the largest Q and E that are worth drawing, or None where there is no double well.

    The walls of a well rise far above its depth; the window ends at four times the greatest depth.
    """
    top = 4.0 * max(max(well.depth, -lowest_energy(well)) for well in wells)
    if top <= 0.0:
        return None
    reaches = []
    for well in wells:
        arrays = well.data.arrays()
        grid = np.linspace(0.0, float(np.abs(arrays["amplitudes"]).max()), 400)
        inside = well_energy(arrays["coefficients"], grid) <= top
        reaches.append(float(grid[inside].max()))
    return 1.05 * max(reaches), top


def lowest_energy(well: WellDocument) -> float:
    """Return the lowest computed energy, meV/f.u. relative to Q = 0: what the fit must reproduce."""
    return float(well.data.arrays()["energies"].min())


def well_energy(coefficients: FloatArray, amplitudes: FloatArray) -> FloatArray:
    """Return E(Q) = c2 Q^2 + c4 Q^4 + c6 Q^6 in meV/f.u.

    Parameters
    ----------
    coefficients
        shape (n,), from order 2 upwards in steps of 2, as a WellDocument stores them.
    amplitudes
        shape (m,), Å·sqrt(amu).
    """
    orders = 2 * (1 + np.arange(len(coefficients)))
    powers = np.asarray(amplitudes, dtype=np.float64)[:, None] ** orders
    return np.asarray(powers @ coefficients, dtype=np.float64)


def _depth_text(well: WellDocument) -> str:
    if not well.has_double_well:
        return "single well"
    if not well.minimum_in_range:
        return f"at least {well.depth:.3g} meV/f.u. at Q = {well.q0:.3g}"
    return f"{well.depth:.3g} meV/f.u. at Q₀ = {well.q0:.3g}"


def plot_elastic(elastics: Sequence[ElasticDocument], width: float = NARROW) -> Figure:
    """Draw the distinct elastic constants and the Hill moduli of several Sources side by side, GPa."""
    names = distinct_constants(elastics[0])
    ticks = [constant_label(i, j) for i, j in names] + ["B", "G"]
    figure = new_figure(width, 0.68 * width)
    axes = figure.subplots()
    positions = np.arange(len(ticks), dtype=float)
    bar = 0.78 / len(elastics)
    for k, (elastic, look) in enumerate(
        zip(elastics, looks([e.source for e in elastics]), strict=True)
    ):
        tensor = np.asarray(elastic.elastic_tensor)
        heights = [tensor[i, j] for i, j in names] + [elastic.bulk_modulus, elastic.shear_modulus]
        axes.bar(
            positions + (k - 0.5 * (len(elastics) - 1)) * bar,
            heights,
            width=0.88 * bar,
            color=look.color,
            label=source_label(elastic.source),
            zorder=2,
        )
    axes.axhline(0.0, color=MUTED, linewidth=0.7, zorder=3)
    axes.grid(axis="y", color=GRID, linewidth=0.5, zorder=0)
    dress(axes, "", "Modulus (GPa)")
    axes.set_xticks(positions, ticks, fontsize=TEXT if len(ticks) < 12 else TEXT - 2)
    axes.tick_params(axis="x", length=0)
    legend_above(figure, axes, 3)
    return figure


def distinct_constants(elastic: ElasticDocument) -> list[tuple[int, int]]:
    """Return Voigt indices of constants that differ by more than 1 % within their class.

    The classes are C11-C33, C12-C23, C44-C66 and the rest; of the rest only those above 1 % of the
    largest constant.
    """
    tensor = np.asarray(elastic.elastic_tensor)
    scale = 0.01 * float(np.abs(tensor).max())
    chosen: list[tuple[int, int]] = []
    for group in _CLASSES:
        kept: list[tuple[int, int]] = []
        for pair in group:
            if all(abs(tensor[pair] - tensor[other]) > scale for other in kept):
                kept.append(pair)
        chosen += kept
    listed = {pair for group in _CLASSES for pair in group}
    rest = [(i, j) for i in range(6) for j in range(i, 6) if (i, j) not in listed]
    return chosen + [pair for pair in rest if abs(tensor[pair]) > scale]


def constant_label(i: int, j: int) -> str:
    """Return ``C₁₂`` for Voigt indices (0, 1)."""
    return f"C{_SUBSCRIPTS[i]}{_SUBSCRIPTS[j]}"
