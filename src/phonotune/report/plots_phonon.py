"""Phonon figures: bands, density of states, thermal curves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from ase import units as ase_units
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phonotune.errors import InputError
from phonotune.physics.committee_spread import spread_arrays
from phonotune.physics.phonon.document import primitive_of
from phonotune.ports import FloatArray
from phonotune.report.error_bars import shade
from phonotune.report.style import (
    GRID,
    INK,
    MUTED,
    NARROW,
    TEXT,
    TUNED,
    WIDE,
    dress,
    legend_above,
    looks,
    new_figure,
)
from phonotune.report.table import source_label
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.sscha import SSCHADocument

Banded = PhononDocument | SSCHADocument
"""What has bands along a path."""
_GAS_CONSTANT: Final[float] = ase_units._k * ase_units._Nav
"""J/K/mol."""
_HATCHES: Final = (None, "////", "....")
"""Elements beyond the colours are told apart by these."""
_GREEK: Final = {"GAMMA": "Γ", "DELTA": "Δ", "SIGMA": "Σ", "LAMBDA": "Λ", "G": "Γ", "PI": "Π"}
_SUBSCRIPTS: Final = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def plot_bands(phonons: Sequence[PhononDocument], width: float = NARROW) -> Figure:
    """Draw the bands of several Sources over one path, THz; imaginary modes are negative.

    Parameters
    ----------
    phonons
        Documents of one crystal along one path, the one drawn lowest first.
    width
        Width of the figure, inch.
    """
    figure = new_figure(width, min(0.72 * width, 4.4))
    axes = figure.subplots()
    _draw_bands(axes, phonons)
    legend_above(figure, axes, 3)
    return figure


def plot_dos(
    phonons: Sequence[PhononDocument], width: float = NARROW, projected: bool = False
) -> Figure:
    """Draw the densities of states of several Sources (states/THz per primitive cell).

    Parameters
    ----------
    phonons
        Documents of one crystal, the one drawn lowest first.
    width
        Width of the figure, inch.
    projected
        Split the DOS of the first into its elements, stacked in the order of the cell.
    """
    figure = new_figure(width, 0.6 * width)
    axes = figure.subplots()
    if projected:
        _stack_elements(axes, phonons[0])
    for phonon, look in zip(phonons, looks([p.source for p in phonons]), strict=True):
        arrays = phonon.data.arrays()
        frequencies, total = arrays["dos_frequencies"], arrays["dos_total"]
        axes.plot(frequencies, total, label=source_label(phonon.source), **look.line)
        shade(axes, frequencies, total, spread_arrays(phonon).get("dos_total"), look)
        if phonon.source.role == "reference" and not projected:
            axes.fill_between(frequencies, total, color=look.color, alpha=0.1, linewidth=0)
    axes.axvline(0.0, color=MUTED, linewidth=0.7, zorder=1)
    axes.set_ylim(bottom=0.0)
    axes.margins(x=0)
    dress(axes, "Frequency (THz)", "DOS (states/THz)")
    legend_above(figure, axes, 3)
    return figure


def dos_by_element(phonon: PhononDocument) -> dict[str, FloatArray]:
    """Return the DOS of each element (states/THz per primitive cell), in the order of the cell.

    Raises
    ------
    InputError
        The document holds no projected DOS.
    """
    arrays = phonon.data.arrays()
    if "dos_projected" not in arrays:
        raise InputError(
            f"The phonons of {source_label(phonon.source)} hold no projected DOS; compute them anew."
        )
    found: dict[str, FloatArray] = {}
    elements = [site.specie.symbol for site in primitive_of(phonon)]
    for element, part in zip(elements, arrays["dos_projected"], strict=True):
        found[element] = found[element] + part if element in found else part
    return found


def _stack_elements(axes: Axes, phonon: PhononDocument) -> None:
    frequencies = phonon.data.arrays()["dos_frequencies"]
    low = np.zeros_like(frequencies)
    for index, (element, part) in enumerate(dos_by_element(phonon).items()):
        color, hatch = TUNED[index % len(TUNED)], _HATCHES[index // len(TUNED) % len(_HATCHES)]
        axes.fill_between(
            frequencies,
            low,
            low + part,
            facecolor=color,
            alpha=0.55,
            hatch=hatch,
            edgecolor=INK if hatch else "none",
            linewidth=0,
            label=element,
            zorder=1.5,
        )
        low = low + part


def plot_bands_and_dos(phonons: Sequence[PhononDocument], width: float = WIDE) -> Figure:
    """Draw bands and density of states beside each other on one frequency axis."""
    figure = new_figure(width, 0.44 * width)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3.4, 1.0))
    _draw_bands(left, phonons)
    for phonon, look in zip(phonons, looks([p.source for p in phonons]), strict=True):
        arrays = phonon.data.arrays()
        right.plot(arrays["dos_total"], arrays["dos_frequencies"], **look.line)
        deviation = spread_arrays(phonon).get("dos_total")
        shade(right, arrays["dos_total"], arrays["dos_frequencies"], deviation, look, upright=True)
        if phonon.source.role == "reference":
            right.fill_betweenx(
                arrays["dos_frequencies"], arrays["dos_total"], color=look.color, alpha=0.1, lw=0
            )
    right.axhline(0.0, color=MUTED, linewidth=0.7, zorder=1)
    right.set_xlim(left=0.0)
    dress(right, "DOS (states/THz)")
    right.tick_params(labelleft=False)
    legend_above(figure, left, 6)
    return figure


def plot_thermal(phonons: Sequence[PhononDocument], width: float = WIDE) -> Figure:
    """Draw F, S and C_v against T per mole of formula units; panels are stacked where narrow.

    The dotted line is the limit of Dulong and Petit, 3R per mole of atoms.
    """
    across = width > 1.5 * NARROW
    figure = new_figure(width, 0.33 * width if across else 1.5 * width)
    grid = figure.subplots(1 if across else 3, 3 if across else 1, sharex=True, squeeze=False)
    panels = grid.ravel()
    quantities = (
        ("helmholtz", "F (kJ/mol)"),
        ("entropy", "S (J/K/mol)"),
        ("heat_capacity", "C\u1d65 (J/K/mol)"),
    )
    for axes, (name, label) in zip(panels, quantities, strict=True):
        for phonon, look in zip(phonons, looks([p.source for p in phonons]), strict=True):
            arrays = phonon.data.arrays()
            axes.plot(
                arrays["temperatures"], arrays[name], label=source_label(phonon.source), **look.line
            )
            deviation = spread_arrays(phonon).get(name)
            shade(axes, arrays["temperatures"], arrays[name], deviation, look)
        axes.margins(x=0)
        dress(axes, "T (K)" if across or name == "heat_capacity" else "", label)
        axes.grid(axis="y", color=GRID, linewidth=0.5)
    _draw_classical_limit(panels[-1], phonons[0])
    legend_above(figure, panels[0], 6 if across else 3)
    return figure


def point_label(label: str) -> str:
    r"""Return the printed name of a q-point: ``GAMMA`` or ``\Gamma`` -> ``Γ``, ``X_1`` -> ``X₁``."""
    plain = re.sub(r"[${}\\]|mathrm", "", label).strip()
    name, _, index = plain.partition("_")
    return _GREEK.get(name.upper(), name) + index.translate(_SUBSCRIPTS)


def path_ticks(phonon: Banded) -> tuple[list[float], list[str]]:
    """Return positions and names of the labelled points; two names at a break become ``U|K``."""
    distances = phonon.data.arrays()["band_distances"]
    span = float(distances[-1] - distances[0]) or 1.0
    ticks: list[tuple[float, str]] = []
    for label in sorted(phonon.band_labels, key=lambda entry: entry.index):
        position, name = float(distances[label.index]), point_label(label.label)
        if ticks and position - ticks[-1][0] < 1e-6 * span:
            before = ticks[-1][1]
            ticks[-1] = (position, before if name == before else f"{before}|{name}")
        else:
            ticks.append((position, name))
    return [t[0] for t in ticks], [t[1] for t in ticks]


def path_segments(phonon: Banded) -> list[slice]:
    """Return one slice per continuous piece of path; no line is drawn from one to the next."""
    bounds = phonon.data.arrays()["band_segments"]
    return [slice(int(first), int(last) + 1) for first, last in bounds]


def broken_lines(phonon: Banded, onto: Banded, bands: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return all bands as one line, broken by NaN, on the path lengths of another Document.

    ``bands`` is the array of ``phonon`` that is drawn, shape (n_b, n_bands): frequencies, or their
    deviations.
    """
    segments, targets = path_segments(phonon), path_segments(onto)
    if len(segments) != len(targets):
        raise InputError(
            f"The bands of {source_label(phonon.source)} have {len(segments)} path segments, those of "
            f"{source_label(onto.source)} {len(targets)}; draw Documents of one path together."
        )
    arrays = phonon.data.arrays()
    axis = onto.data.arrays()["band_distances"]
    xs, ys = [], []
    for piece, target in zip(segments, targets, strict=True):
        own = arrays["band_distances"][piece]
        placed = np.interp(own, (own[0], own[-1]), (axis[target][0], axis[target][-1]))
        for band in bands[piece].T:
            xs.append(np.append(placed, np.nan))
            ys.append(np.append(band, np.nan))
    return np.concatenate(xs), np.concatenate(ys)


def _draw_bands(axes: Axes, phonons: Sequence[PhononDocument]) -> None:
    for phonon, look in zip(phonons, looks([p.source for p in phonons]), strict=True):
        x, y = broken_lines(phonon, phonons[0], phonon.data.arrays()["band_frequencies"])
        axes.plot(x, y, label=source_label(phonon.source), **look.line)
        deviations = spread_arrays(phonon).get("band_frequencies")
        if deviations is not None:
            shade(axes, x, y, broken_lines(phonon, phonons[0], deviations)[1], look)
    dress_path(axes, phonons[0])
    low, high = axes.get_ylim()
    if min(p.lowest_frequency for p in phonons) < phonons[0].imaginary_threshold:
        axes.axhspan(low, 0.0, color=MUTED, alpha=0.08, linewidth=0, zorder=0)
        axes.annotate(
            "imaginary",
            (1.0, low),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=TEXT - 1,
            color=MUTED,
            style="italic",
        )
    axes.set_ylim(low, high)


def dress_path(axes: Axes, phonon: Banded) -> None:
    """Put the labelled points of a path and the line of zero under bands that are drawn."""
    positions, names = path_ticks(phonon)
    for position in positions:
        axes.axvline(position, color=GRID, linewidth=0.7, zorder=0.5)
    axes.axhline(0.0, color=MUTED, linewidth=0.7, zorder=1)
    axes.margins(x=0)
    dress(axes, "", "Frequency (THz)")
    axes.set_xticks(positions, names, fontsize=TEXT if len(names) < 11 else TEXT - 2)
    axes.tick_params(axis="x", length=0)


def _draw_classical_limit(axes: Axes, phonon: PhononDocument) -> None:
    n_modes = phonon.data.arrays()["mesh_frequencies"].shape[1]
    limit = n_modes * _GAS_CONSTANT / phonon.formula_units
    axes.axhline(limit, color=MUTED, linewidth=0.9, linestyle=":", zorder=1)
    axes.set_ylim(top=1.12 * limit)
    axes.annotate(
        "3R per mole of atoms",
        (0.98, limit),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=TEXT - 1,
        color=INK,
    )
