"""Thermal expansion and thermal conductivity as rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from phonotune.report.tables import Cell, Row, Table, field_cell, number, source_heads
from phonotune.schemas.thermal import ConductivityDocument, QuasiHarmonicDocument

_IONS: Final = {
    "symmetry": "held by symmetry",
    "relaxed": "relaxed at each volume",
    "scaled": "scaled with the cell",
}
_EXPANSION: Final = (
    ("Volume at 0 K", "Å³/f.u.", "at_0.volume", 1.0, 5),
    ("Volume at 300 K", "Å³/f.u.", "at_300.volume", 1.0, 5),
    ("Volume expansion at 300 K", "10⁻⁶/K", "at_300.thermal_expansion", 1e6, 3),
    ("Bulk modulus at 0 K", "GPa", "at_0.bulk_modulus", 1.0, 3),
    ("Bulk modulus at 300 K", "GPa", "at_300.bulk_modulus", 1.0, 3),
    ("Cᵥ at 300 K", "J/K/mol", "at_300.heat_capacity", 1.0, 3),
    ("C\u209a at 300 K", "J/K/mol", "at_300.heat_capacity_pressure", 1.0, 3),
    ("Grüneisen parameter at 300 K", "αBV/Cᵥ", "at_300.gruneisen", 1.0, 3),
    ("Grüneisen parameter, modes", "mean by Cᵥ", "mean_gruneisen", 1.0, 3),
    ("Debye temperature, acoustic", "K", "acoustic_debye_temperature", 1.0, 3),
    ("Conductivity at 300 K, Slack", "W/m/K", "slack_conductivity", 1.0, 3),
    ("Curves end at", "K", "highest_temperature", 1.0, 3),
)
"""Name, unit, field, scale and significant digits of the numbers of a quasi-harmonic document."""
_AXES: Final = ("xx", "yy", "zz", "yz", "xz", "xy")


def expansion_table(documents: Sequence[QuasiHarmonicDocument]) -> Table:
    """Return the quasi-harmonic numbers of every Source."""
    rows = [
        Row(name, unit, tuple(field_cell(d, field, scale, digits=digits) for d in documents))
        for name, unit, field, scale, digits in _EXPANSION
    ]
    rows.append(Row("Ions", "", tuple(Cell(_IONS[d.ions]) for d in documents)))
    return Table(source_heads(documents), tuple(rows))


def conductivity_table(documents: Sequence[ConductivityDocument]) -> Table:
    """Return the conductivity at 300 K, its distinct components and its mesh, of every Source."""
    shown = _distinct(documents)
    rows = [
        Row(
            "Mean at 300 K",
            "W/m/K",
            tuple(field_cell(d, "mean_conductivity_300") for d in documents),
        ),
        *(
            Row(
                f"κ {_AXES[i]}",
                "W/m/K",
                tuple(Cell(number(d.conductivity_300[i])) for d in documents),
            )
            for i in shown
        ),
        Row("Mesh", "q-points", tuple(Cell(" × ".join(map(str, d.mesh))) for d in documents)),
        Row("Change by the last doubling", "of the mesh", tuple(map(_change_cell, documents))),
        Row("Lowest mode", "THz", tuple(field_cell(d, "lowest_frequency") for d in documents)),
        Row(
            "Isotopes",
            "",
            tuple(Cell("scatter" if d.has_isotopes else "left out") for d in documents),
        ),
        Row("LO-TO splitting", "", tuple(Cell("yes" if d.has_nac else "no") for d in documents)),
    ]
    return Table(source_heads(documents), tuple(rows))


def _change_cell(document: ConductivityDocument) -> Cell:
    note = "" if document.is_converged else "not converged"
    return Cell(f"{number(100 * document.change, 2)} %", note)


def _distinct(documents: Sequence[ConductivityDocument]) -> list[int]:
    """Return the components to show: none where all crystals are isotropic, no zeros."""
    found = []
    for index in range(6):
        for document in documents:
            kappa, mean = document.conductivity_300, document.mean_conductivity_300
            expected = mean if index < 3 else 0.0
            if abs(kappa[index] - expected) > 1e-3 * mean:
                found.append(index)
                break
    diagonal = (0, 1, 2) if any(i < 3 for i in found) else ()
    return [*diagonal, *(i for i in found if i > 2)]
