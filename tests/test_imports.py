"""What needs only names and hashes loads neither torch nor what is built on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

HEAVY = {"torch", "mace", "e3nn", "atomate2", "matplotlib", "pandas", "sympy", "networkx"}

FLOW = """
from phonotune.flows.run import check_foundation
from phonotune.flows.identity import stable_flow
from phonotune.flows.pipeline import PhonotuneMaker
from pymatgen.core import Structure

crystal = Structure.from_file("crystal.cif")
check_foundation("mini", {"crystal": crystal})
stable_flow(PhonotuneMaker(foundation="mini", relax_first=False).make(crystal))
"""

HELP = """
import sys
from phonotune.cli.app import main

sys.argv = ["phonotune", "run", "--help"]
try:
    main()
except SystemExit:
    pass
"""


def loaded(code: str, folder: Path) -> set[str]:
    """Return the modules that a fresh interpreter has after some code."""
    code += "\nimport json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("import phonotune", 150),
        (HELP, 700),
        ("import phonotune.models.records, phonotune.models.catalogue", 500),
        ("import phonotune.flows.pipeline", 2100),
    ],
    ids=["package", "help", "names", "flows"],
)
def test_light_imports_stay_light(code, most, tmp_path):
    modules = loaded(code, tmp_path)
    assert not modules & HEAVY
    assert len(modules) <= most, "see `python -X importtime` for what came in"


def test_a_flow_is_checked_made_and_named_without_torch(tmp_path):
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    salt.to(str(tmp_path / "crystal.cif"))
    assert not loaded(FLOW, tmp_path) & {"torch", "mace", "e3nn"}
