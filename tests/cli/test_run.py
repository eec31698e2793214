"""`run`, `results` and `report`: a small flow in place of the DAG, the store, the page."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, OnMissing, job
from pymatgen.core import Structure

from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.jobs.compare import CompareMaker
from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.elastic import ElasticDocument

CALLS: list[str] = []
ROW = (100.0, 0.0, 0.0, 0.0, 0.0, 0.0)
MODULI = {"reference": 100.0, "untuned": 80.0, "lora": 98.0}


@job(data=[Blob])
def measure(structure: Structure, role: str, evaluator: str) -> ElasticDocument:
    CALLS.append(role)
    modulus = MODULI[role]
    return ElasticDocument(
        formula=structure.reduced_formula,
        material_id=structure.reduced_formula,
        source=Source(role=role, evaluator=evaluator),
        settings={},
        n_strains=6,
        elastic_tensor=(ROW,) * 6,
        clamped_tensor=(ROW,) * 6,
        bulk_modulus_voigt=modulus,
        bulk_modulus_reuss=modulus,
        bulk_modulus=modulus,
        shear_modulus_voigt=modulus,
        shear_modulus_reuss=modulus,
        shear_modulus=modulus,
        residual_pressure=0.0,
        born_stable=True,
        internal_instability=False,
    )


@job
def break_down() -> None:
    raise ValueError("the licence has expired")


def small_flow(maker: PhonotuneMaker, structure: Structure) -> Flow:
    """Three evaluators compared; the labeller `emt` breaks down besides."""
    names = {"reference": maker.labeller, "untuned": maker.foundation, "lora": maker.foundation}
    jobs = [measure(structure, role, name) for role, name in names.items()]
    compared = CompareMaker().make([jobs[0].output], [[jobs[1].output], [jobs[2].output]])
    extra = [break_down()] if maker.labeller == "emt" else []
    return Flow([*jobs, compared, *extra])


@pytest.fixture
def options(cif: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """`run` of aluminium through the small flow."""
    monkeypatch.setattr(PhonotuneMaker, "make", small_flow)
    CALLS.clear()
    store, out = tmp_path / "store", tmp_path / "out"
    return ["run", cif, "--foundation", "mini", "--store", store, "--out", out]


def test_run_compares_and_writes_the_report(
    options: list[object], cli: Any, tmp_path: Path
) -> None:
    found = cli(*options, "--labeller", "teacher")
    assert found["failed"] == []
    assert found["jobs"] == {"finished": 4, "reused": 0}
    (comparison,) = found["comparisons"]
    deviations = [row["deviations"]["bulk_modulus"] for row in comparison["rows"]]
    assert deviations == pytest.approx([-20.0, -2.0])
    assert Path(found["report"]) == tmp_path / "out" / "report.html"
    assert "Al" in Path(found["report"]).read_text()


def test_a_second_run_repeats_nothing(options: list[object], cli: Any) -> None:
    first = cli(*options, "--labeller", "teacher")
    assert list(MODULI) == CALLS
    second = cli(*options, "--labeller", "teacher")
    assert list(MODULI) == CALLS
    assert second["jobs"] == {"finished": 0, "reused": 4}
    assert second["comparisons"] == first["comparisons"]


def test_a_run_for_people_names_the_stand_in_and_the_page(options: list[object], cli: Any) -> None:
    result = cli.plain(*options, "--labeller", "teacher")
    assert result.exit_code == 0
    for text in (
        "reference · teacher",
        "untuned · mini",
        "Bulk",
        "modulus",
        "not for science",
        "report.html",
    ):
        assert text in result.stdout


def test_a_failed_job_is_told_and_the_rest_is_kept(options: list[object], cli: Any) -> None:
    found = cli(*options, "--labeller", "emt", code=1)
    assert found["failed"] == [
        {"name": "break_down", "error": "ValueError: the licence has expired"}
    ]
    assert len(found["comparisons"]) == 1
    result = cli.plain(*options, "--labeller", "emt")
    assert result.exit_code == 1
    assert "the licence has expired" in result.stderr
    assert "run the same command again" in result.stderr
    assert list(MODULI) == CALLS


def test_what_failed_is_missing_in_the_comparison_of_the_rest(
    options: list[object], cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken_flow(maker: PhonotuneMaker, structure: Structure) -> Flow:
        jobs = [measure(structure, role, "mini") for role in ("reference", "untuned", "scratch")]
        expected = {role: ["elastic"] for role in ("reference", "untuned", "scratch")}
        given = [[jobs[1].output], [jobs[2].output]]
        compared = CompareMaker(expected=expected).make([jobs[0].output], given)
        compared.update_config({"on_missing_references": OnMissing.NONE})
        return Flow([*jobs, compared])

    monkeypatch.setattr(PhonotuneMaker, "make", broken_flow)
    result = cli.plain(*options, "--labeller", "teacher")
    assert result.exit_code == 1
    missing = "Missing, since their jobs failed: Elastic constants, scratch."
    assert missing in " ".join(result.stdout.split())
    assert missing in (tmp_path / "out" / "report.html").read_text()
    monkeypatch.setitem(MODULI, "scratch", 70.0)  # mended: the comparison is made anew
    (comparison,) = cli(*options, "--labeller", "teacher")["comparisons"]
    assert [row["source"]["role"] for row in comparison["rows"]] == ["untuned", "scratch"]
    assert comparison["missing"] == []


@pytest.fixture
def store(options: list[object], cli: Any, tmp_path: Path) -> Path:
    """A store with the results of one run."""
    cli(*options, "--labeller", "teacher")
    return tmp_path / "store"


def test_results_are_filtered(store: Path, cli: Any) -> None:
    found = cli("results", "--store", store, "--kind", "elastic", "--strategy", "lora")["results"]
    assert [document["bulk_modulus"] for document in found] == [98.0]
    assert cli("results", "--store", store, "--formula", "NaCl")["results"] == []
    assert "Did you mean 'elastic'" in cli.error("results", "--store", store, "--kind", "elastics")


def test_results_come_as_table_csv_and_json(store: Path, cli: Any) -> None:
    arguments = ["results", "--store", store, "--kind", "elastic"]
    table = cli.plain(*arguments).stdout
    assert "bulk 98.0 GPa" in table
    rows = list(csv.DictReader(io.StringIO(cli.plain(*arguments, "--format", "csv").stdout)))
    assert [float(row["bulk_modulus"]) for row in rows] == [100.0, 80.0, 98.0]
    as_json = json.loads(cli.plain(*arguments, "--format", "json").stdout)
    assert as_json == cli(*arguments)


def test_a_report_of_a_store(store: Path, cli: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert cli("report", "--store", store, "-o", page)["documents"] == 4
    assert "reference" in page.read_text()
    message = cli.error("report", tmp_path, "--store", store, "-o", page)
    assert "not both" in message
