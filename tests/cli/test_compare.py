"""`phonotune compare` on documents of aluminium by scaled effective-medium forces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phonopy.file_IO import write_FORCE_SETS
from pymatgen.core import Structure

from phonotune.data.document_files import write_property
from phonotune.physics.committee_spread import with_spread
from phonotune.physics.elastic import ElasticSettings, analyse_stresses, plan_strains
from phonotune.physics.phonon.document import phonopy_of
from phonotune.schemas.base import Source
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import PhononDocument
from tests.cli.conftest import EmtEvaluator

Make = Callable[..., PhononDocument]


def elastic_of(structure: Structure, role: str, scale: float) -> ElasticDocument:
    plan = plan_strains(structure, ElasticSettings())
    source = Source(role=role, evaluator="emt")
    return analyse_stresses(plan, EmtEvaluator(scale)(plan.structures), source)


@pytest.fixture
def folders(phonons_of: Make, aluminium: Structure, tmp_path: Path) -> tuple[Path, Path]:
    """Reference, and a committee of two members around 1.1 times its forces."""
    reference, model = tmp_path / "reference", tmp_path / "model"
    for folder in (reference, model):
        folder.mkdir()
    write_property(phonons_of("reference"), reference)
    write_property(elastic_of(aluminium, "reference", 1.0), reference)
    members = [phonons_of("lora", scale) for scale in (1.05, 1.15)]
    write_property(with_spread(phonons_of("lora", 1.1), members), model)
    stiffness = [elastic_of(aluminium, "lora", scale) for scale in (1.1, 1.05, 1.15)]
    write_property(with_spread(stiffness[0], stiffness[1:]), model)
    return reference, model


@pytest.fixture
def phonons(phonons_of: Make, tmp_path: Path) -> tuple[Path, Path, Path]:
    """The phonons of a reference, the same as phonopy_disp.yaml and FORCE_SETS, and those of a model."""
    ours, theirs, model = (tmp_path / name for name in ("ours", "theirs", "model"))
    for folder in (ours, theirs, model):
        folder.mkdir()
    reference = phonons_of("reference")
    write_property(reference, ours)
    write_property(phonons_of("lora", 1.1), model)
    phonon = phonopy_of(reference)
    kept = {"force_sets": False, "force_constants": False, "displacements": True}
    phonon.save(theirs / "phonopy_disp.yaml", settings=kept)
    write_FORCE_SETS(phonon.dataset, theirs / "FORCE_SETS")
    return ours, theirs, model


def test_a_folder_of_phonopy_is_a_reference(
    phonons: tuple[Path, Path, Path], cli: Any, tmp_path: Path
) -> None:
    ours, theirs, model = phonons
    (row,) = cli("compare", ours, model)["rows"]
    for path in (theirs, theirs / "phonopy_disp.yaml", theirs / "FORCE_SETS"):
        (same,) = cli("compare", path, model)["rows"]
        expected = row["deviations"]["frequency_mae"]
        assert same["deviations"]["frequency_mae"] == pytest.approx(expected, abs=1e-4)
    (theirs / "BORN").write_text("default\n1 0 0 0 1 0 0 0 1\n0 0 0 0 0 0 0 0 0\n")
    said = " ".join(cli.plain("compare", theirs, model).stderr.split())
    assert f"Reference: {theirs / 'phonopy_disp.yaml'}, {theirs / 'FORCE_SETS'}" in said
    assert "BORN are left out, since the phonons of emt have none" in said
    (tmp_path / "empty").mkdir()
    assert "holds none of phonons.json" in cli.error("compare", tmp_path / "empty", model)


def test_the_file_holds_every_deviation_and_the_error_bars(
    folders: tuple[Path, Path], cli: Any, tmp_path: Path
) -> None:
    found = cli("compare", *folders, "-o", tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == found
    (row,) = found["rows"]
    deviations = row["deviations"]
    assert deviations["bulk_modulus"] == pytest.approx(10)
    assert set(deviations["elastic"]["constants"]) >= {"C11", "C12", "C44"}
    assert deviations["highest_frequency_bias"] == pytest.approx(100 * (np.sqrt(1.1) - 1))
    assert len(deviations["branch_mae"]) == 3
    expected = 0.1 / np.sqrt(2) / 1.1 * row["properties"]["bulk_modulus"]
    assert row["error_bars"]["bulk_modulus"] == pytest.approx(expected)


def test_the_tables_name_error_bars_constants_and_branches(
    folders: tuple[Path, Path], cli: Any
) -> None:
    text = cli.plain("compare", *folders).stdout
    for words in ("±", "C12 C13 C23, GPa", "lowest three branches, THz", "S, largest, J/K/mol"):
        assert words in text
    assert "phases" not in text


def test_plots_are_written_where_asked(
    folders: tuple[Path, Path], cli: Any, tmp_path: Path
) -> None:
    cli("compare", *folders, "--plots", tmp_path / "figures")
    for name in ("frequencies.png", "branches.png"):
        assert (tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_plots_without_phonons_are_refused_before_anything_is_written(
    folders: tuple[Path, Path], cli: Any, tmp_path: Path
) -> None:
    for folder in folders:
        (folder / "phonons.json").unlink()
    options = ("-o", tmp_path / "c.json", "--plots", tmp_path / "figures")
    assert "--plots draws phonons" in cli.error("compare", *folders, *options)
    assert not (tmp_path / "c.json").exists()
    assert not (tmp_path / "figures").exists()
