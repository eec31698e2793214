"""`phonotune double-well`: which mode, which directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.cli.wells import parse_mode
from phonotune.errors import ConfigError


@pytest.fixture(scope="module")
def crystal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crystal") / "cscl.cif"
    Structure(Lattice.cubic(4.2), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3]).to(filename=str(path))
    return path


def test_the_mode_asked_for_is_followed_in_all_its_directions(
    crystal: Path, cli: Any, tmp_path: Path
) -> None:
    options = ("--supercell", "2", "2", "2", "--q", "1/2", "0", "0", "--directions", "all")
    found = cli("double-well", crystal, "--model", "mini", *options, "-o", tmp_path)["well"]
    assert found["q"] == [0.5, 0, 0]
    assert {part["direction"] for part in found["directions"]} in ({"a"}, {"a0", "aa"})
    assert found["irrep"] is not None
    stored = json.loads((tmp_path / "well.json").read_text())
    assert stored["directions"] == found["directions"]
    assert (tmp_path / "well.png").read_bytes().startswith(b"\x89PNG")


def test_fractions_and_labels_are_read_from_the_command_line() -> None:
    settings = parse_mode(("1/3", "0.25", "-1"), 2, "a00, aaa")
    assert settings.q == (1 / 3, 0.25, -1.0)
    assert (settings.band, settings.directions) == (2, ("a00", "aaa"))


@pytest.mark.parametrize("q", [("x", "0", "0"), ("1/0", "0", "0")])
def test_a_wavevector_that_is_no_number_is_refused(q: tuple[str, str, str]) -> None:
    with pytest.raises(ConfigError, match="three numbers or fractions"):
        parse_mode(q, None, None)


def test_a_band_without_its_wavevector_is_refused_before_anything_starts(
    crystal: Path, cli: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    message = cli.error("double-well", crystal, "--model", "mini", "--band", "3", "-o", folder)
    assert "give --q, too" in message
    assert not folder.exists()
