"""`results`, `show`, `lineage` and `archive` over a small store."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, job, run_locally

from phonotune.cli.results import parse_ranges
from phonotune.errors import ConfigError
from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.elastic import ElasticDocument
from phonotune.store import ResultStore, open_store

ROW = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@job(data=[Blob])
def keep(document: ElasticDocument) -> ElasticDocument:
    return document


def elastic(role: str, formula: str, modulus: float) -> ElasticDocument:
    numbers = ("bulk_modulus", "shear_modulus")
    averages = {f"{n}{end}": modulus for n in numbers for end in ("", "_voigt", "_reuss")}
    return ElasticDocument(
        formula=formula,
        material_id="m-" + formula,
        source=Source(role=role, evaluator="mini", model_id=None),
        settings={"strain": 0.01},
        n_strains=6,
        elastic_tensor=(ROW,) * 6,
        clamped_tensor=(ROW,) * 6,
        residual_pressure=0.0,
        born_stable=True,
        internal_instability=False,
        **averages,
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the elastic constants of two crystals."""
    folder = tmp_path / "store"
    jobs = [
        keep(elastic("untuned", "NaCl", 20.0)),
        keep(elastic("reference", "NaCl", 24.0)),
        keep(elastic("reference", "MgO", 160.0)),
    ]
    run_locally(
        Flow(jobs), store=open_store(folder), log=False, root_dir=tmp_path, raise_immediately=True
    )
    return folder


@pytest.mark.parametrize(
    ("options", "moduli"),
    [
        ([], [20.0, 24.0, 160.0]),
        (["--where", "bulk_modulus>=24"], [24.0, 160.0]),
        (["--where", "21 <= bulk_modulus <= 100"], [24.0]),
        (["--where", "bulk_modulus>21", "--where", "bulk_modulus<100"], [24.0]),
        (["--where", "born_stable=false"], []),
        (["--material-id", "m-MgO"], [160.0]),
        (["--limit", 1], [160.0]),
        (["--since", "2100-01-01"], []),
        (["--until", "2100-01-01", "--strategy", "untuned"], [20.0]),
        (["--model-id", "none"], []),
    ],
    ids=str,
)
def test_results_are_filtered(
    cli: Any, store: Path, options: list[Any], moduli: list[float]
) -> None:
    found = cli("results", "--store", store, *options)["results"]
    assert [result["bulk_modulus"] for result in found] == moduli
    table = cli.plain("results", "--store", store, *options, "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [float(row["bulk_modulus"]) for row in rows] == moduli


@pytest.mark.parametrize(
    "where",
    [
        "bulk_modulus",
        "bulk_modulus>=x",
        "$where=1",
        "{'$gt': ''}",
        "3>=bulk_modulus>=1",
        "",
        "5<=9",
    ],
)
def test_what_is_no_range_is_refused(cli: Any, store: Path, where: str) -> None:
    assert "--where takes a range" in cli.error("results", "--store", store, "--where", where)


def test_a_field_with_two_lower_bounds_is_refused() -> None:
    with pytest.raises(ConfigError, match="a second time"):
        parse_ranges(["depth>=1", "depth>=2"])
    assert parse_ranges(["depth<=2", "depth>=1"]) == {"depth": (1.0, 2.0)}
    assert parse_ranges(["n_strains=6"]) == {"n_strains": (6.0, 6.0)}


def test_an_unknown_field_is_refused_with_the_nearest(cli: Any, store: Path) -> None:
    message = cli.error("results", "--store", store, "--where", "bulk_modlus>=1")
    assert "Did you mean 'bulk_modulus'" in message


def test_one_result_is_shown_with_its_units(cli: Any, store: Path) -> None:
    listed = cli("results", "--store", store)["results"][1]
    shown = cli("show", listed["uuid"][:8], "--store", store)
    assert shown == listed | {"job": "keep"}
    text = cli.plain("show", listed["uuid"], "--store", store).stdout
    assert re.search(r"Bulk modulus, GPa +24\.0\b", text)
    (line,) = [line for line in text.splitlines() if line.strip().startswith("residual_pressure")]
    assert line.split() == ["residual_pressure", "0.0", "GPa"]
    assert listed["uuid"][:8] in cli.plain("results", "--store", store).stdout


@pytest.mark.parametrize("command", ["show", "lineage"])
def test_a_wrong_id_is_refused(cli: Any, store: Path, command: str) -> None:
    assert "is not an id" in cli.error(command, "$where", "--store", store)
    assert "No result has the id" in cli.error(command, "0000-0000", "--store", store)
    assert "There is no store" in cli.error(command, "0000-0000", "--store", store / "none")


def test_the_lineage_names_what_is_missing(cli: Any, store: Path) -> None:
    uuid = cli("results", "--store", store, "--formula", "MgO")["results"][0]["uuid"]
    found = cli("lineage", uuid, "--store", store)
    assert found["result"] == uuid
    assert found["behind"][-1]["settings"] == {"strain": 0.01}
    assert found["missing"] == ["The labels behind 'keep' are not in the store."]
    assert "phonotune" in found["versions"]
    text = cli.plain("lineage", uuid, "--store", store).stdout
    assert '{"strain": 0.01}' in text


def test_an_archive_is_saved_and_loaded(cli: Any, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    saved = cli("archive", "save", file, "--store", store, "--formula", "NaCl")
    assert (saved["documents"], saved["arrays"]) == (2, 0)
    other = tmp_path / "other"
    assert cli("archive", "load", file, "--store", other)["documents"] == 2
    assert cli("archive", "load", file, "--store", other)["kept"] == 2
    assert ResultStore(other).query() == ResultStore(store).query(formula="NaCl")


def test_a_damaged_archive_is_refused(cli: Any, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    file.write_text("no archive")
    assert "Nothing was loaded" in cli.error("archive", "load", file, "--store", store)


@pytest.mark.mongo
def test_commands_work_on_a_server(cli: Any, store: Path, mongo_yaml: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    cli("archive", "save", file, "--store", store)
    cli("archive", "load", file, "--store", mongo_yaml)
    listed = cli("results", "--store", mongo_yaml)["results"]
    assert listed == cli("results", "--store", store)["results"]
    assert cli("show", listed[0]["uuid"], "--store", mongo_yaml)["bulk_modulus"] == 20.0
    table = cli.plain("results", "--store", mongo_yaml, "--format", "csv").stdout
    assert len(table.splitlines()) == 4
    assert json.dumps(listed)
