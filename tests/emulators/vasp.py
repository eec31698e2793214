#!/usr/bin/env python
"""A stand-in for vasp_std: reads POSCAR, INCAR, KPOINTS and POTCAR, writes what VASP writes.

Energies, forces and stress come from any ASE calculator; vasprun.xml, OUTCAR, CONTCAR and OSZICAR are such
that custodian's validators, pymatgen and emmet's TaskDoc read them. Environment:

* ``VASP_EMULATOR_CALCULATOR``: ``module:function`` or ``module:function:argument``; default is ASE's EMT,
  shifted by EMT_ZERO.
* ``VASP_EMULATOR_MODE``: ``ok`` or one of MODES; or JSON from the volume of the cell (Å^3, two decimals) to
  a mode, so that each frame of a flow has its own.
* ``VASP_EMULATOR_BORN``: what a run with LEPSILON answers, as JSON: ``{"charges": {"Na": 1.1, "Cl": -1.1},
  "dielectric": 2.4}``; each a number or a tensor.
* ``VASP_EMULATOR_SECONDS``: how long ``slow`` sleeps.

Use it as ATOMATE2_VASP_CMD: ``python tests/emulators/vasp.py``.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import vasp_files
from ase import Atoms

MODES = {
    "ok": "a run that converges",
    "unconverged": "NELM electronic steps, whatever the mixing",
    "stubborn": "converges with linear mixing (BMIX < 0.01) only",
    "stopped": "ends after a few steps, as with LABORT in STOPCAR",
    "crash": "a LAPACK error and exit code 1",
    "silent-crash": "exit code 1 and nothing else",
    "slow": "sleeps before it starts",
    "wrong-incar": "GGA = PS, whatever INCAR says",
    "wrong-algo": "ALGO = All, whatever INCAR says",
    "wrong-potcar": "POTCARs of another version",
    "wrong-mesh": "another k-point mesh",
    "moved": "the first atom stands 0.2 Å off",
    "nan": "forces printed as asterisks",
}
METALS = {"Al", "Au", "Cu"}
"""Their crystals have a gap of 0.02 eV where no charges are planted; any other has one of 9 eV."""
CONVERGED_STEPS = 8
EMT = "ase.calculators.emt:EMT"
EMT_ZERO = -4.0
"""Added to the energies of EMT, eV an atom: they count from the bulk metals, those of VASP from free atoms, and
custodian stops a run with a positive energy.
"""


@dataclass
class Step:
    """One ionic step: structure, energy (eV), forces (eV/Å), stress (eV/Å^3, ASE's sign)."""

    atoms: Atoms
    energy: float
    forces: np.ndarray
    stress: np.ndarray


@dataclass
class Run:
    """A run of VASP: inputs, mode, ionic steps and the energies of the electronic steps."""

    incar: dict[str, str]
    atoms: Atoms
    titles: list[str]
    valences: list[float]
    mode: str
    version: str = "6.4.3"
    started: float = field(default_factory=time.time)
    steps: list[Step] = field(default_factory=list)

    @property
    def used(self) -> dict[str, str]:
        """Every parameter, defaults included."""
        return vasp_files.DEFAULTS | self.incar

    def number(self, key: str) -> float:
        """Return a number of INCAR or its default."""
        return float(self.used[key].split()[0])

    @property
    def species(self) -> list[tuple[str, int]]:
        """Blocks of POSCAR and POTCAR: element and number of atoms; an element may come again."""
        blocks = groupby(self.atoms.get_chemical_symbols())
        return [(symbol, len(list(atoms))) for symbol, atoms in blocks]

    @property
    def n_electrons(self) -> float:
        """Number of valence electrons."""
        return sum(n * z for (_, n), z in zip(self.species, self.valences, strict=True))

    @property
    def n_bands(self) -> int:
        """Number of bands: the occupied ones and four more."""
        return max(1, int(np.ceil(self.n_electrons / 2))) + 4

    @property
    def is_metal(self) -> bool:
        """Whether the bands have next to no gap."""
        planted = "VASP_EMULATOR_BORN" in os.environ
        return not planted and set(self.atoms.get_chemical_symbols()) <= METALS

    def electronic(self, energy: float) -> list[float]:
        """Return the energies of the electronic steps that lead to ``energy``."""
        limit = int(self.number("NELM"))
        linear = float(self.incar.get("BMIX", 1.0)) < 0.01
        if self.mode == "unconverged" or (self.mode == "stubborn" and not linear):
            return [energy + 0.01 * (-1) ** n for n in range(limit)]
        if self.mode == "stopped":
            return [energy + 10.0 ** (-n) for n in range(3)]
        return [energy + 10.0 ** (-2 * n) for n in range(CONVERGED_STEPS - 1)] + [energy]

    @property
    def response(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Born charges, shape (n_atoms, 3, 3), and dielectric tensor; None without LEPSILON."""
        if self.used["LEPSILON"].strip(".").upper()[0] != "T":
            return None
        planted = json.loads(os.environ["VASP_EMULATOR_BORN"])
        symbols = self.atoms.get_chemical_symbols()
        charges = [np.array(planted["charges"][symbol]) * np.eye(3) for symbol in symbols]
        return np.array(charges), np.array(planted["dielectric"]) * np.eye(3)

    def mesh(self) -> list[int]:
        """Return the divisions of the k-point mesh."""
        if Path("KPOINTS").is_file():
            return [int(n) for n in Path("KPOINTS").read_text().splitlines()[3].split()[:3]]
        reciprocal = 2 * np.pi * np.linalg.norm(self.atoms.cell.reciprocal(), axis=1)
        scale = 2 if self.mode == "wrong-mesh" else 1
        return [
            max(1, int(np.ceil(b / self.number("KSPACING") / scale - 1e-9))) for b in reciprocal
        ]


def main() -> int:
    """Run VASP in the current folder."""
    run = read_inputs()
    print(" running    1 mpi-ranks, with    1 threads/rank", flush=True)
    if run.mode == "slow":
        time.sleep(float(os.environ.get("VASP_EMULATOR_SECONDS", "5")))
    if run.mode == "crash":
        print(" LAPACK: Routine ZPOTRF failed!           3           1           1")
    if run.mode.endswith("crash"):
        return 1
    calculate(run)
    Path("vasprun.xml").write_text(vasp_files.vasprun(run))
    Path("OUTCAR").write_text(vasp_files.outcar(run))
    Path("OSZICAR").write_text(vasp_files.oszicar(run))
    Path("CONTCAR").write_text(vasp_files.contcar(run))
    return 0


def read_inputs() -> Run:
    """Read the four input files and the mode."""
    atoms = read_poscar(Path("POSCAR"))
    potcar = Path("POTCAR").read_text()
    asked = os.environ.get("VASP_EMULATOR_MODE", "ok")
    mode = json.loads(asked).get(f"{atoms.get_volume():.2f}", "ok") if "{" in asked else asked
    if mode not in MODES:
        raise SystemExit(f"VASP_EMULATOR_MODE {mode!r} is none of {', '.join(MODES)}")
    incar = read_incar(Path("INCAR"))
    incar |= {"wrong-incar": {"GGA": "PS"}, "wrong-algo": {"ALGO": "All"}}.get(mode, {})
    titles = [title.strip() for title in re.findall(r"TITEL\s*=(.*)", potcar)]
    if mode == "wrong-potcar":
        titles = [re.sub(r"\S+$", "31Dec2022", title) for title in titles]
    return Run(
        incar=incar,
        atoms=atoms,
        titles=titles,
        valences=[float(z) for z in re.findall(r"ZVAL\s*=\s*([\d.]+)", potcar)],
        mode=mode,
    )


def read_poscar(path: Path) -> Atoms:
    """Return the structure of a POSCAR with names of elements and direct coordinates."""
    lines = path.read_text().splitlines()
    counts = [int(n) for n in lines[6].split()]
    if lines[7].strip()[0] not in "dD":
        raise SystemExit("The emulator reads direct coordinates only.")
    vectors, sites = lines[2:5], lines[8 : 8 + sum(counts)]
    cell, positions = (
        np.array([line.split()[:3] for line in part], dtype=float) for part in (vectors, sites)
    )
    symbols = [s for s, n in zip(lines[5].split(), counts, strict=True) for _ in range(n)]
    return Atoms(symbols, cell=float(lines[1]) * cell, scaled_positions=positions, pbc=True)


def read_incar(path: Path) -> dict[str, str]:
    """Return the keys of an INCAR, in upper case, without comments."""
    lines = [re.split(r"[#!]", line)[0] for line in path.read_text().splitlines()]
    pairs = [part.split("=", 1) for line in lines for part in line.split(";") if "=" in part]
    return {key.strip().upper(): value.strip() for key, value in pairs}


def calculate(run: Run) -> None:
    """Compute the ionic steps; NSW > 0 relaxes ions, and the cell with ISIF 3."""
    chosen = os.environ.get("VASP_EMULATOR_CALCULATOR", EMT)
    zero = EMT_ZERO * len(run.atoms) if chosen == EMT else 0.0
    module, name, *arguments = chosen.split(":")
    atoms = run.atoms.copy()
    if run.mode == "moved":
        atoms.positions[0] += [0.2, 0.0, 0.0]
    atoms.calc = getattr(importlib.import_module(module), name)(*arguments)
    most = int(run.number("NSW"))
    if most == 0:
        run.steps.append(step_of(atoms, zero))
        return
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    target = FrechetCellFilter(atoms) if run.number("ISIF") == 3 else atoms
    optimizer = BFGS(target, logfile=None)
    for _ in optimizer.irun(fmax=abs(run.number("EDIFFG")), steps=most):
        run.steps.append(step_of(atoms, zero))


def step_of(atoms: Atoms, zero: float) -> Step:
    """Evaluate the calculator of ``atoms``; ``zero`` (eV) is added to the energy."""
    return Step(
        atoms.copy(),
        float(atoms.get_potential_energy()) + zero,
        np.array(atoms.get_forces()),
        np.array(atoms.get_stress(voigt=False)),
    )


if __name__ == "__main__":
    sys.exit(main())
