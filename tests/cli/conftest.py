"""A fast evaluator, documents made with it, and the command line as a function."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Structure
from typer.testing import CliRunner

from phonotune.cli.app import app
from phonotune.models.ase_engine import AseEvaluator
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument


class EmtEvaluator(AseEvaluator):
    """ASE's effective medium theory, all answers scaled to stand for another model."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(EMT())
        self.scale = scale

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        return [
            Evaluation(self.scale * a.energy, self.scale * a.forces, self.scale * a.stress)
            for a in super().__call__(structures)
        ]


@pytest.fixture
def phonons_of(aluminium: Structure) -> Callable[..., PhononDocument]:
    """Phonons of aluminium by EMT, forces scaled."""

    def compute(role: str = "untuned", scale: float = 1.0) -> PhononDocument:
        settings = PhononSettings(
            supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=20.0
        )
        plan = plan_displacements(aluminium, settings)
        source = Source(role=role, evaluator="emt")
        return analyse_forces(plan, EmtEvaluator(scale)(plan.structures), source)

    return compute


class Cli:
    """Runs ``phonotune`` in this process."""

    def __call__(self, *arguments: object, code: int = 0) -> Any:
        """Run a command with --json; return the object on stdout, after checking the exit code."""
        result = self.plain(*arguments, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def error(self, *arguments: object, code: int = 2) -> str:
        """Run a command that must fail; return the message of its one error object."""
        content = self(*arguments, code=code)
        assert list(content) == ["error"]
        message: str = content["error"]["message"]
        return message

    def plain(self, *arguments: object) -> Any:
        """Run a command; return typer's result."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def cli() -> Cli:
    """The command line."""
    return Cli()


@pytest.fixture
def cif(tmp_path: Path, aluminium: Structure) -> Path:
    """Aluminium in a file."""
    path = tmp_path / "al.cif"
    aluminium.to(filename=str(path))
    return path
