from __future__ import annotations

import pytest

from phonotune.physics.committee_spread import with_spread
from phonotune.report.bundle import MaterialReport
from phonotune.report.table import measured, number, percent
from phonotune.report.tables import elastic_table, training_table, well_table
from phonotune.report.tables_headline import headline_table, overview_table


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (None, 2, "–"),
        (0.0, 2, "0.00"),
        (-0.001, 2, "0.00"),
        (-6.104, 2, "-6.10"),
        (182.34, 1, "182.3"),
        (0.01834, 3, "0.018"),
        (12345.6, 0, "12346"),
    ],
)
def test_numbers_have_fixed_decimals_and_zero_has_no_sign(value, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


def test_deviations_carry_their_sign() -> None:
    assert (percent(3.21), percent(-0.5), percent(None)) == ("+3.2 %", "-0.5 %", "")
    assert percent(-0.04) == "+0.0 %"


def cells(table, name: str):
    return next(row.cells for row in table.rows if row.name == name)


def test_headline_holds_reference_untuned_and_tuned_side_by_side(soft) -> None:
    table = headline_table(soft)
    assert [role for role, _ in table.heads] == ["reference", "untuned", "lora"]
    assert [c.value for c in cells(table, "Frequency MAE")] == ["–", "0.645", "0.045"]
    assert [c.good for c in cells(table, "Frequency MAE")] == [False, False, True]
    assert [c.note for c in cells(table, "Lowest mode")] == ["imaginary"] * 3
    assert [c.value for c in cells(table, "Force MAE, validation")] == ["–", "95.00", "4.00"]
    assert cells(table, "Bulk modulus")[1].note == "-8.0 %"


def test_every_row_of_every_table_has_one_cell_a_column_and_a_unit(soft) -> None:
    tables = (
        headline_table(soft),
        elastic_table(*soft.elastics),
        training_table(*soft.trainings),
        well_table(*soft.wells),
    )
    for table in tables:
        assert all(len(row.cells) == len(table.heads) for row in table.rows)
        words = ("Born criteria", "Double well")
        assert all(row.unit for row in table.rows if row.name not in words)


def test_rows_without_any_number_are_left_out(soft) -> None:
    only_phonons = MaterialReport(formula="BaTiO3", properties=soft.phonons[:1])
    names = [row.name for row in headline_table(only_phonons).rows]
    assert names == ["Lowest mode", "Highest mode", "C_v at 300 K"]


def test_elastic_deviations_are_against_the_reference(soft) -> None:
    first = cells(elastic_table(*soft.elastics), "C₁₁")
    assert [c.value for c in first] == ["310.0", "285.2", "308.4"]
    assert [c.note for c in first] == ["", "-8.0 %", "-0.5 %"]


def test_the_untuned_errors_stand_once_however_many_trainings_started_there(many) -> None:
    heads = training_table(*many[1].trainings).heads
    assert [role for role, _ in heads] == ["untuned", "lora", "equitrain"]


def test_overview_names_the_best_tuned_model_of_each_material(many) -> None:
    table = overview_table(many)
    assert [row.name for row in table.rows] == ["BaTiO3", "NaCl"]
    assert [row.cells[2].note for row in table.rows] == ["lora", "lora"]
    assert [row.cells[0].value for row in table.rows] == ["teacher", "vasp"]


def test_an_elastic_tensor_of_a_saddle_is_marked(soft) -> None:
    notes = [c.note for c in cells(elastic_table(*soft.elastics), "Born criteria")]
    assert notes == ["", "at a saddle of the ions", ""]


def test_the_depth_of_the_fit_stands_beside_the_lowest_computed_point(soft) -> None:
    table = well_table(*soft.wells)
    lowest = soft.wells[0].data.arrays()["energies"].min()
    assert cells(table, "Well depth")[0].value == number(soft.wells[0].depth, 2)
    assert cells(table, "Lowest computed point")[0].value == number(lowest, 2)


@pytest.mark.parametrize(
    ("value", "bar", "text"),
    [
        (131.27, 4.71, "131.3 ± 4.7"),
        (-0.01834, 0.000213, "-0.0183 ± 0.0002"),
        (812.0, 25.3, "812 ± 25"),
        (3.456, 0.0, "3.46 ± 0"),
        (3.456, None, "3.46"),
        (None, None, "–"),
    ],
)
def test_a_number_has_as_many_decimals_as_its_error_bar(value, bar, text: str) -> None:
    assert measured(value, bar, 2) == text


@pytest.fixture
def committee(soft) -> MaterialReport:
    """The material with the untuned model as a second member of the tuned one, nothing compared."""

    def spread(documents):
        tuned, other = documents[2], documents[1]
        return with_spread(tuned, [tuned, other.model_copy(update={"source": tuned.source})])

    return MaterialReport(
        formula=soft.formula,
        properties=tuple(
            document
            for documents in (soft.phonons, soft.wells, soft.elastics)
            for document in (documents[0], spread(documents))
        ),
    )


def test_headline_numbers_of_a_committee_carry_their_error_bars(committee, soft) -> None:
    table = headline_table(committee)
    for name, documents, field, digits in (
        ("Highest mode", committee.phonons, "highest_frequency", 2),
        ("Bulk modulus", committee.elastics, "bulk_modulus", 1),
        ("Well depth", committee.wells, "depth", 2),
    ):
        single, several = cells(table, name)
        assert "±" not in single.value
        document = documents[1]
        bar = document.spread.numbers[field]
        assert several.value == measured(getattr(document, field), bar, digits)
    assert "±" in cells(table, "Lowest mode")[1].value
    assert not any("±" in cell.value for row in headline_table(soft).rows for cell in row.cells)


def test_tables_of_wells_and_elastic_constants_carry_error_bars_too(committee) -> None:
    for table, names in (
        (elastic_table(*committee.elastics), ("C₁₁", "Bulk modulus", "Shear modulus")),
        (well_table(*committee.wells), ("Well depth", "Q0")),
    ):
        for name in names:
            assert ["±" in cell.value for cell in cells(table, name)] == [False, True]


def test_anharmonic_numbers_and_the_lowest_phase_are_in_the_headline(many) -> None:
    table = headline_table(many[1])
    expansion = [cell.value for cell in cells(table, "Volume expansion at 300 K")]
    assert expansion == ["60.0", "48.0", "57.0", "58.2"]
    assert cells(table, "Thermal conductivity at 300 K")[0].value == "14.00"
    lowest = cells(table, "Lowest phase")
    assert [cell.value for cell in lowest] == ["–", "–", "–", "-43.00"]
    assert lowest[3].note == "R3m"
