from __future__ import annotations

import pytest

from phonotune.physics.committee_spread import with_spread
from phonotune.report.table import Table
from phonotune.report.tables_thermal import conductivity_table, expansion_table
from tests.report.builders import conductivity_document, quasi_harmonic_document


def values(table: Table, name: str) -> list[str]:
    return [cell.value for row in table.rows if row.name == name for cell in row.cells]


def test_the_expansion_stands_in_millionths_beside_its_error_bar() -> None:
    members = [quasi_harmonic_document("lora", scale) for scale in (0.9, 1.1)]
    committee = with_spread(quasi_harmonic_document("lora"), members)
    table = expansion_table(quasi_harmonic_document(), committee)
    assert table.heads == (("reference", "emt"), ("lora", "emt"))
    found = values(table, "Volume expansion at 300 K")
    assert found == ["60.0", "60.0 ± 8.5"]
    assert values(table, "Volume at 300 K") == ["11.800", "11.800 ± 0"]
    assert values(table, "Ions") == ["held by symmetry"] * 2


@pytest.mark.parametrize(
    ("axial", "rows"), [(1.0, []), (0.5, ["κ xx", "κ yy", "κ zz"])], ids=["cubic", "tetragonal"]
)
def test_components_are_shown_where_they_differ(axial: float, rows: list[str]) -> None:
    table = conductivity_table(conductivity_document(axial=axial))
    assert [row.name for row in table.rows if row.name.startswith("κ")] == rows


def test_a_mesh_that_was_not_converged_is_said() -> None:
    document = conductivity_document().model_copy(update={"change": 0.09, "is_converged": False})
    table = conductivity_table(conductivity_document(), document)
    (row,) = [row for row in table.rows if row.name == "Change by the last doubling"]
    assert [(cell.value, cell.note) for cell in row.cells] == [
        ("2.0 %", ""),
        ("9.0 %", "not converged"),
    ]
