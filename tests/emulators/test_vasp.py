"""What the emulator writes is what pymatgen reads of VASP."""

import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Oszicar, Poscar

HERE = Path(__file__).parent


@pytest.mark.parametrize(("ionic", "nsw"), [(1, 0), (3, 2)])
def test_the_oszicar_holds_electronic_and_ionic_steps(tmp_path, ionic, nsw):
    subprocess.run([sys.executable, HERE / "potcars.py", tmp_path], check=True)
    potcar = (tmp_path / "POT_GGA_PAW_PBE_54" / "POTCAR.Al").read_text()
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.1), ["Al"], [[0, 0, 0]])
    Poscar(cell.perturb(0.1, seed=1)).write_file(tmp_path / "POSCAR")
    (tmp_path / "INCAR").write_text(f"NSW = {nsw}\nISIF = 2\nEDIFFG = -1e-6\nKSPACING = 0.5\n")
    (tmp_path / "POTCAR").write_text(potcar)
    subprocess.run([sys.executable, HERE / "vasp.py"], check=True, cwd=tmp_path)
    oszicar = Oszicar(tmp_path / "OSZICAR")
    assert len(oszicar.ionic_steps) == len(oszicar.electronic_steps) == ionic
    for steps, last in zip(oszicar.electronic_steps, oszicar.ionic_steps, strict=True):
        assert [step["N"] for step in steps] == list(range(1, 9))
        assert steps[-1]["E"] == pytest.approx(last["E0"], abs=1e-6)
    assert oszicar.final_energy < 0
