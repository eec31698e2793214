"""The long table of a campaign and its statistics, on numbers that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.physics.deviations import spectrum_deviations
from phonotune.physics.study.columns import COLUMNS
from phonotune.physics.study.rows import KELVIN_PER_THZ, study_table
from phonotune.physics.study.statistics import calibration, confusion, error_bars, paired, summary
from phonotune.schemas.base import Document, Source
from phonotune.schemas.comparison import (
    ComparisonDocument,
    ComparisonRow,
    Deviations,
    ImaginaryConfusion,
    Properties,
    SpectrumDeviations,
)
from phonotune.schemas.phonon import PhononDocument, ResidualSummary
from tests.report.conftest import dataset_document, frames_of, training_document

REFERENCE = Source(role="reference", evaluator="teacher")
CRYSTAL = Structure(Lattice.cubic(4.0), ["Si"], [[0, 0, 0]])


def row(role: str, model_id: str | None, mae: float, lowest: float = 1.0) -> ComparisonRow:
    return ComparisonRow(
        source=Source(role=role, evaluator="mini", model_id=model_id),
        properties=Properties(lowest_frequency=lowest, highest_frequency=9.0),
        error_bars=Properties(highest_frequency=0.6),
        deviations=Deviations(
            frequency_mae=mae,
            frequency_rmse=mae,
            spectrum=SpectrumDeviations(
                wasserstein=mae, average_reference=5.0, average_model=5.0 + mae
            ),
            imaginary=ImaginaryConfusion(
                both=8, only_reference=2, only_model=0, neither=90, threshold=-0.1
            ),
        ),
    )


def comparison(*rows: ComparisonRow, material: str = "1" * 16) -> ComparisonDocument:
    return ComparisonDocument(
        formula="Si",
        material_id=material,
        reference=REFERENCE,
        reference_properties=Properties(lowest_frequency=-0.5, highest_frequency=10.0),
        rows=list(rows),
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Eight crystals; lora better than the untuned model in all of them."""
    found = {}
    for n in range(8):
        rows = [row("untuned", "u", 0.2 + 0.01 * n), row("lora", f"l{n}", 0.1, lowest=-1.0)]
        training = training_document("Si", "lora", f"l{n}", "d" * 64, 4.0)
        made = comparison(*rows, material=f"{n:016}")
        found[f"{n}.cif"] = [made, training, made]
    return study_table(found)


def test_a_row_per_crystal_and_model_with_what_its_training_says(table: pd.DataFrame) -> None:
    assert list(table) == list(COLUMNS)
    assert len(table) == 16, "a comparison that is there twice gives its rows once"
    tuned = table[table["strategy"] == "lora"].iloc[0]
    assert (tuned["model"], tuned["frames"], tuned["labels"]) == ("mini + lora", 16, 20)
    assert tuned["force_mae_meV_per_A"] == 4.0
    assert tuned["force_mae_foundation_meV_per_A"] == 95.0
    assert tuned["max_frequency_error_K"] == pytest.approx(-KELVIN_PER_THZ)
    assert tuned["average_frequency_error_K"] == pytest.approx(0.1 * KELVIN_PER_THZ)
    assert pytest.approx(47.9924, abs=1e-4) == KELVIN_PER_THZ
    assert table[table["strategy"] == "untuned"]["frames"].isna().all()


def test_labels_are_those_of_the_dataset() -> None:
    dataset = dataset_document(frames_of(CRYSTAL, 6, np.random.default_rng(1)), "emt", "d" * 64)
    training = training_document("Si", "lora", "l", "d" * 64, 4.0)
    found = study_table({"a": [comparison(row("lora", "l", 0.1)), training, dataset]})
    assert found["labels"].tolist() == [6]


def test_names_of_a_benchmark_replace_descriptions() -> None:
    both = comparison(row("lora", "l", 0.1), row("lora + ΔΦ", "l", 0.1))
    names = study_table({"a": [both]}, {"l": "mine"})["model"]
    assert names.tolist() == ["mine", "mine + ΔΦ"]


def test_fits_of_different_numbers_of_frames_are_different_models() -> None:
    found: list[Document] = []
    for frames, mae in ((1, 0.2), (4, 0.02)):
        corrected = row("untuned + ΔΦ", "u", mae, lowest=float(frames))
        found.append(
            PhononDocument.model_construct(
                source=Source(role="untuned", evaluator="mini", model_id="u"),
                lowest_frequency=float(frames),
                highest_frequency=9.0,
                residual=ResidualSummary.model_construct(
                    n_frames=frames, frequency_uncertainty=mae
                ),
            )
        )
        found.append(comparison(row("untuned", "u", 0.5), corrected, row("symfc", None, mae)))
    medians = summary(study_table({"a.cif": found})).query("quantity == 'frequency_mae_THz'")
    assert dict(zip(medians["model"], medians["median"], strict=True)) == {
        "mini": 0.5,
        "mini + ΔΦ, 1 frame": 0.2,
        "symfc, 1 frame": 0.2,
        "mini + ΔΦ, 4 frames": 0.02,
        "symfc, 4 frames": 0.02,
    }


def test_medians_and_quartiles_by_model_and_frames(table: pd.DataFrame) -> None:
    found = summary(table).set_index(["model", "quantity"])
    untuned = found.loc[("mini", "frequency_mae_THz")]
    assert untuned["materials"] == 8
    assert untuned["median"] == pytest.approx(0.235)
    assert untuned["lower_quartile"] == pytest.approx(0.2175)
    assert untuned["upper_quartile"] == pytest.approx(0.2525)


def test_a_known_confusion_of_modes_and_of_crystals(table: pd.DataFrame) -> None:
    modes = confusion(table, "modes").set_index("model").loc["mini + lora"]
    assert (modes["both"], modes["only_reference"], modes["neither"]) == (64, 16, 720)
    assert modes["precision_percent"] == 100
    assert modes["recall_percent"] == 80
    assert modes["f1_percent"] == pytest.approx(200 * 64 / (128 + 16))
    crystals = confusion(table, "crystals").set_index("model")
    assert crystals.loc["mini + lora", "recall_percent"] == 100
    assert crystals.loc["mini", "recall_percent"] == 0
    assert np.isnan(crystals.loc["mini", "precision_percent"])
    assert confusion(table, "phases").empty


def test_a_known_wilcoxon_over_crystals(table: pd.DataFrame) -> None:
    (found,) = paired(table).to_dict("records")
    assert (found["first"], found["second"], found["materials"]) == ("mini", "mini + lora", 8)
    assert found["wilcoxon_p"] == pytest.approx(2 / 2**8)
    assert found["median_difference"] == pytest.approx(-0.135)
    assert -0.17 <= found["lower_95"] < found["median_difference"] < found["upper_95"] <= -0.1
    assert found["second_better"] == 8


def test_few_crystals_are_not_tested(table: pd.DataFrame) -> None:
    assert paired(table[table["material_id"] < f"{5:016}"]).empty
    assert paired(table.iloc[:0]).empty


def test_what_nobody_computed_is_empty_and_no_obstacle() -> None:
    bare = ComparisonRow(
        source=Source(role="untuned", evaluator="emt"),
        properties=Properties(),
        deviations=Deviations(),
    )
    found = {"a": [comparison(bare)]}
    table = study_table(found)
    assert np.isnan(table["frequency_mae_THz"].iloc[0])
    for made in (summary(table), paired(table), error_bars(table, found)):
        assert made.empty
    for what in ("modes", "crystals", "phases"):
        assert confusion(table, what).empty


def test_wasserstein_of_a_shifted_spectrum_is_the_shift() -> None:
    weights = np.array([1.0, 3.0])
    nu = np.array([[1.0, 2.0], [3.0, 5.0]])
    assert spectrum_deviations(weights, nu, nu + 0.25).wasserstein == pytest.approx(0.25)
    found = spectrum_deviations(weights, nu, nu[:, ::-1])
    assert found.wasserstein == pytest.approx(0)
    assert found.average_reference == pytest.approx((1 + 2 + 3 * 3 + 3 * 5) / 8)
    heavier = nu + np.array([[0.0], [1.0]])
    assert spectrum_deviations(weights, nu, heavier).wasserstein == pytest.approx(0.75)


def test_error_bars_beside_true_errors() -> None:
    found = {"a": [comparison(row("lora", "l", 0.1))]}
    bars = error_bars(study_table(found), found)
    (bar,) = bars.to_dict("records")
    assert (bar["model"], bar["quantity"], bar["unit"]) == (
        "mini + lora",
        "highest frequency",
        "THz",
    )
    assert (bar["stated"], bar["error"]) == (0.6, 1.0)
    (share,) = calibration(bars).to_dict("records")
    assert (share["within_1_percent"], share["within_2_percent"]) == (0, 100)


def test_the_page_names_every_column() -> None:
    page = (Path(__file__).parents[3] / "docs" / "study.md").read_text(encoding="utf-8")
    assert [name for name in COLUMNS if f"| `{name}` |" not in page] == []
