"""What `phonotune phonons` refuses, and what its options change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.cli.phonons import parse_primitive
from phonotune.data.document_files import read_document
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


def test_isotopes_of_the_file_reach_the_frequencies_and_comparison_names_them(
    cli: Any, tmp_path: Path
) -> None:
    a, heavy = 3.995, 4 * 26.9815385
    rows = [(0, 0), (0, 1), (1, 0), (1, 1)]
    sites = "".join(
        f"Al {a / 2 * ((x + y) % 2)} {a / 2 * y} {a / 2 * x} {heavy}\n" for x, y in rows
    )
    crystal = tmp_path / "al.extxyz"
    crystal.write_text(
        f'4\nLattice="{a} 0 0 0 {a} 0 0 0 {a}" Properties=species:S:1:pos:R:3:masses:R:1\n{sites}'
    )
    common = ("--model", "ase:ase.calculators.emt:EMT", "--supercell", "1 1 1", "-o")
    highest = {}
    for masses in ("stated", "natural"):
        folder = tmp_path / masses
        found = cli.plain("phonons", crystal, "--masses", masses, *common, folder)
        assert found.exit_code == 0, found.output
        assert ("Al 107.9262 amu (4 of 4 atoms)" in found.stderr) == (masses == "stated")
        document = read_document(folder / "phonons.json")
        highest[masses] = document.highest_frequency
    assert highest["natural"] == pytest.approx(2 * highest["stated"], rel=1e-4)
    stated, natural = tmp_path / "stated", tmp_path / "natural"
    message = cli.error("compare", natural, stated)
    assert "masses, natural and Al 107.9262 amu (4 of 4 atoms)" in message
    assert "--masses natural" in message
    reference = stated / "phonopy_params.yaml"
    assert "masses, Al 107.9262 amu" in cli.error("compare", reference, natural)
    (row,) = cli("compare", reference, natural, "--masses", "natural")["rows"]
    assert row["deviations"]["frequency_mae"] == pytest.approx(0, abs=1e-3)
    assert cli.plain("phonons", crystal, "--masses", "D", *common, natural).exit_code == 2
