"""Thermal expansion, heat capacity, bulk modulus, mode Grüneisen parameters, thermal conductivity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from phonotune.physics.committee_spread import spread_arrays
from phonotune.ports import FloatArray
from phonotune.report.error_bars import shade
from phonotune.report.plots_phonon import broken_lines, dress_path
from phonotune.report.style import (
    GRID,
    MUTED,
    NARROW,
    WIDE,
    Look,
    dress,
    legend_above,
    looks,
    new_figure,
)
from phonotune.report.table import source_label
from phonotune.schemas.sscha import SSCHADocument
from phonotune.schemas.thermal import ConductivityDocument, QuasiHarmonicDocument

_PER_MEGAKELVIN: Final = 1e6
_CURVES: Final = (
    ("thermal_expansions", "Volume expansion α (10⁻⁶/K)", _PER_MEGAKELVIN),
    ("heat_capacities_pressure", "C\u209a, dotted C\u1d65 (J/K/mol)", 1.0),
    ("bulk_moduli", "Bulk modulus (GPa)", 1.0),
)
_TAIL: Final = 1.0
"""Percent of the mode Grüneisen parameters that the axis leaves out at each end."""


def plot_quasi_harmonic(documents: Sequence[QuasiHarmonicDocument], width: float = WIDE) -> Figure:
    """Draw α, C_p and B against T, and the Grüneisen parameter of each mode, by several Sources.

    The dotted line beside C_p is C_v at the same volume; both are per mole of formula units. Curves
    end where the volume leaves the planned range. Panels are stacked where narrow.

    Parameters
    ----------
    documents
        Documents of one crystal, the one drawn lowest first.
    width
        Width of the figure, inch.
    """
    across = width > 1.5 * NARROW
    figure = new_figure(width, 0.6 * width if across else 2.6 * width)
    panels = figure.subplots(2 if across else 4, 2 if across else 1, squeeze=False).ravel()
    for document, look in zip(documents, looks([d.source for d in documents]), strict=True):
        arrays = document.data.arrays()
        for axes, (name, _, scale) in zip(panels, _CURVES, strict=False):
            axes.plot(
                arrays["temperatures"],
                scale * arrays[name],
                label=source_label(document.source),
                **look.line,
            )
        _draw_constant_volume(panels[1], arrays, look)
        _draw_modes(panels[3], arrays, look)
    for axes, (_, label, _) in zip(panels, _CURVES, strict=False):
        axes.margins(x=0)
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        dress(axes, "T (K)", label)
    panels[1].set_ylim(bottom=0.0)
    _frame_modes(panels[3], documents)
    legend_above(figure, panels[0], 6 if across else 2)
    return figure


def _draw_constant_volume(axes: Axes, arrays: dict[str, FloatArray], look: Look) -> None:
    axes.plot(
        arrays["temperatures"],
        arrays["heat_capacities"],
        color=look.color,
        linewidth=0.9,
        linestyle=":",
        zorder=look.zorder,
    )


def _draw_modes(axes: Axes, arrays: dict[str, FloatArray], look: Look) -> None:
    nu, gamma = counted_modes(arrays)
    axes.plot(
        nu,
        gamma,
        linestyle="none",
        marker=look.marker,
        markersize=2.4,
        markeredgewidth=0,
        alpha=0.7,
        color=look.color,
        zorder=look.zorder,
    )


def _frame_modes(axes: Axes, documents: Sequence[QuasiHarmonicDocument]) -> None:
    ranges = [
        np.percentile(counted_modes(d.data.arrays())[1], (_TAIL, 100 - _TAIL)) for d in documents
    ]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    margin = 0.12 * (high - low) + 0.1
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(left=0.0)
    axes.axhline(0.0, color=MUTED, linewidth=0.7, zorder=1)
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    dress(axes, "Frequency (THz)", "Mode Grüneisen parameter γ")


def counted_modes(arrays: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return frequency (THz) and Grüneisen parameter of the modes that are not left out.

    Parameters
    ----------
    arrays
        Those of a QuasiHarmonicDocument.
    """
    kept = arrays["mode_gruneisen"] != 0.0
    return arrays["mesh_frequencies"][kept], arrays["mode_gruneisen"][kept]


def plot_conductivity(documents: Sequence[ConductivityDocument], width: float = NARROW) -> Figure:
    """Draw the mean lattice thermal conductivity against T, both logarithmic, by several Sources.

    A committee is shaded by one standard deviation.

    Parameters
    ----------
    documents
        Documents of one crystal, the one drawn lowest first.
    width
        Width of the figure, inch.
    """
    figure = new_figure(width, 0.75 * width)
    axes = figure.subplots()
    for document, look in zip(documents, looks([d.source for d in documents]), strict=True):
        arrays = document.data.arrays()
        mean = arrays["conductivity"][:, :3].mean(axis=1)
        t = arrays["temperatures"]
        axes.plot(t, mean, label=source_label(document.source), **look.line)
        bars = spread_arrays(document).get("conductivity")
        shade(axes, t, mean, None if bars is None else bars[:, :3].mean(axis=1), look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())
    axes.margins(x=0)
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    dress(axes, "T (K)", "Thermal conductivity (W/m/K)")
    legend_above(figure, axes, 2)
    return figure


def plot_temperatures(document: SSCHADocument, width: float = NARROW) -> Figure:
    """Draw the bands at every temperature, THz, from blue to red; dotted: harmonic ones.

    Parameters
    ----------
    document
        Phonons at temperatures.
    width
        Width of the figure, inch.
    """
    arrays = document.data.arrays()
    figure = new_figure(width, min(0.72 * width, 4.4))
    axes = figure.subplots()
    shades = colormaps["coolwarm"](np.linspace(0.0, 1.0, len(document.points)))
    drawn = [("harmonic", arrays["harmonic_band_frequencies"], MUTED, ":")]
    for point, bands, shade_ in zip(
        document.points, arrays["band_frequencies"], shades, strict=True
    ):
        drawn.append((f"{point.temperature:g} K", bands, shade_, "-"))
    for label, bands, color, style in drawn:
        axes.plot(
            *broken_lines(document, document, bands), style, color=color, linewidth=1.0, label=label
        )
    dress_path(axes, document)
    legend_above(figure, axes, 3)
    return figure
