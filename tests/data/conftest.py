from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.schemas.dataset import Frame


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def rocksalt() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture
def make_frame(rocksalt: Structure, rng: np.random.Generator) -> Callable[..., Frame]:
    """Return a maker of frames with awkward numbers; keywords replace what the frame holds."""

    def make(**changes: object) -> Frame:
        structure = rocksalt.copy()
        structure.translate_sites(
            range(len(structure)), rng.normal(scale=0.005, size=3), to_unit_cell=False
        )
        structure.perturb(0.02, seed=int(rng.integers(2**31)))
        half = rng.normal(size=(3, 3)) / 300
        parts = {
            "structure": structure,
            "energy": float(rng.normal()) * 1e3 / 3,
            "forces": rng.normal(size=(len(structure), 3)) * 10.0 ** rng.integers(-9, 2),
            "stress": half + half.T,
            "group": "volume -2.5 %",
            "origin": "disp-001/vasprun.xml",
        }
        return Frame(**{**parts, **changes})

    return make


@dataclass(frozen=True)
class VaspStep:
    """An ionic step as VASP prints it: stress in kB, VASP's sign."""

    positions: np.ndarray
    forces: np.ndarray
    stress: np.ndarray
    free_energy: float
    sigma0_energy: float
    n_electronic: int = 7


CELL = np.diag([5.69, 5.69, 5.69])
FRACTIONS = np.array(
    [
        *([0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]),
        *([0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]),
    ]
)


@pytest.fixture
def vasp_steps(rng: np.random.Generator) -> list[VaspStep]:
    """Two ionic steps of Na4 Cl4 with an entropy term in the energies."""
    steps = []
    for i in range(2):
        half = rng.normal(size=(3, 3)).round(5)
        steps.append(
            VaspStep(
                positions=(FRACTIONS + rng.normal(scale=0.005, size=(8, 3))) @ CELL,
                forces=rng.normal(size=(8, 3)).round(6),
                stress=half + half.T,
                free_energy=-27.0 - i,
                sigma0_energy=-26.9 - i,
            )
        )
    return steps


def _varray(name: str, rows: np.ndarray) -> str:
    lines = "".join(f"<v> {' '.join(f'{x:.8f}' for x in row)} </v>\n" for row in rows)
    return f'<varray name="{name}" >\n{lines}</varray>\n'


def _energies(free: float, sigma0: float) -> str:
    return (
        f'<energy><i name="e_fr_energy"> {free:.8f} </i><i name="e_wo_entrp"> {free + 0.2:.8f} </i>'
        f'<i name="e_0_energy"> {sigma0:.8f} </i></energy>\n'
    )


def _xml_structure(positions: np.ndarray, name: str = "") -> str:
    label = f' name="{name}"' if name else ""
    return (
        f'<structure{label} ><crystal>{_varray("basis", CELL)}<i name="volume"> 184.2 </i>'
        f"{_varray('rec_basis', np.linalg.inv(CELL))}</crystal>"
        f"{_varray('positions', positions @ np.linalg.inv(CELL))}</structure>\n"
    )


@pytest.fixture
def write_vasprun() -> Callable[[Path, Sequence[VaspStep]], Path]:
    """Return a writer of vasprun.xml with what both ASE and pymatgen read."""

    def write(path: Path, steps: Sequence[VaspStep]) -> Path:
        atoms = "".join(
            f"<rc><c>{s}</c><c>{t}</c></rc>" for s, t in [("Na", 1)] * 4 + [("Cl", 2)] * 4
        )
        types = "".join(
            f"<rc><c>4</c><c>{s}</c><c>1.0</c><c>1.0</c><c>PAW_PBE {s}</c></rc>"
            for s in ("Na", "Cl")
        )
        calculations = "".join(
            "<calculation>\n"
            + f"<scstep>{_energies(s.free_energy, s.sigma0_energy)}</scstep>\n" * s.n_electronic
            + _xml_structure(s.positions)
            + _varray("forces", s.forces)
            + _varray("stress", s.stress)
            + _energies(s.free_energy, s.sigma0_energy)
            + "</calculation>\n"
            for s in steps
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator>'
            '<i name="program" type="string">vasp </i><i name="version" type="string">6.4.2  </i>'
            '</generator>\n<incar><i type="int" name="NELM">60</i></incar>\n'
            '<kpoints><generation param="Gamma"><v type="int" name="divisions"> 2 2 2 </v>'
            f"</generation>{_varray('kpointlist', np.zeros((1, 3)))}{_varray('weights', np.ones((1, 1)))}"
            '</kpoints>\n<parameters><i type="int" name="NELM">60</i></parameters>\n'
            '<atominfo><atoms>8</atoms><types>2</types><array name="atoms" >'
            f'<dimension dim="1">ion</dimension><set>{atoms}</set></array><array name="atomtypes" >'
            f'<dimension dim="1">type</dimension><set>{types}</set></array></atominfo>\n'
            + _xml_structure(steps[0].positions, "initialpos")
            + calculations
            + _xml_structure(steps[-1].positions, "finalpos")
            + "</modeling>\n"
        )
        return path

    return write


@pytest.fixture
def write_outcar() -> Callable[[Path, Sequence[VaspStep]], Path]:
    """Return a writer of the lines of an OUTCAR that are read."""

    def chunk(number: int, step: VaspStep) -> str:
        s = step.stress
        order = (s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[1, 2], s[2, 0])
        lines = [
            f"-------- Iteration {number:4d}({i + 1:4d})  --------"
            for i in range(step.n_electronic)
        ]
        lines.append("  in kB " + " ".join(f"{x:.5f}" for x in order))
        lines.append("      direct lattice vectors                 reciprocal lattice vectors")
        lines += [
            " ".join(f"{x:.9f}" for x in (*row, *back))
            for row, back in zip(CELL, np.linalg.inv(CELL), strict=True)
        ]
        lines += [
            " POSITION                                       TOTAL-FORCE (eV/Angst)",
            " " + "-" * 80,
        ]
        lines += [
            " ".join([f"{x:.5f}" for x in r] + [f"{x:.6f}" for x in f])
            for r, f in zip(step.positions, step.forces, strict=True)
        ]
        lines += [
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            "  ---------------------------------------------------",
            f"  free  energy   TOTEN  = {step.free_energy:18.8f} eV",
            "",
            f"  energy  without entropy= {step.free_energy:18.8f}"
            f"  energy(sigma->0) = {step.sigma0_energy:18.8f}",
            "",
        ]
        return "\n".join(lines) + "\n"

    def write(path: Path, steps: Sequence[VaspStep]) -> Path:
        header = [
            " vasp.6.4.2 20Jul23",
            " POTCAR:    PAW_PBE Na 08Apr2002",
            " POTCAR:    PAW_PBE Cl 06Sep2000",
            " POTCAR:    PAW_PBE Na 08Apr2002",
            " POTCAR:    PAW_PBE Cl 06Sep2000",
            "   ions per type =               4   4",
            "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1"
            "   number of bands    NBANDS=     20",
            "   ISPIN  =      1    spin polarized calculation?",
            "   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps",
            " k-points in reciprocal lattice and weights: Gamma",
            "   0.00000000  0.00000000  0.00000000       1.000",
            "",
        ]
        chunks = [chunk(number, step) for number, step in enumerate(steps, start=1)]
        path.write_text("\n".join(header) + "\n" + "".join(chunks))
        return path

    return write
