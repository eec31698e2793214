"""Ionic steps of VASP, from vasprun.xml and OUTCAR.

The energy is the free energy (``e_fr_energy``, "free energy TOTEN"): forces and stress are its
derivatives, not those of energy(sigma->0). VASP's stress is in kB, positive under compression;
ASE's sign is the opposite.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from ase.io import ParseError
from ase.io import read as ase_read
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa
from monty.io import zopen
from pymatgen.core import Structure

from phonotune.data.extxyz import structure_of
from phonotune.data.vasp_settings import settings_of, settings_of_outcar
from phonotune.errors import FramesError

if TYPE_CHECKING:
    from phonotune.ports import FloatArray

KILOBAR: Final = -0.1 * GPa
"""eV/Å^3, ASE's sign, of 1 kB in VASP's."""

_UNREADABLE = (
    OSError,
    EOFError,
    ArithmeticError,
    AttributeError,
    LookupError,
    ParseError,
    SyntaxError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, eq=False)
class IonicStep:
    """One ionic step of VASP with its labels.

    Attributes
    ----------
    structure
        Cell and positions.
    energy
        Free energy of the cell, eV.
    forces
        shape (n_atoms, 3), eV/Å, also on atoms that a relaxation holds fixed.
    stress
        shape (3, 3), eV/Å^3, ASE's sign, symmetrised; None where VASP computed none.
    n_electronic
        Electronic steps taken.
    max_electronic
        Electronic steps allowed (NELM); as many taken as allowed means: not converged.
    settings
        What the labels depend on (:mod:`phonotune.data.vasp_settings`).
    magmoms
        shape (n_atoms,), µB; None where the file has none (vasprun.xml never has).
    """

    structure: Structure
    energy: float
    forces: FloatArray
    stress: FloatArray | None
    n_electronic: int
    max_electronic: int
    settings: Mapping[str, str] = field(default_factory=dict)
    magmoms: FloatArray | None = None

    @property
    def converged(self) -> bool:
        """True if the electronic steps ended before their limit."""
        return 0 < self.n_electronic < self.max_electronic


def read_vasprun(path: Path) -> list[IonicStep]:
    """Read every ionic step of a vasprun.xml, plain or compressed.

    Raises
    ------
    FramesError
        Not a complete vasprun.xml, or no ionic step with forces in it.
    """
    from pymatgen.io.vasp import Vasprun  # imports scipy.signal, lxml and more

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
        limit = int(run.parameters["NELM"])
        settings = settings_of(run.parameters, run.incar, run.potcar_symbols)
        steps = [
            IonicStep(
                structure=step["structure"],
                energy=float(step["e_fr_energy"]),
                forces=np.asarray(step["forces"], dtype=np.float64),
                stress=None
                if step.get("stress") is None
                else _symmetric(KILOBAR * np.asarray(step["stress"])),
                n_electronic=len(step["electronic_steps"]),
                max_electronic=limit,
                settings=settings,
            )
            for step in run.ionic_steps
        ]
    except _UNREADABLE as error:
        raise FramesError(f"not a complete vasprun.xml ({_first_line(error)})") from error
    if not steps:
        raise FramesError("no ionic step with forces in it")
    return steps


def read_outcar(path: Path) -> list[IonicStep]:
    """Read every ionic step of an OUTCAR, plain or compressed.

    An OUTCAR has five decimals of positions; vasprun.xml, with eight, is the better source.

    Raises
    ------
    FramesError
        Not an OUTCAR with forces.
    """
    try:
        with zopen(path, mode="rt", encoding="utf-8", errors="replace") as file:
            text = file.read()
        limit = int(re.findall(r"\bNELM\s*=\s*(\d+)", text)[0])
        images = ase_read(path, index=":", format="vasp-out")
        iterations = re.findall(r"Iteration\s+(\d+)\(\s*(\d+)\)", text)
        taken = list({int(ionic): int(electronic) for ionic, electronic in iterations}.values())
        settings = settings_of_outcar(text)
        steps = []
        for index, atoms in enumerate(images):
            results = atoms.calc.results  # ASE's get_forces() zeroes forces on constrained atoms
            stress, magmoms = results.get("stress"), results.get("magmoms")
            step = IonicStep(
                structure=structure_of(atoms, "OUTCAR"),
                energy=float(results["free_energy"]),
                forces=np.asarray(results["forces"], dtype=np.float64),
                stress=None if stress is None else _symmetric(voigt_6_to_full_3x3_stress(stress)),
                n_electronic=taken[index],
                max_electronic=limit,
                settings=settings,
                magmoms=None if magmoms is None else np.asarray(magmoms, dtype=np.float64),
            )
            steps.append(step)
    except _UNREADABLE as error:
        raise FramesError(f"not an OUTCAR with forces ({_first_line(error)})") from error
    if not steps:
        raise FramesError("no ionic step with forces in it")
    return steps


def _symmetric(stress: FloatArray) -> FloatArray:
    return np.asarray((stress + stress.T) / 2.0, dtype=np.float64)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]
