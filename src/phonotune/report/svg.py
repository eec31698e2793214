"""A matplotlib Figure as an SVG element for a page: themed by CSS variables, ids of its own."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Final

import matplotlib
from matplotlib.figure import Figure

from phonotune.report.style import CSS_NAMES, laid_out

_NUMBER: Final = re.compile(r"-?\d+\.\d{3,}")


def figure_svg(figure: Figure, prefix: str, label: str) -> str:
    """Return a figure as an ``<svg>`` element that may stand in a page beside others.

    Colours of :mod:`phonotune.report.style` become CSS variables, text takes the page's font, the background is
    transparent, every id starts with ``prefix`` and is the same in every run.

    Parameters
    ----------
    figure
        The figure; not closed, not changed.
    prefix
        Unique in the page; letters, digits and hyphens.
    label
        What a reader who cannot see the figure is told.
    """
    buffer = io.StringIO()
    with (
        matplotlib.rc_context(
            {"svg.fonttype": "none", "svg.hashsalt": prefix, "path.simplify_threshold": 0.2}
        ),
        laid_out(figure),
    ):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = buffer.getvalue()
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = body[body.index(">") + 1 :]
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    for color, name in CSS_NAMES.items():
        body = body.replace(color, name)
    body = re.sub(r"font: (?:[a-z]+ )?(\d[\d.]*)px [^;\"]*", r"font-size: \1px", body)
    body = _NUMBER.sub(lambda match: f"{float(match.group()):.2f}", body)
    width, height = (72.0 * side for side in figure.get_size_inches())
    start = f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}">'
    return start + re.sub(r"\n\s*", "\n", body)
