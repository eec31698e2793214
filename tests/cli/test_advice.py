"""Every option and command that a message, a help text or a page names is on the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import click
import pytest
import typer

from phonotune.cli.app import app

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
MODULES: Final = sorted((ROOT / "src" / "phonotune").rglob("*.py"))

OTHERS: Final = {
    "--nlaunches": "qlaunch",
    "--max_loops": "rlaunch",
    "--sleep": "rlaunch",
    "--errors": "jf project check",
    "--sync-on-commit": "SecantusDB",
    "--seconds": "the script that trains the toy models",
    "--work": "the script that trains the toy models",
}
"""Options of other programs."""
_OPTION: Final = re.compile(r"(?<![\w`/(-])`?(--[a-z][a-z0-9_]*(?:-[a-z0-9_]+)*)(?!:)\b")
_COMMAND: Final = re.compile(
    r"(?:`|^ {4,}(?:\$ )?)phonotune((?: +[a-z][a-z|\\-]*)+)([^`\n]*(?:\\\n[^`\n]*)*)", re.MULTILINE
)


@cache
def commands() -> dict[str, frozenset[str]]:
    """Return the options of each command by its name, of groups as "dataset split"."""
    found: dict[str, frozenset[str]] = {}

    def walk(command: click.Command, name: str) -> None:
        for inner_name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {inner_name}".strip())
        options = [o for p in command.params for o in (*p.opts, *p.secondary_opts)]
        found[name] = frozenset([*options, "--help"])

    walk(typer.main.get_command(app), "")
    return found


def texts(path: Path) -> Iterator[str]:
    """Yield the string literals of a module, what is filled in as X, or a page."""
    if path.suffix == ".md":
        yield path.read_text(encoding="utf-8")
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else "X" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def without_other_programs(text: str) -> str:
    """Return a text without code in which other programs are called."""
    parts = text.split("`")  # prose and code in turn
    parts[1::2] = [code if code.startswith(("phonotune ", "--")) else "" for code in parts[1::2]]
    return re.sub(
        r"^ {4,}(?!phonotune |\$ phonotune |--).*$", "", "`".join(parts), flags=re.MULTILINE
    )


def unknown(text: str) -> list[str]:
    """Return the commands and options that a text names and the command line lacks."""
    known, found = commands(), []
    every = frozenset().union(*known.values())
    groups = {name.split()[0] for name in known if " " in name}
    for match in _COMMAND.finditer(text):
        words = [re.split(r"\\?\|", word) for word in match[1].split()]
        for word in words[0]:
            inner = words[1] if word in groups and len(words) > 1 else [""]
            names = [f"{word} {second}".strip() for second in inner]
            found += [f"phonotune {name}" for name in names if name not in known]
            own = frozenset().union(*(known.get(name, every) for name in names))
            if names == [word] and word in groups:
                own = every
            options = _OPTION.findall(match[2])
            found += [f"phonotune {word} {option}" for option in options if option not in own]
    named = _OPTION.findall(without_other_programs(text))
    return found + [o for o in named if o not in every and o not in OTHERS]


@cache
def options_of_benchmarks() -> frozenset[str]:
    """Return the options of the programs whose numbers docs/performance.md holds."""
    programs = (ROOT / "benchmarks").rglob("*.py")
    return frozenset(o for p in programs for o in _OPTION.findall(p.read_text().replace('"', " ")))


@pytest.mark.parametrize("path", [*PAGES, *MODULES], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_advised_exists(path: Path) -> None:
    found = {name for text in texts(path) for name in unknown(text)}
    if path.name == "performance.md":
        found -= options_of_benchmarks()
    assert found == set()


def test_what_does_not_exist_is_found() -> None:
    assert unknown("`phonotune frobnicate X`") == ["phonotune frobnicate"]
    assert unknown("Use `phonotune thermal --imaginary`.") == [
        "phonotune thermal --imaginary",
        "--imaginary",
    ]
    assert unknown("`phonotune dataset frob F`") == ["phonotune dataset frob"]
    assert unknown("set --no-such-option") == ["--no-such-option"]
    assert unknown("`phonotune phonons POSCAR --model mini -o DIR`, --masses natural") == []
    assert unknown("    phonotune dataset split F --valid 0.2 -o DIR\n") == []
    assert unknown("`phonotune elastic POSCAR --supercell 1 1 1`") == [
        "phonotune elastic --supercell"
    ]
