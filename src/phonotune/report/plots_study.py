"""Figures of a campaign's analysis; each comes with the table of the numbers that it draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phonotune.physics.study.statistics import confusion
from phonotune.report.style import (
    GRID,
    INK,
    MUTED,
    REFERENCE,
    TEXT,
    TUNED,
    UNTUNED,
    WIDE,
    Look,
    dress,
    legend_above,
    looks,
    new_figure,
)
from phonotune.schemas.base import Source

Drawn = tuple[Figure, pd.DataFrame]

_WHO: Final = ["structure", "model", "frames", "seed"]
_ZONE: Final = {
    "frequency_mae_THz": "zone MAE (THz)",
    "max_frequency_bias_percent": "highest frequency, bias (%)",
    "spectrum_w1_THz": "spectrum W1 (THz)",
}
_PROPERTIES: Final = {
    "entropy_300_error_percent": "S at 300 K (%)",
    "helmholtz_300_error_percent": "F at 300 K (%)",
    "heat_capacity_300_error_percent": "C$_v$ at 300 K (%)",
    "bulk_modulus_error_percent": "bulk modulus (%)",
    "shear_modulus_error_percent": "shear modulus (%)",
    "slack_conductivity_error_percent": "Slack κ at 300 K (%)",
}
_COST: Final = {
    "labels_percent": "labels, % of a full set",
    "training_seconds": "training (s)",
}


def model_looks(table: pd.DataFrame) -> dict[str, Look]:
    """Return the colour and line of each model: those of the report where one strategy has one model."""
    seen: set[str] = set()
    sources: list[Source] = []
    for row in table.drop_duplicates("model").itertuples():
        role = row.strategy if row.strategy not in seen else row.model
        seen.add(str(row.strategy))
        sources.append(Source(role=role, evaluator=row.model))
    return dict(zip((s.evaluator for s in sources), looks(sources), strict=True))


def plot_force_errors(table: pd.DataFrame) -> Drawn | None:
    """Draw the force MAE on validation frames against training frames: median and quartiles."""
    own = table.dropna(subset=["force_mae_meV_per_A", "frames"])
    if own.empty:
        return None
    grouped = own.groupby(["model", "frames"], sort=False)
    quartiles = grouped["force_mae_meV_per_A"].quantile(np.array([0.25, 0.5, 0.75])).unstack()
    quartiles.columns = ["lower_quartile", "median", "upper_quartile"]
    quartiles["foundation_median"] = grouped["force_mae_foundation_meV_per_A"].median()
    quartiles["rows"] = grouped.size()
    drawn = quartiles.reset_index().sort_values(["model", "frames"], ignore_index=True)
    figure = new_figure(WIDE * 0.6, 4.2)
    axes = figure.subplots()
    for model, look in model_looks(table).items():
        curve = drawn[drawn["model"] == model]
        if not curve.empty:
            bars = [
                curve["median"] - curve["lower_quartile"],
                curve["upper_quartile"] - curve["median"],
            ]
            axes.errorbar(
                curve["frames"],
                curve["median"],
                yerr=bars,
                label=model,
                marker=look.marker,
                markersize=4,
                elinewidth=0.8,
                **look.line,
            )
    foundation = own.groupby("frames")["force_mae_foundation_meV_per_A"].median()
    line = foundation if len(foundation) > 1 else pd.concat([foundation] * 2)
    places = line.index.to_numpy(float) + (0 if len(foundation) > 1 else np.array([-0.5, 0.5]))
    axes.plot(places, line, color=UNTUNED, linestyle=(0, (3, 1.6)), label="foundation, untuned")
    axes.set_yscale("log")
    axes.set_xticks(sorted(own["frames"].unique()))
    dress(axes, "training frames", "force MAE, validation (meV/Å)")
    legend_above(figure, axes, 3)
    return figure, drawn


def plot_zone(table: pd.DataFrame) -> Drawn | None:
    """Draw zone MAE, bias of the highest frequency and spectrum W1 by model, a dot per crystal and seed."""
    return _strips(table, _ZONE)


def plot_properties(table: pd.DataFrame) -> Drawn | None:
    """Draw deviations of thermal and elastic properties and Slack's κ by model."""
    return _strips(table, _PROPERTIES)


def plot_cost(table: pd.DataFrame) -> Drawn | None:
    """Draw the labels in percent of a full set of displaced supercells, and seconds of the training."""
    share = 100 * table["labels"] / table["full_set"].where(table["full_set"] > 0)
    return _strips(table.assign(labels_percent=share), _COST)


def _strips(table: pd.DataFrame, quantities: Mapping[str, str]) -> Drawn | None:
    """Draw quantities by model beside each other: box of the quartiles, median, and every value as a dot."""
    known = [name for name in quantities if table[name].notna().any()]
    if not known:
        return None
    table = table.dropna(subset=known, how="all")
    colors = model_looks(table)
    table = table.assign(series=_with_frames(table))
    found = {
        str(r.series): colors[str(r.model)] for r in table.drop_duplicates("series").itertuples()
    }
    columns = min(3, len(known))
    lines = -(-len(known) // columns)
    figure = new_figure(WIDE, lines * (1.0 + 0.28 * len(found)))
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for name, axes in zip(known, grid.flat, strict=False):
        for place, (model, look) in enumerate(found.items()):
            values = table.loc[table["series"] == model, name].dropna().to_numpy(float)
            if len(values):
                _box(axes, place, values, look)
        if table[name].min() < 0 < table[name].max():
            axes.axvline(0.0, color=MUTED, linewidth=0.7, zorder=1)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        dress(axes, quantities[name])
    for axes in list(grid.flat)[len(known) :]:
        axes.set_visible(False)
    grid[0, 0].set_yticks(range(len(found)), list(found))
    grid[0, 0].set_ylim(len(found) - 0.5, -0.5)
    return figure, table[[*_WHO, *known]].reset_index(drop=True)


def _with_frames(table: pd.DataFrame) -> list[str]:
    """Return the group of each row in words: the model, and the frames that trained it."""
    return [
        f"{model}, {frames:.0f} frames" if frames == frames else str(model)
        for model, frames in zip(table["model"], table["frames"], strict=True)
    ]


def _box(axes: Axes, place: int, values: np.ndarray, look: Look) -> None:
    lower, median, upper = np.percentile(values, [25, 50, 75])
    axes.barh(place, upper - lower, left=lower, height=0.55, facecolor="none", edgecolor=look.color)
    axes.plot([median, median], [place - 0.28, place + 0.28], color=INK, linewidth=1.4, zorder=4)
    shift = 0.16 * np.sin(2.4 * np.arange(len(values)))  # dots of equal value beside each other
    axes.scatter(
        values, place + shift, s=10, color=look.color, marker=look.marker, alpha=0.75, zorder=3
    )


def plot_imaginary(table: pd.DataFrame) -> Drawn | None:
    """Draw which crystals have imaginary modes by reference and model, and precision, recall, F1."""
    return _confusion(confusion(table, "crystals"), "crystals with imaginary modes")


def plot_imaginary_modes(table: pd.DataFrame) -> Drawn | None:
    """Draw the same of the modes of the full meshes, all crystals together."""
    return _confusion(confusion(table, "modes"), "imaginary modes of the meshes")


def plot_phases(table: pd.DataFrame) -> Drawn | None:
    """Draw the phases found by following modes, and precision, recall, F1."""
    return _confusion(confusion(table, "phases"), "phases found by following modes")


def _confusion(counts: pd.DataFrame, what: str) -> Drawn | None:
    if counts.empty or not counts[["both", "only_reference", "only_model"]].to_numpy().any():
        return None
    figure = new_figure(WIDE, 1.2 + 0.3 * len(counts))
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(counts))
    start = np.zeros(len(counts))
    parts = {
        "both": ("both", TUNED[0], None),
        "only_reference": ("missed by the model", REFERENCE, "////"),
        "only_model": ("invented by the model", UNTUNED, "...."),
    }
    for name, (label, color, hatch) in parts.items():
        left.barh(
            places,
            counts[name],
            left=start,
            label=label,
            facecolor=color,
            hatch=hatch,
            edgecolor="white",
            height=0.6,
        )
        start = start + counts[name].to_numpy(float)
    for name, marker, color in (
        ("precision", "^", TUNED[0]),
        ("recall", "s", UNTUNED),
        ("f1", "o", INK),
    ):
        words = "F1" if name == "f1" else name
        right.scatter(
            counts[f"{name}_percent"], places, marker=marker, color=color, label=words, s=28
        )
    right.set_xlim(-4, 104)
    left.set_yticks(places, _with_frames(counts))
    left.set_ylim(len(counts) - 0.5, -0.5)
    right.grid(axis="x", color=GRID, linewidth=0.6)
    dress(left, what)
    dress(right, "precision, recall, F1 (%)")
    for axes in (left, right):
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=TEXT
        )
    return figure, counts


def plot_calibration(bars: pd.DataFrame) -> Drawn | None:
    """Draw true errors against stated standard deviations; lines at one and two of them."""
    drawn = bars[(bars["stated"] > 0) & (bars["error"] > 0) & (bars["unit"] == "THz")]
    if drawn.empty:
        return None
    figure = new_figure(WIDE * 0.5, 4.2)
    axes = figure.subplots()
    groups = list(drawn.groupby(["by", "quantity"], sort=False))
    for index, ((by, quantity), group) in enumerate(groups):
        axes.scatter(
            group["stated"],
            group["error"],
            s=18,
            color=TUNED[index % len(TUNED)],
            marker="oD^svP"[index % 6],
            label=f"{by}, {quantity}",
        )
    ends = np.array([drawn["stated"].min() / 2, drawn["stated"].max() * 2])
    for factor, dashes in ((1, "solid"), (2, "dashed")):
        axes.plot(ends, factor * ends, color=MUTED, linestyle=dashes, linewidth=0.8)
        axes.annotate(f"{factor}σ", (ends[1], factor * ends[1]), fontsize=TEXT, color=MUTED)
    axes.set_xscale("log")
    axes.set_yscale("log")
    dress(axes, "stated standard deviation (THz)", "true error (THz)")
    legend_above(figure, axes, 1)
    return figure, drawn


def plot_overview(table: pd.DataFrame) -> Drawn | None:
    """Draw the zone MAE of every crystal and model, seeds and frames by their median, as coloured cells."""
    wide = table.pivot_table(
        index="structure", columns="model", values="frequency_mae_THz", aggfunc="median", sort=False
    )
    if wide.empty:
        return None
    figure = new_figure(2.6 + 0.75 * wide.shape[1], 1.6 + 0.26 * len(wide))
    axes = figure.subplots()
    values = wide.to_numpy(float)
    image = axes.imshow(np.log10(np.maximum(values, 1e-4)), cmap="cividis_r", aspect="auto")
    middle = np.nanmean(image.get_clim())
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "white" if np.log10(max(value, 1e-4)) > middle else INK
            axes.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=TEXT - 1, color=ink)
    dress(axes)
    axes.set_title("zone MAE (THz)", fontsize=TEXT + 0.5, color=INK)
    names = [str(name).rsplit("/", 1)[-1] for name in wide.index]
    axes.set_yticks(range(len(wide)), names)
    axes.set_xticks(
        range(wide.shape[1]), [str(name) for name in wide.columns], rotation=40, ha="right"
    )
    return figure, wide.reset_index()


FIGURES: Final[Mapping[str, Callable[[pd.DataFrame], Drawn | None]]] = {
    "overview": plot_overview,
    "force_errors": plot_force_errors,
    "zone": plot_zone,
    "properties": plot_properties,
    "imaginary_crystals": plot_imaginary,
    "imaginary_modes": plot_imaginary_modes,
    "phases": plot_phases,
    "cost": plot_cost,
}
"""Figures of the long table by the name of their files."""
