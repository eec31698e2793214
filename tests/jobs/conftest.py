"""VASP for the tests of the labelling jobs: an emulator behind atomate2, and POTCAR headers."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

EMULATORS = Path(__file__).parents[1] / "emulators"


@dataclass(frozen=True)
class VaspHere:
    """VASP as the tests have it."""

    command: str
    potcars: Path


@pytest.fixture(scope="module")
def vasp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaspHere]:
    """Let atomate2 start the emulator and pymatgen find POTCARs."""
    from atomate2.vasp.run import run_vasp
    from pymatgen.core import SETTINGS

    here = VaspHere(f"{sys.executable} {EMULATORS / 'vasp.py'}", tmp_path_factory.mktemp("potcars"))
    subprocess.run([sys.executable, EMULATORS / "potcars.py", here.potcars], check=True)
    run = functools.partial(run_vasp, vasp_cmd=here.command, vasp_gamma_cmd=here.command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atomate2.vasp.jobs.base.run_vasp", run)
        patch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(here.potcars))
        yield here
