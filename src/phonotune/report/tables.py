"""The numbers of a report as rows of text: what tables are made of; wells, elastic constants, errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from phonotune.physics.committee_spread import spread_arrays
from phonotune.report.bundle import MaterialReport
from phonotune.report.plots_mechanics import constant_label, distinct_constants, lowest_energy
from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.forgetting import ForgettingProbe
from phonotune.schemas.kinds import Kind, value_at
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
    """Column heads (Sources' roles and names), rows, and what the names of the rows are."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    corner: str = "Quantity"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number to this many significant digits with a true minus sign, or a dash for None."""
    if value is None:
        return ABSENT
    if value == 0.0:
        return "0"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:.{min(decimals, 4)}f}"
    return text.replace("-", "−")


def measured(value: float | None, bar: float | None, digits: int = 3) -> str:
    """Return a number with one standard deviation after a ±, where a committee gives one.

    The deviation has two significant digits and the number as many decimals, four at most.
    """
    if value is None or bar is None:
        return number(value, digits)
    if bar == 0.0:
        return f"{number(value, digits)} ± 0"
    decimals = min(4, max(0, 1 - int(np.floor(np.log10(bar)))))
    return f"{value:.{decimals}f} ± {bar:.{decimals}f}".replace("-", "−")


def field_cell(
    document: PropertyDocument, name: str, scale: float = 1.0, note: str = "", digits: int = 3
) -> Cell:
    """Return a Document's number, its error bar with it.

    Parameters
    ----------
    document
        The Document.
    name
        Of the field; a dot leads into a part.
    scale
        What to multiply by, for another unit.
    note
        What stands below.
    digits
        Significant digits where there is no error bar.
    """
    value = value_at(document, name)
    spread = None if document.spread is None else document.spread.numbers.get(name)
    scaled = None if value is None else scale * value
    return Cell(measured(scaled, None if spread is None else abs(scale) * spread, digits), note)


def bars_note(documents: Iterable[PropertyDocument]) -> str:
    """Return what a ± is, where a committee evaluated; else nothing."""
    sizes = sorted({d.spread.n_members for d in documents if d.spread is not None})
    members = ", ".join(map(str, sizes))
    return f" ±: one standard deviation over a committee of {members}." if sizes else ""


def source_heads(documents: Iterable[PropertyDocument]) -> tuple[tuple[str, str], ...]:
    """Return one column head per Document: role and evaluator."""
    return tuple((d.source.role, d.source.evaluator) for d in documents)


def percent(value: float | None) -> str:
    """Return a signed deviation such as ``+3.2 %``, or nothing for None."""
    if value is None:
        return ""
    return f"{value:+.1f} %".replace("-", "−")


def kind_table(kind: Kind, documents: Sequence[PropertyDocument]) -> Table:
    """Return the headline numbers of a kind, one row each, one column per Source."""
    rows = tuple(
        Row(
            column.label[:1].upper() + column.label[1:],
            column.unit,
            tuple(field_cell(d, column.path, 10.0**-column.exponent) for d in documents),
        )
        for column in kind.columns
    )
    return Table(source_heads(documents), rows)


def well_table(material: MaterialReport) -> Table:
    """Return depth, Q0 and curvature of every followed mode and Source."""
    wells = material.wells
    rows = (
        Row("Mode", "q", tuple(Cell(q_text(w.q)) for w in wells)),
        Row("Depth", "meV/f.u.", tuple(field_cell(w, "depth", note=_range_note(w)) for w in wells)),
        Row(
            "Lowest computed point",
            "meV/f.u.",
            tuple(Cell(number(lowest_energy(w))) for w in wells),
        ),
        Row("Q₀", "Å·√amu", tuple(field_cell(w, "q0") for w in wells)),
        Row(
            "Curvature at Q = 0", "THz", tuple(field_cell(w, "curvature_frequency") for w in wells)
        ),
        Row(
            "Followed mode",
            "THz",
            tuple(Cell(number(w.mode_frequency), mode_owner(w)) for w in wells),
        ),
        Row("Largest misfit", "meV/f.u.", tuple(Cell(number(w.fit_residual, 2)) for w in wells)),
        *_dropped_rows(wells),
    )
    return Table(source_heads(wells), rows)


def _dropped_rows(wells: Sequence[WellDocument]) -> list[Row]:
    """Return how many directions were left out; no row where none was."""
    if not any(w.dropped_directions for w in wells):
        return []
    cells = (Cell(str(len(w.dropped_directions))) for w in wells)
    return [Row("Directions left out", "beyond the most", tuple(cells))]


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
    rows = [
        Row(constant_label(i, j), "GPa", _against_first(*_constants(elastics, i, j)))
        for i, j in distinct_constants(elastics[0])
    ]
    for name, field in (("B (Hill)", "bulk_modulus"), ("G (Hill)", "shear_modulus")):
        values = [getattr(e, field) for e in elastics]
        bars = [e.spread.numbers.get(field) if e.spread else None for e in elastics]
        rows.append(Row(name, "GPa", _against_first(values, bars)))
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
    return Table(source_heads(elastics), tuple(rows))


def _constants(
    elastics: Sequence[ElasticDocument], i: int, j: int
) -> tuple[list[float], list[float | None]]:
    """Return one elastic constant of every Document, and its error bars."""
    spreads = [spread_arrays(e).get("elastic_tensor") for e in elastics]
    values = [float(np.asarray(e.elastic_tensor)[i, j]) for e in elastics]
    return values, [None if bars is None else float(bars[i, j]) for bars in spreads]


def _against_first(values: list[float], bars: list[float | None]) -> tuple[Cell, ...]:
    """Return values with their error bars and, below, the deviation from the first."""
    return tuple(
        Cell(measured(v, bar), percent(100.0 * (v / values[0] - 1.0)) if k and values[0] else "")
        for k, (v, bar) in enumerate(zip(values, bars, strict=True))
    )


def _polycrystal_rows(elastics: Sequence[ElasticDocument]) -> list[Row]:
    """Return what only a Born stable crystal has; a row that nobody has is left out."""
    fields = (
        ("Young's modulus (Hill)", "GPa", "young_modulus"),
        ("Poisson ratio (Hill)", "", "poisson_ratio"),
        ("Universal anisotropy", "", "universal_anisotropy"),
    )
    return [
        Row(name, unit, tuple(field_cell(e, field) for e in elastics))
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
