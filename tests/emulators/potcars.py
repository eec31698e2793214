"""POTCAR headers without physics, as pymatgen looks for them: ``python tests/emulators/potcars.py FOLDER``.

FOLDER is what PMG_VASP_PSP_DIR names.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ase.data import atomic_masses, atomic_numbers

FAMILY = "POT_GGA_PAW_PBE_54"
VALENCES = {"Al": 3, "Cu": 11, "Au": 11, "Na": 1, "Cl": 7}

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
    """Write a header for every symbol of VALENCES."""
    family = folder / FAMILY
    family.mkdir(parents=True, exist_ok=True)
    for symbol, valence in VALENCES.items():
        element = symbol.split("_")[0]
        mass = atomic_masses[atomic_numbers[element]]
        text = POTCAR.format(symbol=symbol, element=element, mass=mass, valence=valence)
        (family / f"POTCAR.{symbol}").write_text(text)


if __name__ == "__main__":
    write_potcars(Path(sys.argv[1]))
