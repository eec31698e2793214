"""Born charges: of phonopy's BORN and yaml, the unit of their factor recognised by its value, or computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from phonopy.file_IO import get_BORN_lines, parse_BORN_from_strings
from phonopy.interface.calculator import calculator_info
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.symmetry import symmetrize_borns_and_epsilon
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.files import read_text, write_atomically
from phonotune.physics.phonon.cells import Rows3, check_born, primitive_cell, to_phonopy
from phonotune.ports import FloatArray
from phonotune.schemas.phonon import BornCharges

BORN_FILE: Final = "BORN"


def read_born(
    path: Path,
    structure: Structure,
    symprec: float = 1e-5,
    primitive_matrix: Rows3 | None = None,
) -> BornCharges:
    """Read phonopy's BORN file for the primitive cell of a structure.

    Its first line is a comment, ``default``, or the factor e²/4πε₀ (see :func:`charges_of`).

    Parameters
    ----------
    path
        BORN: dielectric tensor and the charges of symmetry-independent atoms of the primitive cell.
    structure
        The cell given, in the orientation that the tensors refer to.
    symprec
        Symmetry tolerance, Å.
    primitive_matrix
        Primitive vectors (rows) in units of the cell vectors; None finds them.

    Raises
    ------
    InputError
        The file is missing or does not fit the crystal: another number of atoms, charges that break
        its symmetry or do not sum to zero, a factor that is not e²/4πε₀.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give phonopy's BORN file.")
    primitive = to_phonopy(primitive_cell(structure, symprec, primitive_matrix))
    try:
        nac = parse_BORN_from_strings(read_text(path, InputError), primitive, symprec=symprec)
        born = charges_of(nac, str(path))
        check_born(born, primitive, symprec)
    except (InputError, ValueError, RuntimeError, IndexError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"{path} does not fit {structure.reduced_formula} ({reason}). It must hold a dielectric "
            "tensor and one charge tensor per symmetry-independent atom of the primitive cell."
        ) from error
    return born


def charges_of(nac: Any, name: str) -> BornCharges:
    """Return phonopy's NAC parameters, their factor in eV Å.

    The factor is e²/4πε₀ in the units of a calculator: 14.4 eV Å (VASP), 2 Ry Bohr (QE), 51.4 (abinit),
    1 Hartree Bohr, ... These values lie far apart, so that the value tells its unit.

    Parameters
    ----------
    nac
        phonopy's dictionary; without ``factor`` the exact constant is taken.
    name
        The file, for the message.

    Raises
    ------
    InputError
        The factor is e²/4πε₀ in the units of none of phonopy's calculators.
    """
    charges = BornCharges(charges=np.array(nac["born"]), dielectric=np.array(nac["dielectric"]))
    if nac.get("factor") is None:
        return charges
    stated = float(nac["factor"])
    values = {c: get_calculator_physical_units(c).nac_factor for c in ("vasp", *calculator_info)}
    for value in values.values():
        if abs(stated / value - 1) < 0.01:
            unit = values["vasp"] / value
            return charges.model_copy(update={"factor": stated * unit})
    raise InputError(
        f"the factor {stated:g} of {name} is e²/4πε₀ in the units of no calculator; allowed: "
        f"{', '.join(f'{v:.4g}' for v in sorted(set(values.values())))}, or a comment in its place"
    )


def write_born(path: Path, primitive: Structure, born: BornCharges, symprec: float = 1e-5) -> None:
    """Write Born charges as phonopy's BORN file.

    Parameters
    ----------
    path
        The file.
    primitive
        The cell whose atoms have the charges.
    born
        Charges and dielectric tensor.
    symprec
        Symmetry tolerance, Å.
    """
    charges, dielectric = np.array(born.charges), np.array(born.dielectric)
    lines = get_BORN_lines(to_phonopy(primitive), charges, dielectric, symprec=symprec)
    write_atomically(path, "\n".join([*lines, ""]))


@dataclass(frozen=True)
class SymmetricCharges:
    """Computed charges made symmetric and neutral, and how much of either they lacked.

    Attributes
    ----------
    born
        What the non-analytical term needs.
    sum_rule
        Largest element of the sum of all charges before, e.
    asymmetry
        Largest change of a charge by the symmetry of the crystal, e.
    """

    born: BornCharges
    sum_rule: float
    asymmetry: float


def symmetric_charges(
    primitive: Structure, charges: FloatArray, dielectric: FloatArray, symprec: float = 1e-5
) -> SymmetricCharges:
    """Make computed Born charges and dielectric tensor symmetric, and their sum zero.

    The acoustic sum rule (Pick, Cohen, Martin, PRB 1, 910 (1970)) is met by taking the mean charge off
    every atom.

    Parameters
    ----------
    primitive
        The cell that was computed.
    charges
        shape (n_atoms, 3, 3), e, in its order and orientation.
    dielectric
        shape (3, 3), ε∞.
    symprec
        Symmetry tolerance, Å.

    Raises
    ------
    InputError
        They break symmetry or neutrality by more than :data:`phonotune.physics.phonon.cells.ASYMMETRY`, or
        the dielectric tensor is not positive.
    """
    cell = to_phonopy(primitive)
    raw = BornCharges(charges=charges, dielectric=dielectric)
    check_born(raw, cell, symprec)
    neutral, tensor = symmetrize_borns_and_epsilon(charges, dielectric, cell, symprec=symprec)
    total = charges.sum(axis=0)
    return SymmetricCharges(
        born=BornCharges(charges=neutral, dielectric=tensor),
        sum_rule=float(np.abs(total).max()),
        asymmetry=float(np.abs(charges - total / len(charges) - neutral).max()),
    )
