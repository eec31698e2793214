"""What `phonotune phonons` refuses, and what its options change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.cli.phonons import parse_primitive
from phonotune.errors import ConfigError

FACES = "0 1/2 1/2 1/2 0 1/2 1/2 1/2 0"


@pytest.fixture
def crystal(tmp_path: Path) -> Path:
    structure = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    path = tmp_path / "POSCAR"
    structure.to(filename=str(path), fmt="poscar")
    return path


def refuse(cli: Any, crystal: Path, output: Path, *options: object) -> str:
    message: str = cli.error("phonons", crystal, "--model", "mini", *options, "-o", output)
    assert "\n" not in message
    assert not output.exists()
    return message


def test_a_primitive_matrix_is_read_in_fractions() -> None:
    assert parse_primitive(FACES) == ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
    assert parse_primitive("auto") is None


@pytest.mark.parametrize("text", ["1 0 0", "F", "1/0 0 0 0 1 0 0 0 1"])
def test_a_primitive_matrix_of_other_than_nine_numbers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="9 numbers"):
        parse_primitive(text)


def test_a_primitive_matrix_that_does_not_fit(cli: Any, crystal: Path, tmp_path: Path) -> None:
    half = "1/2 0 0 0 1/2 0 0 0 1/2"
    message = refuse(cli, crystal, tmp_path / "out", "--primitive", half)
    assert "does not fit NaCl" in message


def test_a_supercell_too_large_for_the_memory(cli: Any, crystal: Path, tmp_path: Path) -> None:
    message = refuse(cli, crystal, tmp_path / "out", "--supercell", 60, 60, 60)
    assert "1728000 atoms need about" in message
    assert "--supercell" in message


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["2 0 0 0 2 0 0 0 2", "1 0 0 0 1 0 0 0 1"], "not enough"),
        (["2 0 0 0 2 0 0 0 2", *["1 0 0 0 1 0 0 0 1"] * 3], "Too many atoms"),
        (["2 0 0 0 2 0 0 0 2", *["2 0 0 0 1 0 0 0 1"] * 2], "break its symmetry"),
        (["2 0 0 0 2 0 0 0 2", *["1 0 0 0 1 0 0 0 1"] * 2], "neutrality"),
    ],
)
def test_born_charges_of_another_cell(
    cli: Any, crystal: Path, tmp_path: Path, lines: list[str], words: str
) -> None:
    born = tmp_path / "BORN"
    born.write_text("\n".join(["14.4", *lines]) + "\n")
    message = refuse(cli, crystal, tmp_path / "out", "--born", born)
    assert "BORN does not fit NaCl" in message
    assert words in message
