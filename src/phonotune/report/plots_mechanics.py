"""Double wells and elastic constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phonotune.physics.committee_spread import spread_arrays
from phonotune.physics.wells.fit import WellFit
from phonotune.physics.wells.levels import sampled_potential
from phonotune.ports import FloatArray
from phonotune.report import error_bars
from phonotune.report.style import (
    GRID,
    MUTED,
    NARROW,
    TEXT,
    TUNED,
    Look,
    dress,
    legend_above,
    looks,
    new_figure,
)
from phonotune.report.table import source_label
from phonotune.report.tables import constant_label, distinct_constants
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.wells import WellDirection, WellDocument

_CURVE: Final = ("amplitudes", "energies", "forces", "orders", "coefficients")


@dataclass(frozen=True, eq=False)
class Curve:
    """E(Q) of one Source along one direction, as it is drawn.

    Attributes
    ----------
    text
        Of the legend, before the depth.
    look
        Colour, line and marker.
    summary
        Depth and Q0.
    amplitudes, energies
        shape (n,), the computed points.
    potential
        E(Q) through them, meV/f.u.
    deviation
        shape (n,), standard deviation of the energies over a committee; None for a single model.
    """

    text: str
    look: Look
    summary: WellDocument | WellDirection
    amplitudes: FloatArray
    energies: FloatArray
    potential: Callable[[FloatArray], FloatArray]
    deviation: FloatArray | None

    @property
    def reach(self) -> float:
        """The largest amplitude that was computed, Å·sqrt(amu)."""
        return float(np.abs(self.amplitudes).max())

    def bound(self, q: FloatArray) -> FloatArray:
        """Return which of q lie on the side that was computed or, for an even curve, on its other."""
        low = -self.reach if self.summary.even else float(self.amplitudes.min())
        return np.asarray((q >= low) & (q <= self.reach))


def plot_well(wells: Sequence[WellDocument], width: float = NARROW) -> Figure:
    """Draw E(Q) of one mode: computed points, the curve through them, depth at ±Q0.

    One document that followed several directions is drawn with all of them; of several Sources each
    is drawn along its deepest direction.

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
    curves = well_curves(wells)
    for curve in curves:
        _draw_curve(axes, curve)
    axes.margins(x=0.02)
    window = _window(curves)
    if window is not None:
        reach, top = window
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-0.35 * top, top)
    dress(axes, "Q (Å·√amu)", "E − E(Q = 0) (meV/f.u.)")
    legend_above(figure, axes, 1)
    return figure


def well_curves(wells: Sequence[WellDocument]) -> list[Curve]:
    """Return what is drawn: every direction of a single document, else the deepest of each."""
    own = looks([well.source for well in wells])
    if len(wells) == 1 and len(wells[0].directions) > 1:
        (well,) = wells
        return [
            _curve(
                f"{source_label(well.source)}, {part.direction}",
                replace(own[0], color=TUNED[index % len(TUNED)], marker="oD^vsPXd"[index % 8]),
                part,
                {name: well.data.arrays()[f"{name}_{index}"] for name in _CURVE},
                spread_arrays(well).get(f"energies_{index}"),
            )
            for index, part in enumerate(well.directions)
        ]
    return [
        _curve(
            source_label(well.source),
            look,
            well,
            well.data.arrays(),
            spread_arrays(well).get("energies"),
        )
        for well, look in zip(wells, own, strict=True)
    ]


def _curve(
    text: str,
    look: Look,
    summary: WellDocument | WellDirection,
    arrays: Mapping[str, Any],
    deviation: FloatArray | None,
) -> Curve:
    coefficients = arrays["coefficients"]
    orders = arrays.get("orders", 2 * (1 + np.arange(len(coefficients))))
    potential = sampled_potential(
        WellFit(orders, coefficients, 0.0),
        arrays["amplitudes"],
        arrays["energies"],
        arrays["forces"],
        summary.even,
    )
    amplitudes, energies = arrays["amplitudes"], arrays["energies"]
    return Curve(text, look, summary, amplitudes, energies, potential, deviation)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    well, look = curve.summary, curve.look
    grid = np.linspace(-curve.reach, curve.reach, 481)
    grid = grid[curve.bound(grid)]
    axes.plot(grid, curve.potential(grid), label=f"{curve.text}: {_depth_text(well)}", **look.line)
    axes.plot(
        curve.amplitudes,
        curve.energies,
        linestyle="none",
        marker=look.marker,
        markersize=3.2,
        color=look.color,
        zorder=look.zorder + 1,
    )
    error_bars.bars(axes, curve.amplitudes, curve.energies, curve.deviation, look)
    if well.has_double_well:
        for side in (-well.q0, well.q0) if well.even else (well.q0,):
            axes.plot([side, side], [-well.depth, 0.0], color=look.color, lw=0.7, ls=":")


def well_window(wells: Sequence[WellDocument]) -> tuple[float, float] | None:
    """Return the largest Q and E that are worth drawing, or None where there is no double well.

    The walls of a well rise far above its depth; the window ends at four times the greatest depth.

    Parameters
    ----------
    wells
        As :func:`plot_well` takes them.
    """
    return _window(well_curves(wells))


def _window(curves: Sequence[Curve]) -> tuple[float, float] | None:
    top = 4.0 * max(max(c.summary.depth, -float(c.energies.min())) for c in curves)
    if top <= 0.0:
        return None
    reaches = []
    for curve in curves:
        grid = np.linspace(-curve.reach, curve.reach, 801)
        grid = grid[curve.bound(grid)]
        inside = curve.potential(grid) <= top
        reaches.append(float(np.abs(grid[inside]).max()))
    return 1.05 * max(reaches), top


def _depth_text(well: WellDocument | WellDirection) -> str:
    if not well.has_double_well:
        return "single well"
    if not well.minimum_in_range:
        return f"at least {well.depth:.3g} meV/f.u. at Q = {well.q0:.3g}"
    spread = getattr(well, "spread", None)
    deviation = "" if spread is None else f" ± {spread.numbers['depth']:.2g}"
    return f"{well.depth:.3g}{deviation} meV/f.u. at Q₀ = {well.q0:.3g}"


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
        places = positions + (k - 0.5 * (len(elastics) - 1)) * bar
        error_bars.bars(axes, places, heights, _elastic_deviations(elastic, names), look)
        axes.bar(
            places,
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


def _elastic_deviations(
    elastic: ElasticDocument, names: Sequence[tuple[int, int]]
) -> list[float] | None:
    """Return the deviations of constants and moduli over a committee, or None for a single model."""
    if elastic.spread is None:
        return None
    tensor, numbers = spread_arrays(elastic)["elastic_tensor"], elastic.spread.numbers
    moduli = [numbers["bulk_modulus"], numbers["shear_modulus"]]
    return [float(tensor[pair]) for pair in names] + moduli
