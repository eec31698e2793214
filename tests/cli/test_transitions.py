"""`phonotune transitions`: files, numbers, limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.cli.documents import read_document, summary_of


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
