"""Between pymatgen and phonopy: cells, matrices, and a Phonopy object with explicit settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from phonopy import Phonopy
from phonopy.interface.phonopy_yaml import PhonopyYaml, PhonopyYamlData
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import guess_primitive_matrix
from pymatgen.core import Lattice, Structure

from phonotune.errors import FramesError, InputError
from phonotune.ports import FloatArray
from phonotune.schemas.base import Matrix3, Vector3

Rows3 = tuple[Vector3, Vector3, Vector3]
"""Rows are the primitive vectors in units of the cell vectors (phonopy's is the transpose)."""


@dataclass(frozen=True, eq=False)
class BornCharges:
    """What the non-analytical term correction needs, in the crystal's own orientation.

    Attributes
    ----------
    charges
        shape (n_prim, 3, 3), Born effective charges (e), atoms of the primitive cell.
    dielectric
        shape (3, 3), high-frequency dielectric tensor.
    """

    charges: FloatArray
    dielectric: FloatArray


def to_phonopy(structure: Structure) -> PhonopyAtoms:
    """Return the cell as phonopy holds it, orientation and order unchanged."""
    return PhonopyAtoms(
        symbols=[site.specie.symbol for site in structure],
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
    )


def to_structure(cell: PhonopyAtoms) -> Structure:
    """Return phonopy's cell as a pymatgen Structure."""
    return Structure(Lattice(cell.cell), list(cell.symbols), cell.scaled_positions)


def primitive_rows(structure: Structure, symprec: float) -> Rows3:
    """Return the primitive vectors in units of the cell vectors; identity for a primitive cell.

    A cell that is primitive already is kept, whatever its setting: nothing is standardised.
    """
    matrix = guess_primitive_matrix(to_phonopy(structure), symprec=symprec).T
    if np.linalg.det(matrix) > 1 - 1e-3:
        matrix = np.eye(3)
    return float_rows(np.round(matrix, 12) + 0.0)


def float_rows(matrix: FloatArray) -> Rows3:
    """Return a 3x3 array as nested tuples."""
    rows = [(float(r[0]), float(r[1]), float(r[2])) for r in matrix]
    return (rows[0], rows[1], rows[2])


def primitive_cell(structure: Structure, symprec: float) -> Structure:
    """Return the primitive cell in the crystal's own orientation."""
    rows = primitive_rows(structure, symprec)
    return to_structure(
        build_phonopy(structure, as_identity(), rows, symprec, symmetry=False).primitive
    )


def as_identity() -> Matrix3:
    """Return the matrix that repeats nothing."""
    return ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def build_phonopy(
    structure: Structure,
    matrix: Matrix3,
    primitive: Rows3,
    symprec: float,
    symmetry: bool = True,
) -> Phonopy:
    """Return a Phonopy object of the given cell, supercell and primitive cell (rows as vectors).

    ``symmetry=False`` skips the symmetry search, which takes most of the time.

    Raises
    ------
    InputError
        phonopy cannot build these cells, most often because ``symprec`` does not fit the structure.
    """
    try:
        return Phonopy(
            to_phonopy(structure),
            supercell_matrix=np.array(matrix).T,
            primitive_matrix=np.array(primitive).T,
            symprec=symprec,
            is_symmetry=symmetry,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"phonopy cannot build the cells of {structure.reduced_formula} with symprec "
            f"{symprec} Å ({error}). Give a symmetrised structure or a larger symprec."
        ) from error


def nac_params(born: BornCharges | None, n_primitive: int) -> dict[str, Any] | None:
    """Return phonopy's NAC parameters (Gonze and Lee, PRB 55, 10355 (1997)), or None.

    Raises
    ------
    InputError
        The charges do not belong to this primitive cell.
    """
    if born is None:
        return None
    if np.shape(born.charges) != (n_primitive, 3, 3) or np.shape(born.dielectric) != (3, 3):
        raise InputError(
            f"Born charges of shape {np.shape(born.charges)} do not fit a primitive cell of "
            f"{n_primitive} atoms; give one 3x3 tensor an atom and a 3x3 dielectric tensor."
        )
    return {
        "born": np.asarray(born.charges, dtype=float),
        "dielectric": np.asarray(born.dielectric, dtype=float),
        "factor": get_calculator_physical_units().nac_factor,
    }


def require_angstrom_and_ev(content: PhonopyYaml | PhonopyYamlData, name: str) -> None:
    """Refuse a phonopy yaml whose lengths are not in Å or whose forces are not in eV/Å.

    Raises
    ------
    FramesError
        The units are others; the file is named.
    """
    units = content.physical_units or get_calculator_physical_units(content.calculator)
    if (units.distance_to_A, units.force_to_eVperA) != (1.0, 1.0):
        raise FramesError(
            f"{name} is in {units.length_unit} and {units.force_unit}; Å and eV/Å are needed. "
            "Import the calculations themselves, as extxyz."
        )
