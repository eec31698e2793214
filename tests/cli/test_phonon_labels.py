"""``phonotune phonons --labels``: labelled frames of the supercell correct a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.data.document_files import read_document
from phonotune.data.extxyz import write_frames
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.residual import residual_variant
from phonotune.schemas.dataset import Frame

SUPERCELL = ("--supercell", "2", "2", "2")
CRYSTAL = Structure(Lattice.cubic(4.2), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])


def label(repeats: tuple[int, int, int], path: Path) -> Path:
    """Write one small rattle labelled by `teacher`."""
    cell = CRYSTAL * repeats
    moves = np.random.default_rng(0).normal(scale=0.01, size=(len(cell), 3))
    structure = Structure(
        cell.lattice, cell.species, cell.cart_coords + moves, coords_are_cartesian=True
    )
    answer = load_evaluator("teacher", "cpu")([structure])[0]
    write_frames(path, [Frame(structure, answer.energy, answer.forces, answer.stress)])
    return path


@pytest.fixture(scope="module")
def crystal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crystal") / "cscl.cif"
    CRYSTAL.to(filename=str(path))
    return path


def test_labels_bring_the_model_to_the_reference(cli: Any, crystal: Path, tmp_path: Path) -> None:
    labels = label((2, 2, 2), tmp_path / "labels.extxyz")
    for name, extra in (("teacher", []), ("mini", ["--labels", labels])):
        cli("phonons", crystal, "--model", name, *SUPERCELL, *extra, "-o", tmp_path / name)
    found, wanted = (
        read_document(tmp_path / name / "phonons.json") for name in ("mini", "teacher")
    )
    assert found.residual.n_frames == 1
    assert wanted.residual is None
    before, after, exact = (
        document.data.arrays()["mesh_frequencies"]
        for document in (residual_variant(found, "model"), found, wanted)
    )
    assert np.abs(after - exact).mean() < 0.1 * np.abs(before - exact).mean()


def test_the_three_are_shown_beside_each_other(cli: Any, crystal: Path, tmp_path: Path) -> None:
    labels = label((2, 2, 2), tmp_path / "labels.extxyz")
    shown = cli.plain(
        "phonons", crystal, "--model", "mini", *SUPERCELL, "--labels", labels, "-o", tmp_path / "o"
    ).output
    assert "plain symfc fit" in shown
    assert "model + ΔΦ" in shown
    assert "1 labelled frames of this supercell, 0 others" in " ".join(shown.split())


def test_labels_of_another_cell_only_are_refused(cli: Any, crystal: Path, tmp_path: Path) -> None:
    labels, output = label((2, 2, 1), tmp_path / "labels.extxyz"), tmp_path / "o"
    message = cli.error(
        "phonons", crystal, "--model", "mini", *SUPERCELL, "--labels", labels, "-o", output
    )
    assert message.startswith(
        "None of 1 labelled frames is a displaced one of the undeformed phonon supercell"
    )
    assert not output.exists()


def test_labels_that_are_not_there_are_refused(cli: Any, crystal: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.extxyz"
    message = cli.error(
        *("phonons", crystal, "--model", "mini", *SUPERCELL, "--labels", missing),
        *("-o", tmp_path / "o"),
    )
    assert "none.extxyz" in message
