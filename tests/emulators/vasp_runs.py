"""Files of made-up runs of VASP, written without running anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vasp_files
from ase import Atoms
from vasp import Run, Step

BASE = {"PREC": "Accurate", "ENCUT": "520", "ISMEAR": "0", "SIGMA": "0.05", "EDIFF": "1e-7"}


def made_up_run(changes: dict[str, str], version: str) -> Run:
    """Return a run of one step with random labels; ``changes`` of INCAR, an empty text removes a key."""
    rng = np.random.default_rng(1)
    atoms = Atoms("MgO", positions=[[0, 0, 0], [2.1, 0.02, 0]], cell=4.2 * np.eye(3), pbc=True)
    half = rng.normal(size=(3, 3)) / 100
    return Run(
        incar={key: value for key, value in (BASE | changes).items() if value},
        atoms=atoms,
        titles=["PAW_PBE Mg 13Apr2007", "PAW_PBE O 08Apr2002"],
        valences=[2.0, 6.0],
        mode="ok",
        version=version,
        steps=[Step(atoms, -11.9, rng.normal(size=(2, 3)).round(6), half + half.T)],
    )


def write_run(folder: Path, changes: dict[str, str], version: str) -> tuple[Path, Path]:
    """Write vasprun.xml and OUTCAR of :func:`made_up_run`; return their paths."""
    run = made_up_run(changes, version)
    folder.mkdir(parents=True)
    (folder / "vasprun.xml").write_text(vasp_files.vasprun(run))
    (folder / "OUTCAR").write_text(vasp_files.outcar(run))
    return folder / "vasprun.xml", folder / "OUTCAR"
