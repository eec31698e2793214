"""Every deviation of every model from the reference as one table, a column a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from phonotune.cli.tables import ABSENT, label, new_table, number

if TYPE_CHECKING:
    from rich.console import Group

    from phonotune.schemas.comparison import ComparisonDocument, Deviations

_NUMBERS: Final = (
    ("frequency MAE, THz", "frequency_mae", 3),
    ("  lowest three branches, THz", "acoustic_mae", 3),
    ("  other branches, THz", "optical_mae", 3),
    ("frequency RMSE, THz", "frequency_rmse", 3),
    ("largest frequency error, THz", "frequency_max", 3),
    ("highest mode, %", "highest_frequency_bias", 2),
    ("DOS error, %", "dos_error", 1),
    ("imaginary modes: precision, %", "imaginary.precision", 1),
    ("imaginary modes: recall, %", "imaginary.recall", 1),
    ("F at 300 K, kJ/mol", "thermal.helmholtz_300", 3),
    ("F, largest, kJ/mol", "thermal.helmholtz_largest", 3),
    ("S at 300 K, J/K/mol", "thermal.entropy_300", 3),
    ("S, largest, J/K/mol", "thermal.entropy_largest", 3),
    ("C_v at 300 K, J/K/mol", "thermal.heat_capacity_300", 3),
    ("C_v, largest, J/K/mol", "thermal.heat_capacity_largest", 3),
    ("bulk modulus, %", "bulk_modulus", 1),
    ("shear modulus, %", "shear_modulus", 1),
    ("Young's modulus, %", "elastic.young_modulus", 1),
    ("double-well depth, %", "well_depth", 1),
    ("double-well Q0, %", "well_q0", 1),
    ("volume at 300 K, %", "volume_300", 2),
    ("thermal expansion at 300 K, %", "thermal_expansion_300", 1),
    ("phases: precision, %", "phases.precision", 0),
    ("phases: recall, %", "phases.recall", 0),
    ("phases: F1, %", "phases.f1", 0),
)
"""Words, where the number stands in Deviations, decimals."""


def deviation_table(comparison: ComparisonDocument) -> Group:
    """Return the deviations of all models; a row that nobody has is left out."""
    rows = _rows([row.deviations for row in comparison.rows])
    return new_table(
        f"{comparison.formula}: model minus reference · {comparison.reference.evaluator}",
        ("", *(label(row.source) for row in comparison.rows)),
        [row for row in rows if any(cell != ABSENT for cell in row[1:])],
    )


def _rows(found: list[Deviations]) -> Iterator[tuple[str, ...]]:
    for words, path, digits in _NUMBERS:
        yield words, *(number(_value(deviations, path), digits) for deviations in found)
        if path == "shear_modulus":
            yield from _constants(found)


def _constants(found: list[Deviations]) -> Iterator[tuple[str, ...]]:
    """Yield the elastic constants; those of equal deviations (by symmetry) share a row."""
    names = {name for d in found if d.elastic is not None for name in d.elastic.constants}
    grouped: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(names):
        grouped.setdefault(tuple(_constant(d, name) for d in found), []).append(name)
    for cells, equal in grouped.items():
        yield f"{' '.join(equal)}, GPa", *cells


def _value(deviations: Deviations, path: str) -> float | None:
    value: object = deviations
    for name in path.split("."):
        value = getattr(value, name, None)
    return value if isinstance(value, float) else None


def _constant(deviations: Deviations, name: str) -> str:
    elastic = deviations.elastic
    return number(None if elastic is None else elastic.constants.get(name), 1)
