"""Phase transitions: the tree of phases, and the energy along its pathways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phonotune.ports import FloatArray
from phonotune.report.style import (
    GRID,
    INK,
    MUTED,
    NARROW,
    TEXT,
    TUNED,
    UNTUNED,
    WIDE,
    dress,
    legend_above,
    new_figure,
)
from phonotune.schemas.transition import PhaseBranch, PhaseNode, TransitionDocument

_STABLE, _UNSTABLE = TUNED[0], UNTUNED
_CURVES: Final = (TUNED[0], UNTUNED, TUNED[1], TUNED[2], TUNED[3], TUNED[4])
_DASHES: Final = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)))
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
_ROOM: Final = 0.05
"""Least distance of two labels, as a share of the height of the axes."""
_FEW: Final = 6
"""Phases whose names have room in any figure."""
_ENOUGH: Final = 4.9
"""Height of a figure in which labels at their least distance do not overlap, inch."""
_BULGE: Final = 0.06
"""How far a pathway between phases of the same depth is drawn aside."""


def plot_phase_tree(document: TransitionDocument, width: float = WIDE * 0.8) -> Figure:
    """Draw each phase by the modes followed to it and by its energy; edges are the computed E(λ).

    A phase without imaginary modes is a full circle, one with imaginary modes an open square, one
    without phonons a cross. Pathways to phases known before are thin.

    Parameters
    ----------
    document
        The tree.
    width
        Width of the figure, inch.
    """
    tall = _ENOUGH if len(document.nodes) > _FEW else 0.0
    figure = new_figure(width, max(0.62 * width, tall))
    axes = figure.subplots()
    arrays = document.data.arrays()
    for index, curve in zip(arrays["path_branches"], arrays["path_energies"], strict=True):
        branch = document.branches[int(index)]
        _edge(axes, document, branch, arrays["path_lambda"], curve)
    for node in document.nodes:
        _mark(axes, node)
    _legend_entries(axes, document.nodes)
    depth = max(node.depth for node in document.nodes)
    dress(axes, "Modes followed", "E − E(root) (meV/f.u.)")
    axes.set_xlim(-0.12, depth + 0.5)
    axes.set_xticks(range(depth + 1))
    axes.margins(y=0.09)
    low, high = axes.get_ylim()
    if high - low < 1e-6:
        axes.set_ylim(-1.0, 1.0)
    _name_phases(axes, document)
    legend_above(figure, axes, 4)
    return figure


def _edge(
    axes: Axes,
    document: TransitionDocument,
    branch: PhaseBranch,
    steps: FloatArray,
    curve: FloatArray,
) -> None:
    parent = document.nodes[branch.parent]
    child = document.nodes[parent.id if branch.child is None else branch.child]
    first = branch.outcome == "new phase"
    bulge = 4 * _BULGE * steps * (1 - steps) * (parent.depth == child.depth)
    axes.plot(
        parent.depth + (child.depth - parent.depth) * steps + bulge,
        parent.energy + curve,
        color=MUTED if first else GRID,
        linewidth=1.1 if first else 0.8,
        zorder=2 if first else 1,
    )


def _mark(axes: Axes, node: PhaseNode) -> None:
    stable = node.is_stable
    known = node.lowest_frequency is not None
    axes.plot(
        [node.depth],
        [node.energy],
        linestyle="none",
        marker=("o" if stable else "s") if known else "x",
        markersize=6.0,
        markerfacecolor=_STABLE if stable else "none",
        markeredgecolor=_STABLE if stable else _UNSTABLE,
        markeredgewidth=1.3,
        zorder=4,
    )


def _legend_entries(axes: Axes, nodes: Sequence[PhaseNode]) -> None:
    """Add an invisible point for each kind of phase that is drawn."""
    kinds = (
        ("stable", _STABLE, "o", _STABLE, [n for n in nodes if n.is_stable]),
        (
            "imaginary modes left",
            _UNSTABLE,
            "s",
            "none",
            [n for n in nodes if not n.is_stable and n.lowest_frequency is not None],
        ),
        ("no phonons", _UNSTABLE, "x", "none", [n for n in nodes if n.lowest_frequency is None]),
    )
    for label, edge, marker, face, members in kinds:
        if members:
            style: dict[str, Any] = {
                "markerfacecolor": face,
                "markeredgecolor": edge,
                "markeredgewidth": 1.3,
            }
            axes.plot([], [], linestyle="none", marker=marker, markersize=6.0, label=label, **style)


def _name_phases(axes: Axes, document: TransitionDocument) -> None:
    """Write space groups beside the phases, where no pathway runs, moved apart where they overlap.

    Pathways come from above on the left and leave to the right: a phase that is followed has its
    name on the lower left, another on the right, the root above.
    """
    low, high = axes.get_ylim()
    parents = {branch.parent for branch in document.branches if branch.child is not None}
    root, *rest = document.nodes
    axes.annotate(
        space_group_text(root.space_group),
        (0, root.energy),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        fontsize=TEXT,
        color=INK,
    )
    for depth in {node.depth for node in rest}:
        for followed in (True, False):
            level = [n for n in rest if n.depth == depth and (n.id in parents) == followed]
            level.sort(key=lambda node: node.energy)
            room = _ROOM * (high - low)
            wanted = np.array([n.energy for n in level]) - 0.3 * followed * room
            floor = low + room * (0.5 + np.arange(len(level)))
            for node, y in zip(level, np.maximum(spread_out(wanted, room), floor), strict=True):
                _name_phase(axes, node, (depth + (-0.07 if followed else 0.11), y), followed)


def _name_phase(axes: Axes, node: PhaseNode, place: tuple[float, float], left: bool) -> None:
    """Write the space group of a phase at a place, on its left or right, with a line to its mark."""
    line = {"arrowstyle": "-", "color": GRID, "linewidth": 0.6, "shrinkB": 5}
    axes.annotate(
        space_group_text(node.space_group),
        (node.depth, node.energy),
        xytext=place,
        va="center",
        ha="right" if left else "left",
        fontsize=TEXT,
        color=INK,
        arrowprops={**line, "relpos": (float(left), 0.5)},
        zorder=5,
    )


def spread_out(places: FloatArray, room: float) -> FloatArray:
    """Return ascending places moved apart to at least ``room``, as little as may be.

    Overlapping places join to blocks that stay centred on what they wanted (isotonic regression).

    Parameters
    ----------
    places
        shape (n,), ascending.
    room
        Least distance.
    """
    offsets = room * np.arange(len(places))
    blocks: list[list[float]] = []
    for value in places - offsets:
        blocks.append([float(value)])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    flat = [np.mean(block) for block in blocks for _ in block]
    return np.asarray(np.array(flat) + offsets)


def plot_pathways(document: TransitionDocument, parent: int = 0, width: float = NARROW) -> Figure:
    """Draw E(λ) from one phase to those its modes lead to: cell and ions on a straight line.

    Parameters
    ----------
    document
        The tree.
    parent
        Id of the phase the pathways start from.
    width
        Width of the figure, inch.
    """
    figure = new_figure(width, 0.75 * width)
    axes = figure.subplots()
    axes.axhline(0.0, color=MUTED, linewidth=0.7, zorder=1)
    arrays = document.data.arrays()
    number = 0
    for index, curve in zip(arrays["path_branches"], arrays["path_energies"], strict=True):
        branch = document.branches[int(index)]
        if branch.parent != parent:
            continue
        axes.plot(
            arrays["path_lambda"],
            curve,
            color=_CURVES[number % len(_CURVES)],
            linestyle=_DASHES[number // len(_CURVES) % len(_DASHES)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=3.2,
            linewidth=1.2,
            label=pathway_label(document, branch),
            zorder=3,
        )
        number += 1
    axes.margins(x=0.02)
    dress(axes, "λ (0: parent, 1: relaxed phase)", "E − E(parent) (meV/f.u.)")
    legend_above(figure, axes, 1 if number < 4 else 2)
    return figure


def pathway_label(document: TransitionDocument, branch: PhaseBranch) -> str:
    """Return where a branch leads and by which mode, e.g. ``P4mm by T1u (a00) at 0 0 0``."""
    q = " ".join(f"{x + 0.0:.3g}" for x in branch.q)
    name = branch.irrep or "mode"
    direction = f" ({branch.direction})" if branch.direction else ""
    target = document.nodes[branch.parent if branch.child is None else branch.child]
    return f"{space_group_text(target.space_group)}: {name}{direction} at {q}"


def space_group_text(symbol: str) -> str:
    r"""Return a Hermann-Mauguin symbol for mathtext: italic letters, bars, subscripts.

    ``P-42_1m`` becomes ``$P\bar{4}2_{1}m$``.
    """
    text = ""
    characters = iter(symbol)
    for character in characters:
        if character == "-":
            text += rf"\bar{{{next(characters)}}}"
        elif character == "_":
            text += f"_{{{next(characters)}}}"
        else:
            text += character
    return f"${text}$"
