"""The assembled command line: quick, quiet, and with one grammar of errors."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from phonotune.cli.app import app

COMMANDS = (
    "demo",
    "run",
    "campaign",
    "submit",
    "status",
    "retry",
    "cancel",
    "profile init",
    "sample",
    "label",
    "import",
    "dataset info",
    "dataset split",
    "dataset append",
    "dataset export",
    "finetune",
    "merge",
    "phonons",
    "elastic",
    "double-well",
    "transitions",
    "compare",
    "results",
    "show",
    "lineage",
    "archive save",
    "archive load",
    "report",
    "doctor",
    "models list",
    "models verify",
    "models trust",
)


def test_help_imports_no_heavy_package() -> None:
    script = (
        "import sys\n"
        "from phonotune.cli.app import main\n"
        "heavy = {'torch', 'mace', 'pymatgen', 'jobflow', 'phonopy', 'matplotlib', 'ase'}\n"
        "for command in ([], ['run'], ['submit'], ['finetune'], ['results'], ['phonons']):\n"
        "    sys.argv = ['phonotune', *command, '--help']\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as stop:\n"
        "        assert stop.code == 0, stop.code\n"
        "    if not command:\n"
        "        assert 'numpy' not in sys.modules\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in done.stdout
    for command in {name.split()[0] for name in COMMANDS}:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_json_and_debug(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert "--debug" in result.stdout


@pytest.mark.parametrize(
    "command", ["sample", "label", "import", "dataset info", "dataset split", "dataset export"]
)
def test_help_of_a_command_on_frames_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert f"Example: phonotune {command} " in result.stdout


def test_version_is_the_package_s() -> None:
    from importlib.metadata import version

    result = CliRunner().invoke(app, ["--version"])
    assert result.stdout.strip() == version("phonotune")


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["phonons"],
        ["phonons", "x", "--no-such-option"],
        ["results", "--format", "x"],
    ],
)
def test_a_usage_error_is_exit_2_with_nothing_on_stdout(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_a_usage_error_with_json_is_one_object() -> None:
    result = CliRunner().invoke(app, ["phonons", "POSCAR", "--json"])
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["type"] == "UsageError"
    assert "--model" in error["message"]
