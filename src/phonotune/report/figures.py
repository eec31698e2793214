"""The figures of one material as captioned drawings for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from phonotune.report.bundle import MaterialReport
from phonotune.report.drawing import Drawing, Section, draw
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
from phonotune.schemas.base import PropertyDocument, Source
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.schemas.kinds import load, property_kinds
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
    if material.trainings:
        sections.append(_training_section(material, prefix))
    return sections


def phonon_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return bands and DOS, the frequencies over the zone and the thermal properties."""
    zone = _zone(material, prefix)
    return [
        Section("phonons", "Phonons", (_bands(material, prefix),)),
        *([Section("zone", "Frequencies over the zone", zone)] if zone else []),
        Section("thermal", "Thermal properties", (_thermal(material, prefix),)),
    ]


def well_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return the potential along the soft modes and its numbers."""
    wells = tuple(_wells(material, prefix))
    return [Section("wells", "Double well", wells, well_table(*material.wells))]


def elastic_sections(material: MaterialReport, prefix: str) -> list[Section]:
    """Return the elastic constants: a figure and their numbers."""
    caption = "Distinct constants with relaxed ions, and bulk (B) and shear (G) moduli after Hill."
    figures = (plot_elastic(material.elastics),)
    drawing = draw(prefix, "elastic", "Elastic constants.", caption, figures)
    table = elastic_table(*material.elastics)
    return [Section("elastic", "Elastic constants", (drawing,), table)]


def _training_section(material: MaterialReport, prefix: str) -> Section:
    drawings: tuple[Drawing, ...] = (_parity(material, prefix), _history(material, prefix))
    if any(t.forgetting is not None for t in material.trainings):
        drawings += (_holes(material, prefix),)
    return Section("training", "Training", drawings, training_table(*material.trainings))


def _names(sources: Sequence[Source]) -> str:
    return ", ".join(source_label(s) for s in sources)


def _bands(material: MaterialReport, prefix: str) -> Drawing:
    phonons = material.phonons
    caption = (
        f"{_names([p.source for p in phonons])}. Lowest mode: "
        + "; ".join(f"{p.source.role} {number(p.lowest_frequency, 2)} THz" for p in phonons)
        + ". Imaginary frequencies are drawn as negative. "
        + ("With" if phonons[0].has_nac else "Without")
        + " the non-analytical term. DOS per primitive cell."
        + _spread_text(phonons)
    )
    wide = plot_bands_and_dos(phonons)
    narrow = (plot_bands(phonons, NARROW), plot_dos(phonons, NARROW))
    title = "Phonon bands and density of states."
    return draw(prefix, "bands", title, caption, (wide, *narrow))


def _zone(material: MaterialReport, prefix: str) -> tuple[Drawing, ...]:
    """Return the frequencies of models against the reference's, and the errors of the branches."""
    reference, *models = material.phonons
    if reference.source.role != "reference" or not models:
        return ()
    caption = (
        "Modes of the mesh, model against reference, evenly thinned where there are many; the dots "
        "grow with the weight of their q-point. Legend: mean absolute error of all modes, weighted. "
        "On the line: no error."
    )
    figures = (plot_frequencies(reference, models),)
    drawn = [draw(prefix, "frequencies", "Model against reference.", caption, figures)]
    comparison = _drawn_rows(material.comparison, [model.source for model in models])
    if comparison is not None:
        caption = "Mean absolute error of each branch, counted from below at every q-point."
        figures = (plot_branches(comparison),)
        drawn.append(draw(prefix, "branches", "Error by branch.", caption, figures))
    return tuple(drawn)


def _drawn_rows(
    comparison: ComparisonDocument | None, sources: Sequence[Source]
) -> ComparisonDocument | None:
    """Return the comparison with the rows of these sources only, None if no branch is left."""
    if comparison is None:
        return None
    rows = [r for r in comparison.rows if r.source in sources and r.deviations.branch_mae]
    return comparison.model_copy(update={"rows": rows}) if rows else None


def _spread_text(documents: Sequence[PropertyDocument]) -> str:
    """Return what the shades are, where a committee evaluated."""
    sizes = sorted({d.spread.n_members for d in documents if d.spread is not None})
    members = ", ".join(map(str, sizes))
    return f" Shaded: one standard deviation over a committee of {members}." if sizes else ""


def _thermal(material: MaterialReport, prefix: str) -> Drawing:
    phonons = material.phonons
    caption = (
        "Helmholtz energy F, entropy S and heat capacity Cᵥ per mole of formula units, harmonic."
    )
    if any(not p.is_stable for p in phonons):
        caption += " Imaginary modes are left out."
    caption += " Dotted: the limit of Dulong and Petit." + _spread_text(phonons)
    figures = (plot_thermal(phonons), plot_thermal(phonons, NARROW))
    return draw(prefix, "thermal", "Thermal properties.", caption, figures)


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


def _wells(material: MaterialReport, prefix: str) -> list[Drawing]:
    drawings = []
    for index, group in enumerate(well_groups(material.wells)):
        window = well_window(group)
        caption = (
            f"Mode at q = {q_text(group[0].q)} with the eigenvector of "
            f"{_joined(map(mode_owner, group))}; points: computed, lines: a polynomial, splined to the points. "
            + group[0].normalisation
            + (f". Cut at {number(window[1], 2)} meV/f.u." if window is not None else ".")
        )
        name = "well" if index == 0 else f"well{index + 1}"
        title = "Potential along the soft mode."
        drawings.append(draw(prefix, name, title, caption, (plot_well(group),)))
    return drawings


def _joined(words: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(words))


def _parity(material: MaterialReport, prefix: str) -> Drawing:
    trainings = material.trainings
    caption = (
        "Force components of the validation frames, predicted against reference, with their mean "
        "absolute error. On the line: no error."
    )
    return draw(prefix, "parity", "Force parity.", caption, (plot_parity(trainings),))


def _holes(material: MaterialReport, prefix: str) -> Drawing:
    caption = (
        "Energy of two atoms against their distance, zero when apart; linear within 1 eV, then "
        "logarithmic. A wall that falls again on going inwards is a hole."
    )
    found = [(t.forgetting, training_source(t)) for t in material.trainings]
    probes = [probe for probe, _ in found if probe is not None]
    sources = [source for probe, source in found if probe is not None]
    figures = (plot_hole_scan(probes, sources),)
    return draw(prefix, "holes", "Walls of the pairs.", caption, figures)


def _history(material: MaterialReport, prefix: str) -> Drawing:
    caption = (
        "Force error on the validation frames, and loss (thick: validation, thin: training). Epoch 0 and the "
        "dotted line: the untuned model; dot: the epoch that was kept."
    )
    figures = (plot_history(material.trainings),)
    return draw(prefix, "history", "Learning history.", caption, figures)
