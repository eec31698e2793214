"""A property whose worker is killed by -9 goes on from the structures that were answered."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from warm import CONTEXT, WarmProcess

from phonotune.jobs.phonon import PhononMaker
from phonotune.models import answer_cache, evaluate
from phonotune.physics.phonon.displacements import PhononSettings


def compute(talk: Connection) -> None:
    """Compute phonons one structure at a time; tell of each answer and wait for leave to go on."""
    answer = evaluate.ModelEvaluator.__call__

    def tell(self, structures):
        answers = answer(self, structures)
        talk.send(len(structures))
        talk.recv()
        return answers

    answer_cache.ATOMS_AT_ONCE = 1
    evaluate.ModelEvaluator.__call__ = tell
    salt = Structure(
        Lattice.orthorhombic(3.9, 4.1, 4.3), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.45]]
    )
    settings = PhononSettings(supercell_matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    document = PhononMaker.make.original(PhononMaker(settings=settings), salt, "mini")
    talk.send(document.data.sha256)


def start(folder: Path) -> tuple[WarmProcess, Connection]:
    here, there = CONTEXT.Pipe()
    variables = {
        "PHONOTUNE_CHECKPOINT_DIR": str(folder),
        "PHONOTUNE_CHECKPOINT_SECONDS": "1e-9",
        "PHONOTUNE_DEVICE": "cpu",
    }
    output = folder.with_name("output")
    return WarmProcess(compute, there, folder=output, variables=variables), here


def finish(process: WarmProcess, talk: Connection) -> tuple[int, str]:
    """Return the structures evaluated and the hash of the result."""
    count = 0
    while isinstance(told := talk.recv(), int):
        count += told
        talk.send("go on")
    assert process.wait() == 0, process.stderr
    return count, told


@pytest.mark.slow
def test_phonons_whose_worker_was_killed_evaluate_nothing_twice(tmp_path: Path) -> None:
    count, expected = finish(*start(tmp_path / "whole"))
    assert count >= 4
    killed, talk = start(tmp_path / "killed")
    for done in range(3):
        assert talk.recv() == 1
        if done < 2:
            talk.send("go on")
    killed.kill()
    assert len(list((tmp_path / "killed").glob("*.sqlite"))) == 1
    # the third answer was not on disk yet
    assert finish(*start(tmp_path / "killed")) == (count - 2, expected)
    assert list((tmp_path / "killed").iterdir()) == []
