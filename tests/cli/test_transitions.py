"""`phonotune transitions`: files, numbers, limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.data.document_files import read_document, summary_of


@pytest.fixture
def crystal(tmp_path: Path) -> Path:
    path = tmp_path / "cscl.cif"
    Structure(Lattice.cubic(4.2), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3]).to(filename=str(path))
    return path


def test_a_tree_is_written_with_its_figures_and_phases(
    crystal: Path, cli: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "phases"
    found = cli("transitions", crystal, "--model", "mini", "--depth", "0", "-o", folder)
    assert {path.name for path in folder.iterdir()} == set(found["files"])
    assert found["transitions"]["nodes"][0]["space_group"] == "Pm-3m"
    assert (folder / "tree.png").read_bytes().startswith(b"\x89PNG")
    document = read_document(folder / "transitions.json")
    assert summary_of(document) == found["transitions"]
    kept = Structure.from_file(folder / "phase_00.vasp")
    assert kept.volume == pytest.approx(document.structures()[0].volume, rel=1e-9)  # type: ignore[attr-defined]
    assert json.loads((folder / "transitions.json").read_text())["data"]["lattices"]


def test_a_negative_depth_is_refused(crystal: Path, cli: Any, tmp_path: Path) -> None:
    message = cli.error(
        "transitions", crystal, "--model", "mini", "--depth", "-1", "-o", tmp_path / "out"
    )
    assert "--depth" in message
    assert not (tmp_path / "out").exists()


def test_phases_are_labelled_at_the_geometry_of_the_model(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / "al.cif", tmp_path / "phases"
    Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0), ["Al"], [[0, 0, 0]]).to(
        filename=str(path)
    )
    options = ("--model", "mini", "--depth", "0", "--labeller", "emt", "-o", folder)
    found = cli("transitions", path, *options)
    assert "labels.extxyz" in found["files"]
    assert found["transitions"]["labeller"] == "emt"
    (node,) = found["transitions"]["nodes"]
    assert node["label"]["energy_per_atom"] == 0
    document = read_document(folder / "transitions.json")
    assert summary_of(document) == found["transitions"]
    monkeypatch.setattr("phonotune.flows.labelling.label_frames", None)
    assert cli("transitions", path, *options)["transitions"] == found["transitions"]


def test_phases_without_a_label_are_said_and_end_with_1(
    crystal: Path, cli: Any, tmp_path: Path
) -> None:
    """EMT knows neither Cs nor Cl."""
    options = ("--model", "mini", "--depth", "0", "--labeller", "emt", "-o", tmp_path / "out")
    (node,) = cli("transitions", crystal, *options, code=1)["transitions"]["nodes"]
    assert node["label"]["energy_per_atom"] is None
    assert "failed" in node["label"]["reason"]
    assert (tmp_path / "out" / "transitions.json").is_file()


def test_an_unknown_labeller_is_refused_before_the_tree_grows(
    crystal: Path, cli: Any, tmp_path: Path
) -> None:
    options = ("--model", "mini", "--labeller", "emd", "-o", tmp_path / "out")
    assert "emt" in cli.error("transitions", crystal, *options)
    assert not (tmp_path / "out").exists()
