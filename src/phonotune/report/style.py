"""How figures look: one colour and line for each role, safe for colour-blind readers (Okabe and Ito, 2008)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal
from zlib import crc32

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from phonotune.physics.phonon.residual import CORRECTED
from phonotune.ports import FloatArray
from phonotune.schemas.base import Source
from phonotune.training.strategies import STRATEGIES

INK: Final = "#1c2026"
MUTED: Final = "#69707b"
GRID: Final = "#d9dce1"
REFERENCE: Final = "#8b919b"
UNTUNED: Final = "#d55e00"
TUNED: Final = ("#0072b2", "#009e73", "#b5588f", "#7a5cc4", "#9a7d0a")

CSS_NAMES: Final = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    REFERENCE: "var(--reference)",
    UNTUNED: "var(--untuned)",
} | {color: f"var(--tuned-{i})" for i, color in enumerate(TUNED)}
"""The theme variable of each colour; the page gives it a light and a dark value."""

NARROW: Final = 4.7
"""Width of a figure that fits a column or a phone, inch (360 pt: text of 9 pt is about 9 px at 400 px)."""
WIDE: Final = 10.0
"""Width of a figure across the page, inch."""
TEXT: Final = 9.0
"""Size of text, pt."""

Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]
_DASHES: Final[tuple[Dashes, ...]] = ("solid", (0, (6, 1.5)), (0, (4, 1.2, 1, 1.2)))


@dataclass(frozen=True)
class Look:
    """Colour, line and drawing order of one Source in every figure."""

    color: str
    dashes: Dashes
    width: float
    zorder: float
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Keywords for a line."""
        return {
            "color": self.color,
            "linestyle": self.dashes,
            "linewidth": self.width,
            "zorder": self.zorder,
        }


def looks(sources: Sequence[Source]) -> list[Look]:
    """Return one Look per Source: the same for the same role everywhere, different within one figure.

    A Source that is alone in its figure keeps its colour and is drawn solid.

    Parameters
    ----------
    sources
        Sources of one figure, in drawing order.
    """
    taken: set[int] = set()
    found = [_look(source.role, taken) for source in sources]
    return found if len(found) > 1 else [replace(look, dashes="solid") for look in found]


def _look(role: str, taken: set[int]) -> Look:
    if role == "reference":
        return Look(REFERENCE, "solid", 2.3, 2.0, "o")
    if role == "untuned":
        return Look(UNTUNED, (0, (3, 1.6)), 1.2, 2.5, "s")
    n_looks = len(TUNED) * len(_DASHES)
    strategy = role.removesuffix(CORRECTED)
    known = strategy in STRATEGIES
    index = list(STRATEGIES).index(strategy) if known else crc32(role.encode()) % n_looks
    while index in taken and len(taken) < n_looks:
        index = (index + 1) % n_looks
    taken.add(index)
    dashes = _DASHES[(index // len(TUNED)) % len(_DASHES)]
    markers = ("^", "D", "v", "P", "X")
    return Look(TUNED[index % len(TUNED)], dashes, 1.3, 3.0, markers[index % len(markers)])


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size (inch); white on paper, transparent on the page."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def dress(axes: Axes, xlabel: str = "", ylabel: str = "") -> None:
    """Give axes their labels, thin open spines and small ticks."""
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
        axes.spines[side].set_linewidth(0.7)
    axes.tick_params(which="both", labelsize=TEXT, labelcolor=INK, color=MUTED, width=0.7, length=3)
    axes.set_xlabel(xlabel, fontsize=TEXT + 0.5, color=INK)
    axes.set_ylabel(ylabel, fontsize=TEXT + 0.5, color=INK)


def legend_above(figure: Figure, axes: Axes, columns: int) -> None:
    """Put one legend above all axes of a figure."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    columns = min(columns, len(handles))
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=TEXT,
        labelcolor=INK,
        handlelength=2.2,
        columnspacing=1.6,
    )


@contextlib.contextmanager
def laid_out(figure: Figure) -> Iterator[None]:
    """Lay out a figure once for all that is written within; a constrained layout otherwise draws it twice."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def save_png(figure: Figure, path: Path, dpi: float = 200.0) -> None:
    """Write a figure as PNG on white."""
    with laid_out(figure):
        figure.savefig(path, dpi=dpi, format="png", facecolor="white")


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG on white, the same bytes every time: ids by the file's name, no date."""
    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})


def add_dots(axes: Axes, points: FloatArray, look: Look, width: float, alpha: float) -> None:
    """Draw points as one path of round-capped strokes: small in SVG, exact in position.

    Parameters
    ----------
    axes
        Gets the path.
    points
        shape (n, 2), n >= 1, in data coordinates.
    look
        Colour and order.
    width
        Diameter of a dot, points.
    alpha
        Opacity.
    """
    tick = 1e-4 * (float(np.ptp(points)) or 1.0)
    ends = np.stack([points, points + np.array([tick, 0.0])], axis=1).reshape(-1, 2)
    outline = Outline(ends, np.tile([Outline.MOVETO, Outline.LINETO], len(points)))
    outline.should_simplify = False
    axes.add_patch(
        PathPatch(
            outline,
            fill=False,
            edgecolor=look.color,
            linewidth=width,
            capstyle="round",
            alpha=alpha,
            zorder=look.zorder,
        )
    )
