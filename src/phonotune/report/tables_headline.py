"""The numbers that a reader looks at first: headline of a material, overview of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phonotune.physics.compare import PropertySet, headline, headline_error_bars
from phonotune.report.bundle import MaterialReport
from phonotune.report.style import source_label
from phonotune.report.tables import ABSENT, Cell, Row, Table, field_cell, measured, number, percent
from phonotune.report.tables_transitions import plain_space_group
from phonotune.schemas.base import Source
from phonotune.schemas.comparison import Deviations, Properties
from phonotune.schemas.kinds import property_kinds, value_at
from phonotune.schemas.transition import TransitionDocument


def properties_of(material: MaterialReport, source: Source) -> Properties:
    """Return the headline numbers of one Source: those compared, else those of its own Documents."""
    comparison = material.comparison
    if comparison is not None:
        compared = {comparison.reference: comparison.reference_properties}
        compared |= {row.source: row.properties for row in comparison.rows}
        if source in compared:
            return compared[source]
    return headline(_own_documents(material, source))


def error_bars_of(material: MaterialReport, source: Source) -> Properties:
    """Return the standard deviations of the headline numbers; None in every field of one model."""
    rows = material.comparison.rows if material.comparison is not None else []
    compared = next((row.error_bars for row in rows if row.source == source), None)
    found = compared or headline_error_bars(_own_documents(material, source))
    return found or Properties()


def _own_documents(material: MaterialReport, source: Source) -> PropertySet:
    return PropertySet.of([d for d in material.properties if d.source == source], source)


def deviations_of(material: MaterialReport, source: Source) -> Deviations:
    """Return the deviations of one Source; all None for the reference or without a comparison."""
    rows = material.comparison.rows if material.comparison is not None else []
    return next((r.deviations for r in rows if r.source == source), Deviations())


@dataclass(frozen=True)
class _Column:
    """One Source in the headline table."""

    numbers: Properties
    bars: Properties
    deviations: Deviations


def headline_table(material: MaterialReport) -> Table:
    """Return reference, untuned and tuned side by side; a row that nobody has is left out."""
    sources = material.sources
    columns = [
        _Column(properties_of(material, s), error_bars_of(material, s), deviations_of(material, s))
        for s in sources
    ]
    deviations = [column.deviations for column in columns]
    rows = [
        _model_row("Frequency MAE, zone", "THz", [d.frequency_mae for d in deviations]),
        _model_row("Frequency error, largest", "THz", [d.frequency_max for d in deviations]),
        _model_row("DOS error", "%", [d.dos_error for d in deviations]),
        _model_row("Force MAE, validation", "meV/Å", [_force_mae(material, s) for s in sources]),
        _imaginary_row(deviations),
        _soft_row(material, columns),
        _row(columns, "Highest mode", "THz", "highest_frequency", "highest_frequency_bias"),
        _row(columns, "Double-well depth", "meV/f.u.", "well_depth"),
        _row(columns, "Double-well Q₀", "Å·√amu", "well_q0"),
        _row(columns, "Bulk modulus (Hill)", "GPa", "bulk_modulus"),
        _row(columns, "Shear modulus (Hill)", "GPa", "shear_modulus"),
        _row(columns, "Cᵥ at 300 K", "J/K/mol", "heat_capacity_300"),
        *_beyond_rows(material, deviations),
    ]
    return Table(
        heads=tuple((s.role, s.evaluator) for s in sources),
        rows=tuple(r for r in rows if any(c.value != ABSENT for c in r.cells)),
    )


def _beyond_rows(material: MaterialReport, deviations: Sequence[Deviations]) -> list[Row]:
    """Return the headline numbers that have no row above: one for each brief column of the kinds."""
    rows = []
    for kind in property_kinds().values():
        documents = {d.source: d for d in material.properties if d.kind == kind.name}
        for column in kind.columns:
            if not column.brief or column.field:
                continue
            cells = []
            for source, deviation in zip(material.sources, deviations, strict=True):
                document = documents.get(source)
                if document is None:
                    cells.append(Cell(ABSENT))
                elif isinstance(document, TransitionDocument):
                    cells.append(phase_cell(document))
                else:
                    path = column.deviation or f"others.{kind.name}.{column.path}"
                    note = percent(value_at(deviation, path))
                    scale = 10.0**-column.exponent
                    cells.append(field_cell(document, column.path, scale, note))
            name = column.label[:1].upper() + column.label[1:]
            rows.append(Row(name, column.unit.replace("1e-6", "10⁻⁶"), tuple(cells)))
    return rows


def phase_cell(tree: TransitionDocument) -> Cell:
    """Return the energy of the lowest phase of a tree, below its root, and its space group."""
    lowest = tree.ground_state
    return Cell(number(lowest.energy), plain_space_group(lowest.space_group))


def _force_mae(material: MaterialReport, source: Source) -> float | None:
    if source.role == "untuned" and material.trainings:
        return material.trainings[0].metrics.valid_before.forces_mae
    training = material.training_of(source)
    return training.metrics.valid_after.forces_mae if training is not None else None


def _model_row(name: str, unit: str, values: list[float | None]) -> Row:
    found = [v for v in values if v is not None]
    best = min(found) if len(found) > 1 else None
    cells = (Cell(number(v), good=True if v is not None and v == best else None) for v in values)
    return Row(name, unit, tuple(cells))


def _row(columns: Sequence[_Column], name: str, unit: str, field: str, deviation: str = "") -> Row:
    cells = (
        Cell(
            measured(getattr(c.numbers, field), getattr(c.bars, field)),
            percent(getattr(c.deviations, deviation or field)),
        )
        for c in columns
    )
    return Row(name, unit, tuple(cells))


def _soft_row(material: MaterialReport, columns: Sequence[_Column]) -> Row:
    threshold = material.phonons[0].imaginary_threshold if material.phonons else 0.0
    cells = (
        Cell(
            measured(c.numbers.lowest_frequency, c.bars.lowest_frequency),
            "imaginary" if (c.numbers.lowest_frequency or 0.0) < threshold else "",
        )
        for c in columns
    )
    return Row("Lowest mode", "THz", tuple(cells))


def _imaginary_row(deviations: Sequence[Deviations]) -> Row:
    cells = []
    for deviation in deviations:
        counts = deviation.imaginary
        if counts is None:
            cells.append(Cell(ABSENT))
            continue
        wrong = counts.only_model + counts.only_reference
        note = (
            f"{counts.only_reference} missed, {counts.only_model} invented"
            if wrong
            else "none wrong"
        )
        cells.append(Cell(f"{counts.both} of {counts.both + counts.only_reference}", note))
    return Row("Imaginary modes found", "of the zone", tuple(cells))


def overview_table(materials: list[MaterialReport]) -> Table:
    """Return one row a material: errors untuned and best tuned, soft mode, well depth, labels."""
    rows = []
    for material in materials:
        tuned = [*material.tuned, *material.corrected]
        maes = [(deviations_of(material, s).frequency_mae, s) for s in tuned]
        ranked = sorted((m, source_label(s), s) for m, s in maes if m is not None)
        best = ranked[0][2] if ranked else (tuned[0] if tuned else None)
        untuned = next((s for s in material.sources if s.role == "untuned"), None)
        rows.append(Row(material.formula, "", _overview_cells(material, untuned, best)))
    heads = (
        ("Reference", ""),
        ("Frequency MAE", "untuned, THz"),
        ("Frequency MAE", "best tuned, THz"),
        ("Lowest mode", "reference, THz"),
        ("Lowest mode", "tuned, THz"),
        ("Well depth", "reference, meV/f.u."),
        ("Well depth", "tuned, meV/f.u."),
    )
    return Table(heads, tuple(rows))


def _overview_cells(
    material: MaterialReport, untuned: Source | None, best: Source | None
) -> tuple[Cell, ...]:
    reference = material.reference

    def mae(source: Source | None) -> Cell:
        found = deviations_of(material, source).frequency_mae if source else None
        return Cell(number(found), source.role if source and source is best else "")

    def value(source: Source | None, field: str) -> Cell:
        return Cell(number(getattr(properties_of(material, source), field) if source else None))

    return (
        Cell(reference.evaluator if reference else ABSENT),
        mae(untuned),
        mae(best),
        value(reference, "lowest_frequency"),
        value(best, "lowest_frequency"),
        value(reference, "well_depth"),
        value(best, "well_depth"),
    )
