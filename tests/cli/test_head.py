"""Every command that takes a model or a foundation takes one of its heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Structure

from phonotune.cli.config import build_maker
from phonotune.errors import ConfigError, FoundationError
from phonotune.flows.run import check_foundation

COMMANDS = {
    "phonons": ("CRYSTAL", "--model", "mini", "-o", "out"),
    "elastic": ("CRYSTAL", "--model", "mini", "-o", "out"),
    "double-well": ("CRYSTAL", "--model", "mini", "-o", "out"),
    "transitions": ("CRYSTAL", "--model", "mini", "-o", "out"),
    "thermal": ("CRYSTAL", "--model", "mini", "-o", "out"),
    "sample": ("CRYSTAL", "--foundation", "mini", "-o", "frames.extxyz"),
    "run": ("CRYSTAL", "--foundation", "mini", "--labeller", "emt"),
    "store migrate": ("CRYSTAL", "--foundation", "mini", "--labeller", "emt"),
    "models verify": ("mini",),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_head_that_is_not_there_is_refused_by(
    command: str, cli: Any, aluminium: Structure, tmp_path: Path
) -> None:
    crystal = tmp_path / "POSCAR"
    aluminium.to(filename=str(crystal), fmt="poscar")
    given = [crystal if word == "CRYSTAL" else word for word in COMMANDS[command]]
    message = cli.error(*command.split(), *given, "--head", "omol")
    assert "mini has one head, Default, not 'omol'. Leave --head out." in message


def test_a_configuration_names_a_head(tmp_path: Path, aluminium: Structure) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("foundation: mini\nhead: omol\n")
    maker = build_maker(file, {"head": None})
    assert maker.head == "omol"
    assert build_maker(file, {"head": "Default"}).head == "Default"
    with pytest.raises(FoundationError, match="not 'omol'"):
        check_foundation("mini", {"Al": aluminium}, maker.head)
    with pytest.raises(FoundationError, match="not 'omol'"):
        maker.make(aluminium)
    file.write_text("head: [omol]\n")
    with pytest.raises(ConfigError, match="head"):
        build_maker(file, {})
