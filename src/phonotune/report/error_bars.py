"""Error bars of committees in figures: one standard deviation, as a shade or as bars."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from phonotune.report.style import INK, Look

_SHADE: Final = 0.28


def shade(
    axes: Axes, x: Any, y: Any, deviation: Any | None, look: Look, upright: bool = False
) -> None:
    """Shade one standard deviation on both sides of a line; draw nothing without one.

    Parameters
    ----------
    axes
        Where the line is.
    x, y
        shape (n,), the line; NaN breaks it.
    deviation
        shape (n,), of y, or None for a single model.
    look
        Of the line.
    upright
        True if x is what deviates, against y (a density of states beside bands).
    """
    if deviation is None:
        return
    value, along = (x, y) if upright else (y, x)
    low, high = np.asarray(value) - deviation, np.asarray(value) + deviation
    fill = axes.fill_betweenx if upright else axes.fill_between
    fill(along, low, high, color=look.color, alpha=_SHADE, linewidth=0, zorder=look.zorder - 0.4)


def bars(axes: Axes, x: Any, y: Any, deviation: Any | None, look: Look) -> None:
    """Draw bars of one standard deviation on points; nothing without one.

    Parameters
    ----------
    axes
        Where the points are.
    x, y
        shape (n,).
    deviation
        shape (n,), of y, or None for a single model.
    look
        Of the points.
    """
    if deviation is None:
        return
    axes.errorbar(
        x,
        y,
        yerr=deviation,
        fmt="none",
        ecolor=INK,
        elinewidth=0.9,
        capsize=1.8,
        capthick=0.9,
        zorder=look.zorder + 1.5,
    )
