"""The sections of a page about one material: captioned drawings and tables."""

from __future__ import annotations

from collections.abc import Sequence

from phonotune.dotted import load
from phonotune.report.bundle import MaterialReport
from phonotune.report.drawing import Section, draw
from phonotune.report.plots_comparison import plot_branches, plot_frequencies
from phonotune.report.plots_forgetting import plot_hole_scan
from phonotune.report.plots_mechanics import plot_elastic, plot_well, well_window
from phonotune.report.plots_phonon import plot_bands, plot_bands_and_dos, plot_dos, plot_thermal
from phonotune.report.plots_training import plot_history, plot_parity, training_source
from phonotune.report.style import NARROW
from phonotune.report.table import number, source_label
from phonotune.report.tables import (
    elastic_table,
    kind_table,
    mode_owner,
    q_text,
    training_table,
    well_table,
)
from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.kinds import property_kinds
from phonotune.schemas.wells import WellDocument


def material_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return the sections for which there are Documents, in the order of the page.

    Parameters
    ----------
    material
        Documents of one material.
    prefix
        Start of every id, unique in the page.
    """
    sections: list[Section] = []
    for kind in property_kinds().values():
        documents = [d for d in material.properties if d.kind == kind.name]
        if documents and kind.sections:
            sections += load(kind.sections)(material, prefix)
        elif documents:
            sections.append(Section(kind.name, kind.title, (), kind_table(kind, documents)))
    return sections + (training_sections(material, prefix) if material.trainings else [])


def phonon_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return bands and DOS, the frequencies over the zone and the thermal properties."""
    phonons = material.phonons
    caption = (
        f"{', '.join(source_label(p.source) for p in phonons)}. Lowest mode: "
        + "; ".join(f"{p.source.role} {number(p.lowest_frequency, 2)} THz" for p in phonons)
        + ". Imaginary frequencies are drawn as negative. "
        + ("With" if phonons[0].has_nac else "Without")
        + " the non-analytical term. DOS per primitive cell."
        + _spread_text(phonons)
    )
    narrow = (plot_bands(phonons, NARROW), plot_dos(phonons, NARROW))
    figures = (plot_bands_and_dos(phonons), *narrow)
    bands = draw(prefix, "bands", "Phonon bands and density of states.", caption, figures)
    sections = [Section("phonons", "Phonons", (bands,))]

    reference, *models = phonons
    if reference.source.role == "reference" and models:
        caption = (
            "Modes of the mesh, model against reference, evenly thinned where there are many; the dots "
            "grow with the weight of their q-point. Legend: mean absolute error of all modes, weighted. "
            "On the line: no error."
        )
        title = "Model against reference."
        drawn = (plot_frequencies(reference, models),)
        zone = [draw(prefix, "frequencies", title, caption, drawn)]
        sources = [model.source for model in models]
        compared = [] if material.comparison is None else material.comparison.rows
        rows = [r for r in compared if r.source in sources and r.deviations.branch_mae]
        if material.comparison is not None and rows:
            caption = "Mean absolute error of each branch, counted from below at every q-point."
            shown = material.comparison.model_copy(update={"rows": rows})
            drawn = (plot_branches(shown),)
            zone.append(draw(prefix, "branches", "Error by branch.", caption, drawn))
        sections.append(Section("zone", "Frequencies over the zone", tuple(zone)))

    caption = (
        "Helmholtz energy F, entropy S and heat capacity Cᵥ per mole of formula units, harmonic."
    )
    if any(not p.is_stable for p in phonons):
        caption += " Imaginary modes are left out."
    caption += " Dotted: the limit of Dulong and Petit." + _spread_text(phonons)
    pair = (plot_thermal(phonons), plot_thermal(phonons, NARROW))
    thermal = draw(prefix, "thermal", "Thermal properties.", caption, pair)
    return [*sections, Section("thermal", "Thermal properties", (thermal,))]


def _spread_text(documents: Sequence[PropertyDocument]) -> str:
    """Return what the shades are, where a committee evaluated."""
    sizes = sorted({d.spread.n_members for d in documents if d.spread is not None})
    members = ", ".join(map(str, sizes))
    return f" Shaded: one standard deviation over a committee of {members}." if sizes else ""


def well_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return the potential along the soft modes, one figure per q-point, and its numbers."""
    drawings = []
    for index, group in enumerate(well_groups(material.wells)):
        window = well_window(group)
        owners = " / ".join(dict.fromkeys(map(mode_owner, group)))
        caption = (
            f"Mode at q = {q_text(group[0].q)} with the eigenvector of {owners}; points: computed, "
            f"lines: a polynomial, splined to the points. {group[0].normalisation}"
            + (f". Cut at {number(window[1], 1)} meV/f.u." if window is not None else ".")
        )
        name = "well" if index == 0 else f"well{index + 1}"
        title = "Potential along the soft mode."
        drawings.append(draw(prefix, name, title, caption, (plot_well(group),)))
    return [Section("wells", "Double well", tuple(drawings), well_table(*material.wells))]


def well_groups(wells: Sequence[WellDocument]) -> list[list[WellDocument]]:
    """Group wells by followed q-point; within one figure each Source stands once."""
    groups: dict[tuple[object, int], list[WellDocument]] = {}
    for well in wells:
        q = tuple(round(component, 6) for component in well.q)
        place = 0
        while any(w.source == well.source for w in groups.get((q, place), [])):
            place += 1
        groups.setdefault((q, place), []).append(well)
    return list(groups.values())


def elastic_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return the elastic constants: a figure and their numbers."""
    caption = "Distinct constants with relaxed ions, and bulk (B) and shear (G) moduli after Hill."
    figures = (plot_elastic(material.elastics),)
    drawing = draw(prefix, "elastic", "Elastic constants.", caption, figures)
    table = elastic_table(*material.elastics)
    return [Section("elastic", "Elastic constants", (drawing,), table)]


def training_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return forces against their labels, the history, walls of pairs, and the errors."""
    trainings = material.trainings
    caption = (
        "Force components of the validation frames, predicted against reference, with their mean "
        "absolute error. On the line: no error."
    )
    drawings = [draw(prefix, "parity", "Force parity.", caption, (plot_parity(trainings),))]
    caption = (
        "Force error on the validation frames, and loss (thick: validation, thin: training). Epoch 0 and "
        "the dotted line: the untuned model; dot: the epoch that was kept."
    )
    drawings.append(
        draw(prefix, "history", "Learning history.", caption, (plot_history(trainings),))
    )
    probed = [(t.forgetting, training_source(t)) for t in trainings if t.forgetting is not None]
    if probed:
        caption = (
            "Energy of two atoms against their distance, zero when apart; linear within 1 eV, then "
            "logarithmic. A wall that falls again on going inwards is a hole."
        )
        probes, sources = zip(*probed, strict=True)
        figures = (plot_hole_scan(probes, sources),)
        drawings.append(draw(prefix, "holes", "Walls of the pairs.", caption, figures))
    return [Section("training", "Training", tuple(drawings), training_table(*trainings))]
