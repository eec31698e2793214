"""The numbers of a report as rows of text: headline, elastic constants, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from phonotune.physics.compare import PropertySet, headline
from phonotune.report.bundle import MaterialReport
from phonotune.report.plots_mechanics import constant_label, distinct_constants, lowest_energy
from phonotune.report.style import source_label
from phonotune.schemas.base import Source
from phonotune.schemas.comparison import Deviations, Properties
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.forgetting import ForgettingProbe
from phonotune.schemas.training import ErrorMetrics
from phonotune.schemas.wells import WellDocument

ABSENT: Final = "–"
_ERRORS: Final = (
    ("Energy MAE", "meV/atom", "energy_mae"),
    ("Force MAE", "meV/Å", "forces_mae"),
    ("Stress MAE", "meV/Å³", "stress_mae"),
)


@dataclass(frozen=True)
class Cell:
    """One entry of a table: the value, and its deviation from the reference below it."""

    value: str
    note: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class Row:
    """A quantity with its unit, one Cell a column."""

    name: str
    unit: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Column heads (Sources' roles and names) and rows."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def number(value: float | None, digits: int = 3) -> str:
    """Return a number to this many significant digits with a true minus sign, or a dash for None."""
    if value is None:
        return ABSENT
    if value == 0.0:
        return "0"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:.{min(decimals, 4)}f}"
    return text.replace("-", "−")


def percent(value: float | None) -> str:
    """Return a signed deviation such as ``+3.2 %``, or nothing for None."""
    if value is None:
        return ""
    return f"{value:+.1f} %".replace("-", "−")


def properties_of(material: MaterialReport, source: Source) -> Properties:
    """Return the headline numbers of one Source: those compared, else those of its own Documents."""
    comparison = material.comparison
    if comparison is not None:
        compared = {comparison.reference: comparison.reference_properties}
        compared |= {row.source: row.properties for row in comparison.rows}
        if source in compared:
            return compared[source]
    return headline(
        PropertySet(
            source,
            phonon=next((d for d in material.phonons if d.source == source), None),
            elastic=next((d for d in material.elastics if d.source == source), None),
            well=next((d for d in material.wells if d.source == source), None),
        )
    )


def deviations_of(material: MaterialReport, source: Source) -> Deviations:
    """Return the deviations of one Source; all None for the reference or without a comparison."""
    rows = material.comparison.rows if material.comparison is not None else []
    return next((r.deviations for r in rows if r.source == source), Deviations())


def headline_table(material: MaterialReport) -> Table:
    """Return reference, untuned and tuned side by side; a row that nobody has is left out."""
    sources = material.sources
    compared = [(properties_of(material, s), deviations_of(material, s)) for s in sources]
    rows = [
        _model_row("Frequency MAE, zone", "THz", [d.frequency_mae for _, d in compared]),
        _model_row("Frequency error, largest", "THz", [d.frequency_max for _, d in compared]),
        _model_row("DOS error", "%", [d.dos_error for _, d in compared]),
        _model_row("Force MAE, validation", "meV/Å", [_force_mae(material, s) for s in sources]),
        _imaginary_row([d for _, d in compared]),
        _soft_row(material, [p for p, _ in compared]),
        _row(compared, "Highest mode", "THz", "highest_frequency", "highest_frequency_bias"),
        _row(compared, "Double-well depth", "meV/f.u.", "well_depth", "well_depth"),
        _row(compared, "Double-well Q₀", "Å·√amu", "well_q0", "well_q0"),
        _row(compared, "Bulk modulus (Hill)", "GPa", "bulk_modulus", "bulk_modulus"),
        _row(compared, "Shear modulus (Hill)", "GPa", "shear_modulus", "shear_modulus"),
        _row(compared, "Cᵥ at 300 K", "J/K/mol", "heat_capacity_300", "heat_capacity_300"),
    ]
    return Table(
        heads=tuple((s.role, s.evaluator) for s in sources),
        rows=tuple(r for r in rows if any(c.value != ABSENT for c in r.cells)),
    )


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


def _row(
    compared: list[tuple[Properties, Deviations]], name: str, unit: str, field: str, deviation: str
) -> Row:
    cells = (Cell(number(getattr(p, field)), percent(getattr(d, deviation))) for p, d in compared)
    return Row(name, unit, tuple(cells))


def _soft_row(material: MaterialReport, numbers: list[Properties]) -> Row:
    threshold = material.phonons[0].imaginary_threshold if material.phonons else 0.0
    cells = (
        Cell(
            number(p.lowest_frequency),
            "imaginary" if (p.lowest_frequency or 0.0) < threshold else "",
        )
        for p in numbers
    )
    return Row("Lowest mode", "THz", tuple(cells))


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


def well_table(material: MaterialReport) -> Table:
    """Return depth, Q0 and curvature of every followed mode and Source."""
    wells = material.wells
    rows = (
        Row("Mode", "q", tuple(Cell(q_text(w.q)) for w in wells)),
        Row("Depth", "meV/f.u.", tuple(Cell(number(w.depth), _range_note(w)) for w in wells)),
        Row(
            "Lowest computed point",
            "meV/f.u.",
            tuple(Cell(number(lowest_energy(w))) for w in wells),
        ),
        Row("Q₀", "Å·√amu", tuple(Cell(number(w.q0)) for w in wells)),
        Row("Curvature at Q = 0", "THz", tuple(Cell(number(w.curvature_frequency)) for w in wells)),
        Row(
            "Followed mode",
            "THz",
            tuple(Cell(number(w.mode_frequency), mode_owner(w)) for w in wells),
        ),
        Row("Largest misfit", "meV/f.u.", tuple(Cell(number(w.fit_residual, 2)) for w in wells)),
    )
    return Table(tuple((w.source.role, w.source.evaluator) for w in wells), rows)


def _range_note(well: WellDocument) -> str:
    return "" if well.minimum_in_range else "at the end of the grid"


def mode_owner(well: WellDocument) -> str:
    """Return the role of the Source whose eigenvector was followed."""
    own = well.mode_source.startswith("this evaluator")
    return well.source.role if own else well.mode_source


def q_text(q: tuple[float, float, float]) -> str:
    """Return the name of Γ, or the components of any other q-point."""
    return "Γ" if not any(q) else f"({', '.join(f'{component:.3g}' for component in q)})"


def elastic_table(material: MaterialReport) -> Table:
    """Return distinct elastic constants (relaxed ions) and moduli of every Source, GPa."""
    elastics = material.elastics
    if not elastics:
        return Table((), ())
    tensors = [np.asarray(e.elastic_tensor) for e in elastics]
    base = elastics[0]

    def against(values: list[float]) -> tuple[Cell, ...]:
        return tuple(
            Cell(number(v), percent(100.0 * (v / values[0] - 1.0)) if k and values[0] else "")
            for k, v in enumerate(values)
        )

    rows = [
        Row(constant_label(i, j), "GPa", against([float(t[i, j]) for t in tensors]))
        for i, j in distinct_constants(base)
    ]
    rows.append(Row("B (Hill)", "GPa", against([e.bulk_modulus for e in elastics])))
    rows.append(Row("G (Hill)", "GPa", against([e.shear_modulus for e in elastics])))
    rows += _polycrystal_rows(elastics)
    pressures = tuple(Cell(number(e.residual_pressure, 2)) for e in elastics)
    rows.append(Row("Residual pressure", "GPa", pressures))
    stable = tuple(
        Cell(
            "stable" if e.born_stable else "unstable",
            "at a saddle of the ions" if e.internal_instability else "",
        )
        for e in elastics
    )
    rows.append(Row("Born criteria", "", stable))
    return Table(tuple((e.source.role, e.source.evaluator) for e in elastics), tuple(rows))


def _polycrystal_rows(elastics: Sequence[ElasticDocument]) -> list[Row]:
    """Return what only a Born stable crystal has; a row that nobody has is left out."""
    fields = (
        ("Young's modulus (Hill)", "GPa", "young_modulus"),
        ("Poisson ratio (Hill)", "", "poisson_ratio"),
        ("Universal anisotropy", "", "universal_anisotropy"),
    )
    return [
        Row(name, unit, tuple(Cell(number(getattr(e, field))) for e in elastics))
        for name, unit, field in fields
        if any(getattr(e, field) is not None for e in elastics)
    ]


def error_table(material: MaterialReport) -> Table:
    """Return errors on validation and training frames, before (once) and after each training."""
    heads: list[tuple[str, str]] = []
    columns: list[tuple[ErrorMetrics, ErrorMetrics]] = []
    probes: list[ForgettingProbe | None] = []
    for training in material.trainings:
        model, metrics = training.model, training.metrics
        before = (metrics.valid_before, metrics.train_before)
        if before not in columns:
            heads.append(("untuned", model.foundation.name))
            columns.append(before)
            probes.append(None)
        heads.append((model.strategy or "untuned", model.foundation.name))
        columns.append((metrics.valid_after, metrics.train_after))
        probes.append(training.forgetting)
    rows = [
        Row(
            f"{name}, {part}",
            unit,
            tuple(Cell(number(getattr(column[index], field))) for column in columns),
        )
        for index, part in enumerate(("validation", "training"))
        for name, unit, field in _ERRORS
    ]
    return Table(tuple(heads), tuple(rows + _forgetting_rows(probes)))


def _forgetting_rows(probes: Sequence[ForgettingProbe | None]) -> list[Row]:
    """Return the deviation from the foundation on its probe, and the deepest hole; None: untuned."""
    found = next((probe for probe in probes if probe is not None), None)
    if found is None:
        return []

    def deviation(probe: ForgettingProbe | None, field: str, note: bool) -> Cell:
        if probe is None:
            return Cell(ABSENT)
        part = probe.overall
        share = f"{number(part.forces_relative, 2)} % of the foundation's" if note else ""
        return Cell(number(getattr(part, field)), share)

    def hole(probe: ForgettingProbe | None) -> Cell:
        depth = found.holes.deepest_before if probe is None else probe.holes.deepest_after
        return Cell(number(depth), (probe.holes.worst_pair or "") if probe is not None else "")

    return [
        Row("Forgetting, energy", "meV/atom", tuple(deviation(p, "energy", False) for p in probes)),
        Row("Forgetting, forces", "meV/Å", tuple(deviation(p, "forces", True) for p in probes)),
        Row("Forgetting, stress", "meV/Å³", tuple(deviation(p, "stress", False) for p in probes)),
        Row("Deepest hole in a pair's wall", "eV", tuple(hole(p) for p in probes)),
    ]


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
