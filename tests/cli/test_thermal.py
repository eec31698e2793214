"""``phonotune thermal``: its files, its numbers, its refusals."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.data.document_files import read_document, summary_of
from phonotune.physics.phonon import conductivity
from phonotune.physics.phonon.conductivity import ConductivitySettings

SMALL = ("--supercell", "1", "1", "1")


@pytest.fixture(scope="module")
def silicon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crystal") / "si.cif"
    crystal = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    crystal.to(filename=str(path))
    return path


@pytest.fixture(scope="module")
def written(silicon: Path, cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("thermal") / "si"
    found = cli("thermal", silicon, "--model", "teacher", *SMALL, "-o", folder)
    return folder, found


def test_thermal_writes_what_it_reports(written: Any) -> None:
    folder, found = written
    assert found["files"] == ["quasi_harmonic.json", "thermal_expansion.csv", "quasi_harmonic.png"]
    assert {path.name for path in folder.iterdir()} == set(found["files"])
    assert (folder / "quasi_harmonic.png").read_bytes().startswith(b"\x89PNG")


def test_the_document_comes_back_from_its_file(written: Any) -> None:
    folder, found = written
    document = read_document(folder / "quasi_harmonic.json")
    assert summary_of(document) == found["quasi_harmonic"]
    assert document.data.arrays()["mode_gruneisen"].shape[1] == 6


def test_the_table_holds_the_curves_of_the_document(written: Any) -> None:
    folder, found = written
    with (folder / "thermal_expansion.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    warm = next(row for row in rows if row["temperature_K"] == "300")
    point = found["quasi_harmonic"]["at_300"]
    assert float(warm["volume_expansion_per_K"]) == pytest.approx(point["thermal_expansion"])
    assert float(warm["heat_capacity_p_J_per_K_per_mol"]) == pytest.approx(
        point["heat_capacity_pressure"]
    )
    assert rows[0]["volume_expansion_per_K"] == "0"


def test_volumes_are_percent_of_the_cell(silicon: Path, cli: Any, tmp_path: Path) -> None:
    options = ("--model", "teacher", *SMALL, "--volumes", "-2", "4", "-o", tmp_path / "a")
    found = cli("thermal", silicon, *options)["quasi_harmonic"]
    np.testing.assert_allclose(found["settings"]["volumes"], np.linspace(-0.02, 0.04, 7), atol=1e-6)


def test_the_equation_of_state_is_chosen_by_name(
    silicon: Path, cli: Any, tmp_path: Path, written: Any
) -> None:
    options = ("--model", "teacher", *SMALL, "-o", tmp_path / "a", "--equation-of-state")
    found = cli("thermal", silicon, *options, "vinet")["quasi_harmonic"]
    assert found["settings"]["equation_of_state"] == "vinet"
    usual = written[1]["quasi_harmonic"]
    assert found["static_volume"] == pytest.approx(usual["static_volume"], rel=1e-4)
    assert found["static_volume"] != usual["static_volume"]
    message = cli.error("thermal", silicon, *options, "vine")
    assert "vinet" in message


def test_born_charges_of_another_crystal_are_refused(
    silicon: Path, cli: Any, tmp_path: Path
) -> None:
    born = tmp_path / "BORN"
    born.write_text("14.4\n" + "12 0 0 0 12 0 0 0 12\n" + "2 0 0 0 2 0 0 0 2\n" * 2)
    options = ("--model", "teacher", *SMALL, "--born", born, "-o", tmp_path / "a")
    message = cli.error("thermal", silicon, *options)
    assert "BORN does not fit Si" in message
    assert not (tmp_path / "a").exists()


def test_conductivity_writes_its_own_document(
    silicon: Path, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("phono3py")
    quick = partial(ConductivitySettings, mesh_density=4.0, max_doublings=1, pair_cutoff=3.0)
    monkeypatch.setattr(conductivity, "ConductivitySettings", quick)
    options = ("--model", "teacher", *SMALL, "--conductivity", "-o", tmp_path)
    found = cli("thermal", silicon, *options)
    assert {"conductivity.json", "conductivity.csv"} <= set(found["files"])
    kappa = found["conductivity"]["mean_conductivity_300"]
    with (tmp_path / "conductivity.csv").open(newline="") as file:
        rows = {row["temperature_K"]: row for row in csv.DictReader(file)}
    assert float(rows["300"]["conductivity_xx_W_per_m_per_K"]) == pytest.approx(kappa, rel=1e-6)
    assert json.loads((tmp_path / "conductivity.json").read_text())["kind"] == "conductivity"


@pytest.mark.parametrize("limits", [("5", "-3"), ("-60", "5")])
def test_volumes_the_wrong_way_round_or_too_wide_are_refused(
    silicon: Path, cli: Any, tmp_path: Path, limits: tuple[str, str]
) -> None:
    options = ("--model", "teacher", "--volumes", *limits, "-o", tmp_path / "a")
    message = cli.error("thermal", silicon, *options)
    assert "--volumes takes two percentages" in message
    assert not (tmp_path / "a").exists()


def test_a_cell_far_from_the_model_s_minimum_fails_with_advice(
    silicon: Path, cli: Any, tmp_path: Path
) -> None:
    options = ("--model", "teacher", *SMALL, "--volumes", "-20", "-12", "-o", tmp_path / "a")
    message = cli.error("thermal", silicon, *options, code=1)
    assert "Relax the cell" in message or "imaginary" in message


def test_the_table_names_the_numbers_with_their_units(
    silicon: Path, cli: Any, tmp_path: Path
) -> None:
    result = cli.plain("thermal", silicon, "--model", "teacher", *SMALL, "-o", tmp_path)
    for text in ("quasi-harmonic properties", "1e-6/K", "W/m/K", "held by symmetry"):
        assert text in result.stdout
