"""Training figures: force parity and learning history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from phonotune.ports import FloatArray
from phonotune.report.style import (
    GRID,
    MUTED,
    NARROW,
    UNTUNED,
    Look,
    add_dots,
    dress,
    legend_above,
    looks,
    new_figure,
)
from phonotune.report.table import source_label
from phonotune.schemas.base import Source
from phonotune.schemas.training import TrainingDocument

MAX_PARITY_POINTS: Final = 2400
"""More force components than this are thinned out evenly (errors are of all of them)."""


def training_source(training: TrainingDocument) -> Source:
    """Return the Source that a trained model gives to its properties (role and name only)."""
    model = training.model
    return Source(
        role=model.strategy or "untuned", evaluator=model.foundation.label, model_id=model.model_id
    )


def plot_parity(trainings: Sequence[TrainingDocument], width: float = NARROW) -> Figure:
    """Draw predicted against reference force components of the validation frames, eV/Å.

    ``parity`` arrays read: ``forces_reference`` and ``forces_predicted`` (n, 3) eV/Å and, where there,
    ``forces_untuned`` (n, 3): the untuned model's.
    """
    figure = new_figure(width, 0.92 * width)
    axes = figure.subplots()
    styles = looks([training_source(t) for t in trainings])
    largest = 0.0
    for index, (training, look) in enumerate(zip(trainings, styles, strict=True)):
        arrays = training.parity.arrays()
        reference = arrays["forces_reference"].ravel()
        if index == 0 and "forces_untuned" in arrays:
            before = arrays["forces_untuned"].ravel()
            untuned = looks([Source(role="untuned", evaluator="")])[0]
            _dots(axes, reference, before, untuned, f"untuned · {training.model.foundation.label}")
            largest = max(largest, float(np.abs(before).max()))
        predicted = arrays["forces_predicted"].ravel()
        _dots(axes, reference, predicted, look, source_label(training_source(training)))
        largest = max(largest, float(np.abs(reference).max()), float(np.abs(predicted).max()))
    reach = 1.05 * largest or 1.0
    axes.plot([-reach, reach], [-reach, reach], color=MUTED, linewidth=0.7, zorder=1)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    dress(axes, "Reference force component (eV/Å)", "Predicted (eV/Å)")
    legend_above(figure, axes, 2)
    return figure


def plot_history(trainings: Sequence[TrainingDocument], width: float = NARROW) -> Figure:
    """Draw validation force error (meV/Å) and loss against epoch, logarithmic; epoch 0 is untuned.

    A filled dot marks the epoch whose weights were kept; the thin line is the training loss.
    """
    figure = new_figure(width, 0.92 * width)
    upper, lower = figure.subplots(2, 1, sharex=True)
    styles = looks([training_source(t) for t in trainings])
    for training, look in zip(trainings, styles, strict=True):
        arrays = training.history.arrays()
        label = source_label(training_source(training))
        _history_line(upper, arrays["epoch"], arrays["valid_forces"], look, label)
        _history_line(lower, arrays["epoch"], arrays["valid_loss"], look, label)
        _history_line(lower, arrays["epoch"], arrays["loss"], look, None)
        kept = arrays["epoch"] == training.best_epoch
        upper.plot(
            arrays["epoch"][kept],
            arrays["valid_forces"][kept],
            marker="o",
            markersize=5,
            color=look.color,
            zorder=5,
        )
        first = training.metrics.valid_before.forces_mae
        if first is not None:
            upper.axhline(first, color=UNTUNED, linewidth=0.9, linestyle=":", zorder=1)
    for axes in (upper, lower):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="y", which="major", color=GRID, linewidth=0.5)
        axes.margins(x=0.01)
    dress(upper, "", "Force MAE (meV/Å)")
    dress(lower, "Epoch", "Loss")
    legend_above(figure, upper, 2)
    return figure


def _history_line(
    axes: Axes, epochs: FloatArray, values: FloatArray, look: Look, label: str | None
) -> None:
    shown = np.asarray(values) > 0.0
    width = look.width if label else 0.5 * look.width
    axes.plot(
        np.asarray(epochs)[shown],
        np.asarray(values)[shown],
        color=look.color,
        linestyle=look.dashes,
        linewidth=width,
        alpha=1.0 if label else 0.6,
        label=label,
    )


def _dots(axes: Axes, x: FloatArray, y: FloatArray, look: Look, label: str) -> None:
    """Draw points as one path of round-capped strokes: small in SVG, exact in position."""
    stride = max(1, int(np.ceil(len(x) / MAX_PARITY_POINTS)))
    points = np.stack([x[::stride], y[::stride]], axis=1)
    add_dots(axes, points, look, 2.6, alpha=0.55)
    mae = 1000.0 * float(np.abs(x - y).mean())
    axes.plot(
        [],
        [],
        linestyle="none",
        marker="o",
        markersize=4,
        color=look.color,
        label=f"{label}: {mae:.3g} meV/Å",
    )
