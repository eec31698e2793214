"""A property whose worker is killed by -9 goes on from the structures that were answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import sys
from pymatgen.core import Lattice, Structure
from phonotune.jobs.phonon import PhononMaker
from phonotune.models import evaluate, remember
from phonotune.physics.phonon.displacements import PhononSettings

remember.ATOMS_AT_ONCE = 1  # a structure at a time
answer = evaluate.ModelEvaluator.__call__

def tell(self, structures):
    answers = answer(self, structures)
    print("evaluated", len(structures), flush=True)
    sys.stdin.readline()
    return answers

evaluate.ModelEvaluator.__call__ = tell
salt = Structure(Lattice.orthorhombic(3.9, 4.1, 4.3), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.45]])
settings = PhononSettings(supercell_matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
document = PhononMaker.make.original(PhononMaker(settings=settings), salt, "mini")
print("result", document.data.sha256, flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PHONOTUNE_CHECKPOINT_DIR": str(folder),
        "PHONOTUNE_CHECKPOINT_SECONDS": "1e-9",
        "PHONOTUNE_DEVICE": "cpu",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the structures evaluated and the hash of the result."""
    output = process.communicate("\n" * 99)[0].splitlines()
    assert process.returncode == 0
    numbers = [int(line.split()[1]) for line in output if line.startswith("evaluated")]
    return sum(numbers), next(line for line in output if line.startswith("result"))


@pytest.mark.slow
def test_phonons_whose_worker_was_killed_evaluate_nothing_twice(tmp_path: Path) -> None:
    count, expected = finish(start(tmp_path / "whole"))
    assert count >= 4
    killed = start(tmp_path / "killed")
    done = 0
    while done < 3:
        if killed.stdout.readline().startswith("evaluated"):
            done += 1
            if done < 3:
                killed.stdin.write("\n")
                killed.stdin.flush()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed").iterdir())) == 1
    # the third answer was not on disk yet
    assert finish(start(tmp_path / "killed")) == (count - 2, expected)
    assert list((tmp_path / "killed").iterdir()) == []
