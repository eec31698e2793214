"""What a reader looks at first: models beside the reference, their deviations, several materials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from phonotune.physics.compare import PropertySet, headline, headline_error_bars
from phonotune.report.bundle import MaterialReport
from phonotune.report.table import (
    Cell,
    Row,
    Table,
    bars_note,
    measured_in,
    number,
    percent,
    sentence,
    source_label,
)
from phonotune.report.tables_transitions import plain_space_group
from phonotune.schemas.base import Source
from phonotune.schemas.columns import ABSENT, Column, value_at
from phonotune.schemas.comparison import ComparisonDocument, ComparisonRow, Deviations, Properties
from phonotune.schemas.kinds import Kind, compared_kinds
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


def comparison_table(comparison: ComparisonDocument) -> Table:
    """Return the few numbers of a comparison that come first: one row per model, for the terminal."""
    material = MaterialReport(formula=comparison.formula, comparison=comparison)
    table = headline_table(material, brief=True).turned()
    return replace(table, caption=_missing_note(comparison).lstrip())


def _missing_note(comparison: ComparisonDocument | None) -> str:
    """Return which properties have no result although they should have been compared; empty if none."""
    missing = comparison.missing if comparison is not None else []
    return f" Missing, since their jobs failed: {'; '.join(missing)}." if missing else ""


def headline_table(material: MaterialReport, *, brief: bool = False) -> Table:
    """Return reference, untuned and tuned side by side; a row that nobody has is left out.

    The errors of each kind's brief comparison come first, then its headline numbers, each with its
    deviation from the reference. ``brief`` leaves all but the brief columns of the kinds out.
    """
    sources = material.sources
    numbers = [properties_of(material, source) for source in sources]
    bars = [error_bars_of(material, source) for source in sources]
    deviations = [deviations_of(material, source) for source in sources]
    compared = (
        {} if material.comparison is None else {r.source: r for r in material.comparison.rows}
    )
    rows = [
        _error_row(shown, [shown.value(compared.get(source)) for source in sources])
        for kind in compared_kinds().values()
        if kind.comparison is not None
        for shown in kind.comparison.columns
        if shown.brief
    ]
    force_error = Column("metrics.valid_after.forces_mae", "force MAE, validation", 2)
    forces = _error_row(force_error, [_force_mae(material, s) for s in sources], "meV/Å")
    if not brief:
        rows += [forces, _imaginary_row(deviations)]
    rows += [
        _value_row(material, kind, shown, numbers, bars)
        for kind in compared_kinds().values()
        for shown in kind.columns
        if shown.brief or (shown.field and not brief)
    ]
    return Table(
        heads=tuple((s.role, s.evaluator) for s in sources),
        rows=tuple(r for r in rows if any(c.value != ABSENT for c in r.cells)),
        title=f"{material.formula}: reference and models",
        caption="Reference, untuned and tuned. With a value: its deviation from the reference. Bold: "
        f"the smallest error.{bars_note(material.properties)}{_missing_note(material.comparison)}",
    )


def _error_row(shown: Column, values: list[float | None], unit: str | None = None) -> Row:
    """Return errors of models, the smallest marked."""
    found = [v for v in values if v is not None]
    best = min(found) if len(found) > 1 else None
    cells = (Cell(number(v, shown.digits), good=v is not None and v == best) for v in values)
    return Row(sentence(shown.label), shown.unit if unit is None else unit, tuple(cells))


def _value_row(
    material: MaterialReport,
    kind: Kind,
    shown: Column,
    numbers: list[Properties],
    bars: list[Properties],
) -> Row:
    """Return a headline number of every Source, with its error bar and its deviation."""
    path = shown.field or f"others.{kind.name}.{shown.path}"
    deviation = shown.deviation or path
    thresholds = [p.imaginary_threshold for p in material.phonons]
    documents = {d.source: d for d in material.properties if d.kind == kind.name}
    cells = []
    for source, own, spread in zip(material.sources, numbers, bars, strict=True):
        value, bar = value_at(own, path), value_at(spread, path)
        document = documents.get(source)
        if value is None and document is not None:  # not compared
            value = shown.value(document)
            bar = None if document.spread is None else document.spread.numbers.get(shown.path)
        if shown.field == "lowest_frequency":
            soft = value is not None and value < (thresholds[0] if thresholds else 0.0)
            note = "imaginary" if soft else ""
        elif isinstance(document, TransitionDocument):
            note = plain_space_group(document.ground_state.space_group)
        else:
            note = percent(value_at(deviations_of(material, source), deviation))
        cells.append(Cell(measured_in(shown, value, bar), note))
    return Row(sentence(shown.label), shown.unit, tuple(cells))


def _force_mae(material: MaterialReport, source: Source) -> float | None:
    if source.role == "untuned" and material.trainings:
        return material.trainings[0].metrics.valid_before.forces_mae
    training = material.training_of(source)
    return training.metrics.valid_after.forces_mae if training is not None else None


def _imaginary_row(deviations: list[Deviations]) -> Row:
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


def deviation_table(comparison: ComparisonDocument) -> Table:
    """Return every deviation of every model from the reference; a row that nobody has is left out."""
    rows = [
        row
        for kind in compared_kinds().values()
        if kind.comparison is not None
        for shown in kind.comparison.columns
        for row in _deviation_rows(shown, comparison.rows)
    ]
    return Table(
        heads=tuple((row.source.role, row.source.evaluator) for row in comparison.rows),
        rows=tuple(r for r in rows if any(c.value != ABSENT for c in r.cells)),
        title=f"{comparison.formula}: model minus reference · {comparison.reference.evaluator}",
    )


def _deviation_rows(shown: Column, compared: list[ComparisonRow]) -> Iterator[Row]:
    """Yield the row of a column; of several numbers by name, those of equal deviations share a row.

    Elastic constants are such numbers: symmetry makes many of them equal.
    """
    values = [shown.value(row) for row in compared]
    named = [value for value in values if isinstance(value, Mapping)]
    if not named:
        yield Row(shown.label, shown.unit, tuple(Cell(shown.number(value)) for value in values))
        return
    grouped: dict[tuple[str, ...], list[str]] = {}
    for name in sorted({name for numbers in named for name in numbers}):
        texts = tuple(shown.number(None if v is None else v.get(name)) for v in values)
        grouped.setdefault(texts, []).append(name)
    for texts, equal in grouped.items():
        yield Row(" ".join(equal), shown.unit, tuple(map(Cell, texts)))


def overview_table(materials: list[MaterialReport]) -> Table:
    """Return one row per material: errors untuned and best tuned, soft mode, well depth, labels."""
    rows = []
    for material in materials:
        tuned = [*material.tuned, *material.corrected]
        maes = [(deviations_of(material, s).frequency_mae, s) for s in tuned]
        ranked = sorted((m, source_label(s), s) for m, s in maes if m is not None)
        best = ranked[0][2] if ranked else (tuned[0] if tuned else None)
        untuned = next((s for s in material.sources if s.role == "untuned"), None)
        reference = material.reference
        cells = [Cell(reference.evaluator if reference else ABSENT)]
        for source in (untuned, best):
            mae = deviations_of(material, source).frequency_mae if source else None
            cells.append(Cell(number(mae, 3), source.role if source and source is best else ""))
        for field in ("lowest_frequency", "well_depth"):
            for source in (reference, best):
                value = getattr(properties_of(material, source), field) if source else None
                cells.append(Cell(number(value, 2)))
        rows.append(Row(material.formula, "", tuple(cells)))
    heads = (
        ("Reference", ""),
        ("Frequency MAE", "untuned, THz"),
        ("Frequency MAE", "best tuned, THz"),
        ("Lowest mode", "reference, THz"),
        ("Lowest mode", "tuned, THz"),
        ("Well depth", "reference, meV/f.u."),
        ("Well depth", "tuned, meV/f.u."),
    )
    return Table(heads, tuple(rows), corner="Material")
