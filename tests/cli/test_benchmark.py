"""`phonotune benchmark` with aluminium by effective medium theory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from phonotune.data.document_files import write_property
from phonotune.schemas.phonon import PhononDocument

EMT = "ase:ase.calculators.emt:EMT"


def test_references_are_compared_bad_ones_listed_and_nothing_computed_twice(
    phonons_of: Callable[..., PhononDocument], cli: Any, tmp_path: Path
) -> None:
    references = [tmp_path / "soft", tmp_path / "same", tmp_path / "absent"]
    for path, scale in zip(references, (0.81, 1.0), strict=False):
        path.mkdir()
        write_property(phonons_of("untuned", scale), path)
    folder = tmp_path / "out"
    given = ("benchmark", *references, "--model", EMT, "-o", folder)
    made = cli(*given)
    assert [row["frequency_mae"] for row in made["rows"]][1] == pytest.approx(0, abs=1e-6)
    assert made["rows"][0]["highest_frequency_bias"] == pytest.approx(100 / 0.9 - 100)
    (failed,) = made["failed"]
    assert failed["reference"] == str(references[2])
    assert "does not exist" in failed["reason"]
    assert len(pd.read_csv(folder / "failed.csv")) == 1
    table = pd.read_csv(folder / "study.csv")
    assert table["model"].tolist() == [EMT, EMT]
    for ending in ("png", "svg", "csv"):
        assert (folder / "study" / f"figure_zone.{ending}").stat().st_size > 50
    again = cli(*given)
    assert (again["computed"], again["found"]) == (0, 2)
    assert again["rows"] == made["rows"]


def test_only_bad_references_are_an_error_of_one_sentence(cli: Any, tmp_path: Path) -> None:
    said = cli.error("benchmark", tmp_path / "no", "--model", EMT, "-o", tmp_path / "out")
    assert "No reference could be compared" in said
