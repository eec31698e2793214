"""Models against their reference: frequencies over the zone, errors of the branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from phonotune.errors import InputError
from phonotune.physics.phonon.document import on_common_mesh
from phonotune.physics.phonon.spectrum import N_ACOUSTIC
from phonotune.ports import FloatArray
from phonotune.report.style import (
    GRID,
    MUTED,
    NARROW,
    TEXT,
    Look,
    add_dots,
    dress,
    legend_above,
    looks,
    new_figure,
)
from phonotune.report.table import source_label
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.schemas.phonon import PhononDocument

MAX_POINTS: Final = 1500
"""More modes than this are thinned out evenly (errors are of all of them)."""
_SMALLEST_DOT, _LARGEST_DOT = 1.2, 4.0
"""Widths of the dots, pt: the area grows with the weight of the q-point."""
_DOT_SIZES: Final = 4


def plot_frequencies(
    reference: PhononDocument, models: Sequence[PhononDocument], width: float = NARROW
) -> Figure:
    """Draw each mode of the mesh, model against reference, THz; imaginary modes are negative.

    A dot's area grows with the multiplicity of its q-point; the legend states the weighted mean
    absolute error over the whole zone.

    Parameters
    ----------
    reference
        Phonons of the reference.
    models
        Phonons of the models, same crystal and cell.
    width
        Width of the figure, inch.
    """
    figure = new_figure(width, 0.98 * width)
    axes = figure.subplots()
    reach: list[float] = []
    for model, look in zip(models, looks([m.source for m in models]), strict=True):
        ours, theirs = (d.data.arrays() for d in on_common_mesh(reference, model))
        x, y = ours["mesh_frequencies"], theirs["mesh_frequencies"]
        if x.shape != y.shape:
            raise InputError(
                f"The frequencies of {source_label(model.source)} have the shape {y.shape}, those of "
                f"{source_label(reference.source)} {x.shape}; draw phonons of one crystal together."
            )
        weights = ours["mesh_weights"] / ours["mesh_weights"].sum()
        _dots(axes, x, y, weights, look)
        error = float(weights @ np.abs(y - x).mean(axis=1))
        label = f"{source_label(model.source)}: {error:.3g} THz"
        axes.plot([], [], "o", markersize=4, color=look.color, label=label)
        reach += [float(values.min()) for values in (x, y)]
        reach += [float(values.max()) for values in (x, y)]
    low, high = min(0.0, *reach), max(0.0, *reach)
    margin = 0.04 * (high - low) or 1.0
    low, high = (low - margin if low < 0 else low), high + margin
    axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8, zorder=1)
    if min(reach) < reference.imaginary_threshold:
        axes.axhline(0.0, color=GRID, linewidth=0.7, zorder=0.5)
        axes.axvline(0.0, color=GRID, linewidth=0.7, zorder=0.5)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
    dress(axes, f"Frequency by {source_label(reference.source)} (THz)", "Frequency by model (THz)")
    legend_above(figure, axes, 1)
    return figure


def plot_branches(comparison: ComparisonDocument, width: float = NARROW) -> Figure:
    """Draw the mean absolute error of each branch, counted from below at every q, THz.

    Models without phonons are passed over.
    """
    figure = new_figure(width, 0.62 * width)
    axes = figure.subplots()
    rows = [row for row in comparison.rows if row.deviations.branch_mae is not None]
    n_branches = max((len(row.deviations.branch_mae or ()) for row in rows), default=0)
    bar = 0.8 / max(len(rows), 1)
    for k, (row, look) in enumerate(zip(rows, looks([r.source for r in rows]), strict=True)):
        heights = np.array(row.deviations.branch_mae)
        axes.bar(
            1 + np.arange(len(heights)) + (k - 0.5 * (len(rows) - 1)) * bar,
            heights,
            width=0.9 * bar,
            color=look.color,
            label=source_label(row.source),
            zorder=2,
        )
    if n_branches > N_ACOUSTIC:
        edge = N_ACOUSTIC + 0.5
        axes.axvline(edge, color=MUTED, linewidth=0.7, linestyle=":", zorder=1)
        for side, text in (("right", "lowest three"), ("left", "others")):
            axes.annotate(
                text,
                (edge, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if side == "right" else 4, -2),
                textcoords="offset points",
                ha=side,
                va="top",
                fontsize=TEXT - 1,
                color=MUTED,
            )
    axes.set_xlim(0.4, n_branches + 0.6)
    axes.margins(y=0.12)
    axes.grid(axis="y", color=GRID, linewidth=0.5, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=16))
    dress(axes, "Branch, counted from below", "Frequency MAE (THz)")
    legend_above(figure, axes, 3)
    return figure


def _dots(axes: Axes, x: FloatArray, y: FloatArray, weights: FloatArray, look: Look) -> None:
    """Draw modes as round-capped strokes, one path per size: small in SVG, exact in position."""
    stride = max(1, int(np.ceil(x.size / MAX_POINTS)))
    each = np.repeat(weights, x.shape[1])[::stride]
    points = np.stack([x.ravel()[::stride], y.ravel()[::stride]], axis=1)
    sizes = np.linspace(_SMALLEST_DOT, _LARGEST_DOT, _DOT_SIZES)
    share = np.sqrt(each / each.max())
    classes = np.rint(share * (_DOT_SIZES - 1)).astype(int)
    for size, chosen in ((s, points[classes == k]) for k, s in enumerate(sizes)):
        if len(chosen):
            add_dots(axes, chosen, look, size, alpha=0.6)
