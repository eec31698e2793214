"""VASP for the tests of the labelling jobs: an emulator behind atomate2, and POTCAR headers."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ase.data import atomic_masses, atomic_numbers

EMULATOR = Path(__file__).parents[1] / "emulators" / "vasp.py"
VALENCES = {"Al": 3, "Cu": 11, "Au": 11}

POTCAR = """  PAW_PBE {symbol} 01Jan2000
   {valence:.10f}
 parameters from PSCTR are:
   VRHFIN ={element}: synthetic
   LEXCH  = PE
   EATOM  =   100.0000 eV,    7.3499 Ry

   TITEL  = PAW_PBE {symbol} 01Jan2000
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        1    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =    1.500    partial core radius
   POMASS = {mass:8.3f}; ZVAL   = {valence:8.3f}    mass and valenz
   RCORE  =    1.900    outmost cutoff radius
   RWIGS  =    2.480; RWIGS  =    1.312    wigner-seitz radius (au A)
   ENMAX  =  250.000; ENMIN  =  190.000 eV
   EAUG   =  322.069
   RMAX   =    1.950    core radius for proj-oper

   Description
     l       E           TYP  RCUT    TYP  RCUT
     0     -1.0000000     23  1.900
   Error from kinetic energy argument (eV)
   NDATA  =      100
   STEP   =   20.000   1.050
END of PSCTR-controll parameters
 local part
  1.0000000
 End of Dataset
"""


def write_potcars(folder: Path) -> None:
    """Write POTCAR headers without physics, as pymatgen looks for them."""
    family = folder / "POT_GGA_PAW_PBE_54"
    family.mkdir(parents=True, exist_ok=True)
    for symbol, valence in VALENCES.items():
        element = symbol.split("_")[0]
        text = POTCAR.format(
            symbol=symbol,
            element=element,
            mass=atomic_masses[atomic_numbers[element]],
            valence=valence,
        )
        (family / f"POTCAR.{symbol}").write_text(text)


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

    here = VaspHere(f"{sys.executable} {EMULATOR}", tmp_path_factory.mktemp("potcars"))
    write_potcars(here.potcars)
    run = functools.partial(run_vasp, vasp_cmd=here.command, vasp_gamma_cmd=here.command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atomate2.vasp.jobs.base.run_vasp", run)
        patch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(here.potcars))
        yield here
