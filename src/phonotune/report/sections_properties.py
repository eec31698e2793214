"""Sections of the page about thermal expansion, thermal conductivity and phase transitions."""

from __future__ import annotations

from dataclasses import replace

from phonotune.report.bundle import MaterialReport
from phonotune.report.drawing import Drawing, Section, draw
from phonotune.report.plots_thermal import plot_conductivity, plot_quasi_harmonic
from phonotune.report.plots_transitions import plot_pathways, plot_phase_tree
from phonotune.report.style import NARROW
from phonotune.report.table import source_label
from phonotune.report.tables_thermal import conductivity_table, expansion_table
from phonotune.report.tables_transitions import branch_table, phase_name, phase_table
from phonotune.schemas.thermal import ConductivityDocument, QuasiHarmonicDocument
from phonotune.schemas.transition import TransitionDocument

MOST_PATHWAYS = 4
"""Phases whose pathways are drawn, the root first."""
MOST_SMALL = 6
"""Phases of a tree that is drawn small, beside the pathways from its root."""


def expansion_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return the quasi-harmonic properties: a figure of four panels and their numbers."""
    documents = material.of(QuasiHarmonicDocument)
    first = documents[0]
    caption = (
        f"Phonons at {len(first.lowest_frequencies)} volumes of one shape, no pressure, "
        + ("with" if first.has_nac else "without")
        + " the non-analytical term. Heat capacities per mole of formula units. Curves end where the "
        "volume leaves the planned range. Dots: mode Grüneisen parameters at the volume of 300 K."
    )
    figures = (plot_quasi_harmonic(documents), plot_quasi_harmonic(documents, NARROW))
    drawing = draw(prefix, "expansion", "Quasi-harmonic properties.", caption, figures)
    return [Section("expansion", "Thermal expansion", (drawing,), expansion_table(*documents))]


def conductivity_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return the lattice thermal conductivity: κ(T) and its numbers."""
    documents = material.of(ConductivityDocument)
    caption = (
        "Lattice part, mean of the diagonal, relaxation-time approximation of third-order force "
        "constants."
    )
    drawing = draw(
        prefix,
        "conductivity",
        "Lattice thermal conductivity.",
        caption,
        (plot_conductivity(documents),),
    )
    title = "Lattice thermal conductivity"
    return [Section("conductivity", title, (drawing,), conductivity_table(*documents))]


def transition_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return two sections per tree: its phases, and the directions that were followed."""
    sections = []
    for index, tree in enumerate(material.of(TransitionDocument)):
        suffix = "" if index == 0 else str(index + 1)
        sections.append(_phases(tree, prefix, suffix))
        if tree.branches:
            sections.append(_directions(tree, prefix, suffix))
    return sections


def _phases(tree: TransitionDocument, prefix: str, suffix: str) -> Section:
    caption = (
        f"{source_label(tree.source)}. Filled circles: stable; open squares: imaginary modes left; "
        "crosses: no phonons. Lines: the computed energy from each phase to those its modes lead to."
    )
    small = len(tree.nodes) <= MOST_SMALL
    wide = () if small else (plot_phase_tree(tree),)
    figures = (*wide, plot_phase_tree(tree, NARROW))
    drawings = [draw(prefix, f"tree{suffix}", "Tree of phases.", caption, figures)]
    if small and 0 in _starts(tree):
        drawings.append(_pathways(tree, 0, prefix, suffix))
    title = f"Phase transitions, {source_label(tree.source)}"
    return Section(f"transitions{suffix}", title, tuple(drawings), phase_table(tree))


def _starts(tree: TransitionDocument) -> list[int]:
    """Return the phases that pathways start from, ascending."""
    return sorted({tree.branches[int(i)].parent for i in tree.data.arrays()["path_branches"]})


def _directions(tree: TransitionDocument, prefix: str, suffix: str) -> Section:
    shown_above = len(tree.nodes) <= MOST_SMALL
    starts = [start for start in _starts(tree) if start != 0 or not shown_above]
    drawn = starts[:MOST_PATHWAYS]
    drawings = tuple(_pathways(tree, parent, prefix, suffix) for parent in drawn)
    table = branch_table(tree)
    if len(starts) > MOST_PATHWAYS:
        drawn_only = f" Pathways of the first {MOST_PATHWAYS} of {len(starts)} phases are drawn."
        table = replace(table, caption=table.caption + drawn_only)
    return Section(f"modes{suffix}", "Modes followed", drawings, table)


def _pathways(tree: TransitionDocument, parent: int, prefix: str, suffix: str) -> Drawing:
    name = phase_name(tree.nodes[parent])
    caption = "Cell and positions on the straight line to the relaxed phase, per formula unit."
    return draw(
        prefix,
        f"pathways{suffix}-{parent}",
        f"Pathways from {name}.",
        caption,
        (plot_pathways(tree, parent),),
    )
