"""Thermal expansion and thermal conductivity as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from phonotune.report.table import (
    Cell,
    Row,
    Table,
    bars_note,
    column,
    column_row,
    measured,
    number,
    source_heads,
    yes_no,
)
from phonotune.report.tables import VOIGT
from phonotune.schemas.columns import ABSENT
from phonotune.schemas.sscha import SSCHADocument, SSCHAPoint
from phonotune.schemas.thermal import ConductivityDocument, QuasiHarmonicDocument

_IONS: Final = {
    "symmetry": "held by symmetry",
    "relaxed": "relaxed at each volume",
    "scaled": "scaled with the cell",
}
_EXPANSION: Final = (
    ("at_0.volume", "volume at 0 K", 3),
    ("at_300.volume", "", 3),
    ("at_300.length_scale", "edge of the cell at 300 K, of that given", 5),
    ("at_300.thermal_expansion", "", 1),
    ("at_0.bulk_modulus", "bulk modulus at 0 K", 1),
    ("at_300.bulk_modulus", "", 1),
    ("at_300.heat_capacity", "C_v at 300 K", 2),
    ("at_300.heat_capacity_pressure", "", 2),
    ("at_300.gruneisen", "Grüneisen parameter at 300 K, αBV/C_v", 2),
    ("mean_gruneisen", "Grüneisen parameter, modes, mean by C_v", 2),
    ("acoustic_debye_temperature", "Debye temperature, acoustic", 0),
    ("slack_conductivity", "conductivity at 300 K, Slack", 2),
    ("highest_temperature", "curves end at", 0),
)
"""Path of each number of a quasi-harmonic document; words and decimals where it is not a headline."""


def expansion_table(*documents: QuasiHarmonicDocument) -> Table:
    """Return the quasi-harmonic numbers of every Source."""
    first = documents[0]
    rows = [column_row(column(first, *shown), documents) for shown in _EXPANSION]
    rows.append(Row("Ions", "", tuple(Cell(_IONS[d.ions]) for d in documents)))
    return Table(
        source_heads(documents),
        tuple(rows),
        title=f"{first.formula}: quasi-harmonic properties",
        caption="By the quasi-harmonic approximation, per formula unit. The two Grüneisen parameters "
        "check each other." + bars_note(documents),
    )


def temperature_table(*documents: SSCHADocument) -> Table:
    """Return the lowest mode and the free energy at every temperature, of every Source."""
    first = documents[0]
    lowest = column(first, "harmonic_lowest_frequency")
    rows = [
        Row(
            "Lowest mode, harmonic",
            lowest.unit,
            tuple(Cell(lowest.number(d.harmonic_lowest_frequency)) for d in documents),
        )
    ]
    temperatures = sorted({point.temperature for d in documents for point in d.points})
    for temperature in temperatures:
        points = [{p.temperature: p for p in d.points}.get(temperature) for d in documents]
        modes = tuple(
            Cell(number(None if p is None else p.lowest_frequency, 2), _state(p)) for p in points
        )
        free = tuple(
            Cell(ABSENT if p is None else measured(p.free_energy, p.free_energy_error, 2))
            for p in points
        )
        rows.append(Row(f"Lowest mode at {temperature:g} K", lowest.unit, modes))
        rows.append(Row(f"F at {temperature:g} K", "meV/atom", free))
    rows.append(Row("Stability", "", tuple(Cell(d.stability) for d in documents)))
    return Table(
        source_heads(documents),
        tuple(rows),
        title=f"{first.formula}: phonons at temperatures",
        caption="By the self-consistent harmonic approximation at the cell given. F counts from the crystal at "
        "rest; ±: standard error of the ensemble.",
    )


def _state(point: SSCHAPoint | None) -> str:
    if point is None:
        return ""
    said = ["" if point.is_stable else "unstable", "" if point.is_converged else "not converged"]
    return ", ".join(filter(None, said))


def conductivity_table(*documents: ConductivityDocument) -> Table:
    """Return the conductivity at 300 K, its distinct components and its mesh, of every Source."""
    first = documents[0]
    mean, lowest = (
        column(first, "mean_conductivity_300"),
        column(first, "lowest_frequency", "lowest mode"),
    )
    components = (
        Row(
            f"κ {VOIGT[i]}",
            mean.unit,
            tuple(Cell(mean.number(d.conductivity_300[i])) for d in documents),
        )
        for i in distinct_components(documents)
    )
    changes = (
        Cell(f"{number(100 * d.change, 1)} %", "" if d.is_converged else "not converged")
        for d in documents
    )
    scatter = (Cell("scatter" if d.has_isotopes else "left out") for d in documents)
    rows = (
        column_row(mean, documents),
        *components,
        Row("Mesh", "q-points", tuple(Cell(" × ".join(map(str, d.mesh))) for d in documents)),
        Row("Change by the last doubling", "of the mesh", tuple(changes)),
        column_row(lowest, documents),
        Row("Isotopes", "", tuple(scatter)),
        Row("LO-TO splitting", "", tuple(Cell(yes_no(d.has_nac)) for d in documents)),
    )
    return Table(
        source_heads(documents),
        rows,
        title=f"{first.formula}: lattice thermal conductivity",
        caption="Lattice part, relaxation-time approximation, mean of the diagonal."
        + bars_note(documents),
    )


def distinct_components(documents: Sequence[ConductivityDocument]) -> list[int]:
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
