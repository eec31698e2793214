"""A self-contained HTML page about one or many materials: no script, no request, light and dark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from phonotune.errors import InputError
from phonotune.report.bundle import MaterialReport
from phonotune.report.drawing import Section
from phonotune.report.figures import material_sections
from phonotune.report.lineage import LineageRow, lineage_rows, versions_of
from phonotune.report.style import CSS_NAMES, looks
from phonotune.report.surrogates import surrogate_notice, surrogates_among
from phonotune.report.table import Table, number
from phonotune.report.tables_headline import (
    deviations_of,
    headline_table,
    overview_table,
    properties_of,
)

NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_PLAIN: Final = {
    "C_v": "Cᵥ",
    "C_p": "C\u209a",
    "Q0": "Q₀",
    "Å·sqrt(amu)": "Å·√amu",
    "1e-6/K": "10⁻⁶/K",
}
"""Symbols as a terminal shows them, and as a page does."""
_MINUS: Final = re.compile(r"(?<![\w.)\]])-(?=[\d.])")


@dataclass(frozen=True)
class _Article:
    """What the template prints about one material."""

    id: str
    formula: Markup
    crystal: str
    reference: str
    surrogate: str | None
    potentials: dict[str, str]
    lead: str
    headline: Table
    sections: list[Section]
    lineage: list[LineageRow]
    versions: dict[str, tuple[str, ...]]


def render_report(
    materials: Sequence[MaterialReport], title: str = "Phonons, before and after fine-tuning"
) -> str:
    """Return one HTML page that shows everything in the bundles and loads nothing.

    Parameters
    ----------
    materials
        Bundles of :func:`phonotune.report.bundle.bundle_documents`; from two on an overview comes first.
    title
        Heading of the page; escaped, like every other text.

    Raises
    ------
    InputError
        If there is no material to report on.
    """
    if not materials:
        raise InputError(
            "There is nothing to report: no property, comparison, training or dataset document was "
            "found. Run `phonotune run` or `phonotune demo` first, or name another store."
        )
    articles = []
    colors: dict[str, str] = {}
    for count, material in enumerate(materials, start=1):
        prefix, reference = f"m{count}", material.reference
        for source, look in zip(material.sources, looks(material.sources), strict=True):
            colors.setdefault(source.role, CSS_NAMES[look.color])
        articles.append(
            _Article(
                id=prefix,
                formula=formula_markup(material.formula),
                crystal=_crystal_text(material),
                reference=reference.evaluator if reference else "",
                surrogate=surrogate_notice(reference.evaluator, reference.potential)
                if reference
                else None,
                potentials={s.evaluator: s.potential for s in material.sources if s.potential},
                lead=_lead(material),
                headline=headline_table(material),
                sections=material_sections(material, prefix),
                lineage=lineage_rows(material),
                versions=versions_of(material),
            )
        )
    references = [m.reference.evaluator for m in materials if m.reference is not None]
    references += [d.labeller for m in materials if m.reference is None for d in m.datasets]
    potentials = {s.evaluator: s.potential for m in materials for s in m.sources}
    try:
        own_version = version("phonotune")
    except PackageNotFoundError:
        own_version = "(from source)"
    folder = files("phonotune.report") / "templates"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["typeset"] = typeset
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        css=Markup((folder / "style.css").read_text(encoding="utf-8")),
        version=own_version,
        surrogates=surrogates_among(references, potentials),
        overview=overview_table(list(materials)) if len(materials) > 1 else None,
        materials=articles,
        colors=colors,
    )


def typeset(text: str) -> str:
    """Return the text of a table with true minus signs, and with subscripts and roots as in print."""
    text = _MINUS.sub("−", text)
    for plain, printed in _PLAIN.items():
        text = text.replace(plain, printed)
    return text


def formula_markup(formula: str) -> Markup:
    """Return a formula with its numbers set low: BaTiO3 -> ``BaTiO<sub>3</sub>``."""
    parts = re.split(r"(\d+(?:\.\d+)?)", formula)
    low = (Markup("<sub>{}</sub>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))
    return Markup("").join(low)


def _crystal_text(material: MaterialReport) -> str:
    structure = material.structure
    if structure is None:
        return ""
    symbol, group = structure.get_space_group_info(symprec=1e-3)
    a, b, c = structure.lattice.abc
    alpha, beta, gamma = structure.lattice.angles
    parts = [
        f"{symbol} (no. {group})",
        f"{len(structure)} atoms",
        f"a, b, c = {a:.3f}, {b:.3f}, {c:.3f} Å",
        f"α, β, γ = {alpha:.1f}, {beta:.1f}, {gamma:.1f}°",
        f"V = {structure.volume:.1f} Å³",
    ]
    if material.phonons:
        phonon = material.phonons[0]
        matrix = phonon.supercell_matrix
        cell = f"the supercell {[list(row) for row in matrix]}"
        if all(matrix[i][j] == 0 for i in range(3) for j in range(3) if i != j):
            cell = f"a {matrix[0][0]} × {matrix[1][1]} × {matrix[2][2]} supercell"
        parts.append(f"{phonon.n_displacements} displacements in {cell}")
    if material.material_id is not None:
        parts.append(f"id {material.material_id}")
    return " · ".join(part.replace(" ", NO_BREAK) for part in parts)


def _lead(material: MaterialReport) -> str:
    """Say in words what tuning changed; empty without a comparison of untuned and tuned."""
    tuned = [
        (deviation, source)
        for source in material.tuned
        if (deviation := deviations_of(material, source).frequency_mae) is not None
    ]
    untuned = next((s for s in material.sources if s.role == "untuned"), None)
    before = deviations_of(material, untuned).frequency_mae if untuned else None
    if not tuned or before is None:
        return ""
    after, best = min(tuned, key=lambda pair: pair[0])
    change = f"{before / after:.1f} times smaller" if 0 < after <= before else "not smaller"
    text = (
        f"Fine-tuning by {best.role} takes the mean error of the frequencies from {number(before, 3)} to "
        f"{number(after, 3)} THz, {change}."
    )
    corrected = [deviations_of(material, source).frequency_mae for source in material.corrected]
    if errors := [error for error in corrected if error is not None]:
        text += (
            " Residual force constants from labelled frames of the undeformed supercell take it to "
            f"{number(min(errors), 3)} THz."
        )
    lowest = {s.role: properties_of(material, s).lowest_frequency for s in material.sources}
    by_reference, by_tuned = lowest.get("reference"), lowest.get(best.role)
    if not material.phonons or by_reference is None or by_tuned is None:
        return text
    if min(by_reference, by_tuned) >= material.phonons[0].imaginary_threshold:
        return f"{text} Reference and tuned model agree that the crystal is dynamically stable."
    text += (
        f" The lowest mode lies at {number(by_reference, 2)} THz by the reference, "
        f"{number(by_tuned, 2)} THz by the tuned model"
    )
    if (by_untuned := lowest.get("untuned")) is not None:
        text += f", {number(by_untuned, 2)} THz before tuning"
    return f"{text}; negative means imaginary."
