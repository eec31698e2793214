"""The files that VASP writes, as far as custodian, pymatgen and emmet read them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import vasp_lists
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.units import GPa

if TYPE_CHECKING:
    from vasp import Run, Step

DEFAULTS = {
    "ENCUT": "400.0",
    "EDIFF": "1e-4",
    "NELM": "60",
    "ISMEAR": "1",
    "SIGMA": "0.2",
    "ISPIN": "1",
    "ISYM": "2",
    "KSPACING": "0.5",
    "KGAMMA": "T",
    "PREC": "normal",
    "LREAL": "F",
    "LASPH": "F",
    "ADDGRID": "F",
    "GGA": "--",
    "METAGGA": "--",
    "PSTRESS": "0",
    "NSW": "0",
    "IBRION": "-1",
    "ISIF": "2",
    "EDIFFG": "-0.05",
    "LORBIT": "0",
    "LDAU": "F",
    "LHFCALC": "F",
    "LNONCOLLINEAR": "F",
    "LSORBIT": "F",
    "LEPSILON": "F",
    "LOPTICS": "F",
    "LUSE_VDW": "F",
    "LCHIMAG": "F",
    "IVDW": "0",
    "POTIM": "0.5",
    "LMAXMIX": "2",
    "ENAUG": "600.0",
    "NELMIN": "2",
    "SYMPREC": "1e-5",
    "TEBEG": "0",
    "TEEND": "0",
}
"""What VASP uses for a key that INCAR does not set."""
KILOBAR = 0.1 * GPa
OSZICAR_HEADER = (
    "       N       E                     dE             d eps       ncg     rms          rms(c)\n"
)


def vasprun(run: Run) -> str:
    """Return the text of vasprun.xml."""
    stamp = time.strftime("%Y %m %d")
    head = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator>\n'
        f'<i name="program" type="string">vasp</i>\n<i name="version" type="string">{run.version}</i>\n'
        '<i name="subversion" type="string">emulator</i>\n<i name="platform" type="string">ASE</i>\n'
        f'<i name="date" type="string">{stamp}</i>\n<i name="time" type="string">00:00:00</i>\n</generator>\n'
    )
    used = {("ENMAX" if key == "ENCUT" else key): value for key, value in run.used.items()}
    used |= {
        "LREAL": vasp_lists.on(run, "LREAL"),
        "NELECT": f"{run.n_electrons:.1f}",
        "NBANDS": str(run.n_bands),
    }
    parts = [
        head,
        tagged("incar", "".join(entry(*pair) for pair in run.incar.items())),
        structure(run.atoms, "primitive_cell"),
        kpoints(run),
        tagged("parameters", "".join(entry(*pair) for pair in used.items())),
        atominfo(run),
        structure(run.atoms, "initialpos"),
        *[calculation(run, step, step is run.steps[-1]) for step in run.steps],
        structure(run.steps[-1].atoms, "finalpos"),
        "</modeling>\n",
    ]
    return "".join(parts)


def tagged(tag: str, content: str, **attributes: str) -> str:
    """Return an XML element."""
    text = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{tag}{text}>\n{content}</{tag}>\n"


def entry(key: str, value: str) -> str:
    """Return one key of INCAR as VASP echoes it: logical, int, float, vector or string."""
    word = value.strip().strip(".").upper()
    if word in {"T", "F", "TRUE", "FALSE"}:
        return f'<i type="logical" name="{key}"> {word[0]} </i>\n'
    if re.fullmatch(r"-?\d+", value):
        return f'<i type="int" name="{key}">{value}</i>\n'
    try:
        numbers = vector(value)
    except ValueError:
        return f'<i type="string" name="{key}">{value}</i>\n'
    text = " ".join(f"{x:16.8f}" for x in numbers)
    if len(numbers) == 1 and key not in {"MAGMOM", "LDAUU", "LDAUJ", "LDAUL"}:
        return f'<i name="{key}">{text}</i>\n'
    return f'<v name="{key}">{text}</v>\n'


def rows(name: str, values: np.ndarray, number: str = "{:16.8f}") -> str:
    """Return a varray."""
    lines = [" ".join(number.format(x) for x in row) for row in np.atleast_2d(values)]
    return tagged("varray", "".join(f"<v>{line}</v>\n" for line in lines), name=name)


def vector_text(row: np.ndarray) -> str:
    """Return numbers with VASP's eight decimals."""
    return " ".join(f"{x:16.8f}" for x in row)


def structure(atoms: Atoms, name: str = "") -> str:
    """Return cell and positions."""
    crystal = (
        rows("basis", atoms.cell.array)
        + f'<i name="volume">{atoms.get_volume():16.8f}</i>\n'
        + rows("rec_basis", atoms.cell.reciprocal().array)
    )
    positions = rows("positions", atoms.get_scaled_positions(wrap=False))
    names = {"name": name} if name else {}
    return tagged("structure", tagged("crystal", crystal) + positions, **names)


def kpoints(run: Run) -> str:
    """Return the mesh and one k-point."""
    divisions = " ".join(map(str, run.mesh()))
    mesh = (
        f'<v type="int" name="divisions">{divisions}</v>\n<v name="usershift">0 0 0</v>\n'
        + "".join(
            f'<v name="genvec{i + 1}">{row}</v>\n'
            for i, row in enumerate(("1 0 0", "0 1 0", "0 0 1"))
        )
        + '<v name="shift">0 0 0</v>\n'
    )
    points = rows("kpointlist", np.zeros((1, 3))) + rows("weights", np.ones((1, 1)))
    return tagged("kpoints", tagged("generation", mesh, param="Gamma") + points)


def atominfo(run: Run) -> str:
    """Return atoms and species with the titles of their POTCARs."""
    fields = "".join(f"<field>{name}</field>\n" for name in ("element", "atomtype"))
    blocks = list(zip(run.species, run.valences, run.titles, strict=True))
    atoms = "".join(
        f"<rc><c>{symbol}</c><c>{number + 1}</c></rc>\n" * count
        for number, ((symbol, count), _, _) in enumerate(blocks)
    )
    types = "".join(
        f"<rc><c>{count}</c><c>{symbol}</c><c>{atomic_masses[atomic_numbers[symbol]]:.5f}</c>"
        f"<c>{valence:.5f}</c><c>{title}</c></rc>\n"
        for (symbol, count), valence, title in blocks
    )
    columns = ("atomspertype", "element", "mass", "valence", "pseudopotential")
    type_fields = "".join(f"<field>{name}</field>\n" for name in columns)
    return tagged(
        "atominfo",
        f"<atoms>{len(run.atoms)}</atoms>\n<types>{len(blocks)}</types>\n"
        + tagged("array", fields + tagged("set", atoms), name="atoms")
        + tagged("array", type_fields + tagged("set", types), name="atomtypes"),
    )


def calculation(run: Run, step: Step, last: bool) -> str:
    """Return one ionic step; the last one has eigenvalues and a density of states."""
    electronic = [tagged("scstep", energies(e)) for e in run.electronic(step.energy)]
    if (
        run.response is not None
    ):  # VASP tells all terms of the last step, then come those of the response
        last_energy = energies(run.electronic(step.energy)[-1], terms={"alphaZ": 1.0})
        answers = [tagged("scstep", energies(-0.1 * 0.5**n)) for n in range(6)]
        electronic = [*electronic[:-1], tagged("scstep", last_energy), *answers]
    forces = rows("forces", step.forces)
    if run.mode == "nan":
        forces = re.sub(r"<v>[^<]*", "<v>" + " ".join(["*" * 16] * 3), forces)
    stress = rows("stress", -step.stress / KILOBAR)
    content = "".join(electronic) + structure(step.atoms) + forces + stress + energies(step.energy)
    if last:
        content += eigenvalues(run) + dos(run)
        if run.response is not None:
            charges, dielectric = run.response
            content += rows("epsilon", dielectric)
            sets = "".join(
                tagged("set", "".join(f"<v>{vector_text(row)}</v>\n" for row in charge))
                for charge in charges
            )
            ion = '<dimension dim="1">ion</dimension>\n'
            content += tagged("array", ion + sets, name="born_charges")
    return tagged("calculation", content)


def energies(energy: float, terms: Mapping[str, float] = MappingProxyType({})) -> str:
    """Return the three energies of VASP, all equal: no smearing; before them its terms by name."""
    listed = terms | dict.fromkeys(("e_fr_energy", "e_wo_entrp", "e_0_energy"), energy)
    return tagged("energy", "".join(f'<i name="{n}">{e:16.8f}</i>\n' for n, e in listed.items()))


def spins(run: Run, content: str) -> str:
    """Return ``content`` for every spin."""
    return "".join(
        tagged("set", content, comment=f"spin {n + 1}") for n in range(int(run.number("ISPIN")))
    )


def eigenvalues(run: Run) -> str:
    """Return bands of an insulator, or of a metal: all within 0.02 eV."""
    occupied, total = run.n_bands - 4, run.n_bands
    below, above = (1.99, 2.01) if run.is_metal else (-5.0, 4.0)
    lines = "".join(
        f"<r>{below if b < occupied else above:10.4f} {float(b < occupied):8.4f}</r>\n"
        for b in range(total)
    )
    names = "".join(f"<field>{name}</field>\n" for name in ("eigene", "occ"))
    content = spins(run, tagged("set", lines, comment="kpoint 1"))
    return tagged("eigenvalues", tagged("array", names + tagged("set", content)))


def dos(run: Run) -> str:
    """Return a flat density of states below a gap."""
    lines = "".join(f"<r>{e:10.4f} {float(e < 0):10.4f} {1.0:10.4f}</r>\n" for e in range(-6, 7))
    names = "".join(f"<field>{name}</field>\n" for name in ("energy", "total", "integrated"))
    total = tagged("total", tagged("array", names + tagged("set", spins(run, lines))))
    return tagged("dos", '<i name="efermi">      2.00000000</i>\n' + total)


def contcar(run: Run) -> str:
    """Return the text of CONTCAR: the last structure."""
    atoms = run.steps[-1].atoms
    names, counts = zip(*run.species, strict=True)
    matrices = (atoms.cell.array, atoms.get_scaled_positions(wrap=False))
    cell, positions = (
        "".join("{:20.16f} {:20.16f} {:20.16f}\n".format(*row) for row in m) for m in matrices
    )
    return (
        f"emulator\n1.0\n{cell}{' '.join(names)}\n{' '.join(map(str, counts))}\nDirect\n{positions}"
    )


def oszicar(run: Run) -> str:
    """Return the text of OSZICAR; VASP prints the header before every ionic step."""
    text = ""
    for number, step in enumerate(run.steps):
        text += OSZICAR_HEADER
        for n, energy in enumerate(run.electronic(step.energy)):
            text += (
                f"DAV: {n + 1:3d} {energy:20.12E} {0.0:12.5E} {0.0:12.5E} {100:5d} {1e-6:10.3E}\n"
            )
        text += f"{number + 1:4d} F= {step.energy:.8E} E0= {step.energy:.8E}  d E ={0.0:.6E}\n"
    return text


def outcar(run: Run) -> str:
    """Return the text of OUTCAR."""
    done = run.number("NSW") > 0
    relaxed = (
        " reached required accuracy - stopping structural energy minimisation\n" if done else ""
    )
    steps = "".join(outcar_step(run, step, number + 1) for number, step in enumerate(run.steps))
    waves = (
        "-" * 104 + "\n\n\n"
        " k-points in reciprocal lattice and weights: Gamma\n"
        "   0.00000000  0.00000000  0.00000000       1.000\n\n"
        " k-point   1 :       0.0000    0.0000    0.0000\n  plane waves:     100\n\n"
        " maximum and minimum number of plane-waves per node :      100      100\n\n"
    )
    ended = relaxed + outcar_response(run) + timing(time.time() - run.started)
    return vasp_lists.head(run) + waves + steps + ended


def outcar_step(run: Run, step: Step, number: int) -> str:
    """Return iterations, moments, stress, cell, positions, forces and energy of one ionic step."""
    rule = "-" * 39
    iterations = "".join(
        f"{rule} Iteration {number:6d}({n + 1:4d})  {rule}\n\n\n"
        f"  free energy    TOTEN  = {energy:20.8f} eV\n\n"
        for n, energy in enumerate(run.electronic(step.energy))
    )
    cell = "".join(
        "   "
        + "".join(f"{x:13.9f}" for x in row)
        + "   "
        + "".join(f"{x:13.9f}" for x in back)
        + "\n"
        for row, back in zip(step.atoms.cell.array, step.atoms.cell.reciprocal().array, strict=True)
    )
    xx, yy, zz, xy, yz, zx = (
        -step.stress[i] / KILOBAR for i in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))
    )
    line = " " + "-" * 83 + "\n"
    pairs = zip(step.atoms.positions, step.forces, strict=True)
    forces = "".join(
        (" " + "%12.5f " * 3 + "  " + "%13.6f " * 3 + "\n") % (*p, *f) for p, f in pairs
    )
    reached = run.mode in {"unconverged", "stopped"}
    return (
        iterations
        + ("" if reached else " aborting loop because EDIFF is reached\n")
        + moments(run)
        + " E-fermi :   2.0000     XC(G=0):  -8.0000     alpha+bet : -5.0000\n\n"
        "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n"
        f"  in kB    {xx:11.5f} {yy:11.5f} {zz:11.5f} {xy:11.5f} {yz:11.5f} {zx:11.5f}\n"
        f"  external pressure = {(xx + yy + zz) / 3:11.2f} kB  Pullay stress =        0.00 kB\n\n"
        "  VOLUME and BASIS-vectors are now :\n"
        f"  volume of cell : {step.atoms.get_volume():12.2f}\n"
        f"      direct lattice vectors                 reciprocal lattice vectors\n{cell}\n"
        " POSITION                                       TOTAL-FORCE (eV/Angst)\n"
        + line
        + forces
        + line
        + "    total drift:                               0.000000      0.000000      0.000000\n\n"
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  " + "-" * 51 + "\n"
        f"  free  energy   TOTEN  = {step.energy:20.8f} eV\n\n"
        f"  energy  without entropy= {step.energy:20.8f}  energy(sigma->0) = {step.energy:20.8f}\n\n"
    )


def outcar_response(run: Run) -> str:
    """Return dielectric tensor and Born charges as OUTCAR prints them; empty without LEPSILON."""
    if run.response is None:
        return ""
    charges, dielectric = run.response
    rule = " " + "-" * 70 + "\n"
    tensor = "".join(" ".join(f"{x:11.6f}" for x in row) + "\n" for row in dielectric)
    ions = "".join(
        f" ion {n + 1:4d}\n"
        + "".join(
            f"{i + 1:5d} " + "".join(f"{x:12.5f}" for x in row) + "\n"
            for i, row in enumerate(charge)
        )
        for n, charge in enumerate(charges)
    )
    return (
        " MACROSCOPIC STATIC DIELECTRIC TENSOR (including local field effects in DFT)\n"
        f"{rule}{tensor}{rule}\n"
        " BORN EFFECTIVE CHARGES (including local field effects) (in |e|, cummulative output)\n"
        f"{rule}{ions}{rule}"
    )


def moments(run: Run) -> str:
    """Return the moments that MAGMOM started from, as those of the end."""
    if run.number("ISPIN") < 2 or run.number("LORBIT") < 10 or "MAGMOM" not in run.incar:
        return ""
    values = vector(run.incar["MAGMOM"])
    line = "-" * 42 + "\n"
    lines = "".join(
        f"{n + 1:5d}        0.000   0.000  {m:6.3f}  {m:6.3f}\n" for n, m in enumerate(values)
    )
    total = f"tot          0.000   0.000  {sum(values):6.3f}  {sum(values):6.3f}\n\n"
    title = "# of ion       s       p       d       tot\n"
    return f"\n magnetization (x)\n\n{title}{line}{lines}{line}{total}"


def vector(value: str) -> list[float]:
    """Return the numbers of a value of INCAR, in which 4*0.6 stands for four of them."""
    pieces = [part.split("*") if "*" in part else ("1", part) for part in value.split()]
    return [float(x) for count, x in pieces for _ in range(int(count))]


def timing(seconds: float) -> str:
    """Return the end of a complete OUTCAR."""
    return (
        "\n General timing and accounting informations for this job:\n " + "=" * 56 + "\n\n"
        f"                  Total CPU time used (sec): {seconds:12.3f}\n"
        f"                            User time (sec): {seconds:12.3f}\n"
        "                          System time (sec):        0.000\n"
        f"                         Elapsed time (sec): {seconds:12.3f}\n\n"
        "                   Maximum memory used (kb):       100000.\n"
        "                   Average memory used (kb):          N/A\n"
    )
