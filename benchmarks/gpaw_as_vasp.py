"""GPAW as the calculator behind the VASP emulator: real DFT without VASP.

Debian's GPAW runs under the system's Python, which needs neither phonotune nor its environment:
``VASP_EMULATOR_CALCULATOR=gpaw_as_vasp:calculator`` with this folder in PYTHONPATH.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from ase.io import read
from gpaw import GPAW, PW, FermiDirac

SMALL_CORES = {"Na": "1"}
"""PAW set-ups of GPAW that have as many electrons as a POTCAR without semicore states (Na, not Na_pv)."""


def calculator() -> GPAW:
    """Return PBE with cutoff, k-points and smearing of the INCAR in the current folder.

    Not taken over: ISPIN, since the crystals of the benchmark have no moments, and EDIFF, whose measure GPAW
    does not share; its densities converge to 1e-5 electrons a valence electron, its forces to 1e-3 eV/Å.
    """
    incar = dict(re.findall(r"^\s*(\w+)\s*=\s*(\S+)", Path("INCAR").read_text(), re.MULTILINE))
    spacing = float(incar["KSPACING"])
    vectors = read("POSCAR").cell.reciprocal().lengths()
    mesh = [max(1, math.ceil(2 * math.pi * b / spacing - 1e-9)) for b in vectors]
    return GPAW(
        mode=PW(float(incar["ENCUT"])),
        xc="PBE",
        setups=SMALL_CORES,
        kpts={"size": mesh, "gamma": True},
        occupations=FermiDirac(float(incar["SIGMA"])),
        convergence={"density": 1e-5, "forces": 1e-3},
        txt="gpaw.txt",
    )
