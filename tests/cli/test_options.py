"""The grammar of --supercell, and checks before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from phonotune.cli.options import (
    check_output_file,
    check_output_folder,
    join_integers,
    parse_supercell,
)
from phonotune.errors import ConfigError, InputError


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        (["--supercell", "2", "2", "2", "POSCAR"], ["--supercell", "2 2 2", "POSCAR"]),
        (
            ["POSCAR", "--supercell", "2 2 2", "-o", "x"],
            ["POSCAR", "--supercell", "2 2 2", "-o", "x"],
        ),
        (
            ["--supercell", "-1", "1", "1", "1", "-1", "1", "1", "1", "-1", "--json"],
            ["--supercell", "-1 1 1 1 -1 1 1 1 -1", "--json"],
        ),
        (["--supercell", "--json"], ["--supercell", "--json"]),
        (["2", "-o", "3"], ["2", "-o", "3"]),
    ],
)
def test_integers_after_supercell_become_one_value(given: list[str], joined: list[str]) -> None:
    assert join_integers(given, "--supercell") == joined


def test_three_integers_are_the_diagonal() -> None:
    assert parse_supercell("2 3 4") == ((2, 0, 0), (0, 3, 0), (0, 0, 4))


def test_nine_integers_are_the_rows_of_the_matrix() -> None:
    assert parse_supercell("-1 1 1 1 -1 1 1 1 -1") == ((-1, 1, 1), (1, -1, 1), (1, 1, -1))


def test_no_supercell_is_left_to_the_default() -> None:
    assert parse_supercell(None) is None


@pytest.mark.parametrize("text", ["2 2", "2 2 2 2", "a b c", "2.5 2 2", ""])
def test_other_supercells_are_refused_with_what_was_found(text: str) -> None:
    with pytest.raises(ConfigError, match="3 or 9 integers") as caught:
        parse_supercell(text)
    assert repr(text) in str(caught.value)


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for check in (check_output_file, check_output_folder):
        with pytest.raises(InputError, match="is a file, not a folder"):
            check(file / "below" / "it")


def test_kinds_of_outputs_are_not_confused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="takes a folder"):
        check_output_folder(file)
    with pytest.raises(InputError, match="takes a file"):
        check_output_file(tmp_path)


def test_a_new_output_is_accepted_and_not_created(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "new" / "folder")
    check_output_file(tmp_path / "new" / "file")
    assert list(tmp_path.iterdir()) == []
