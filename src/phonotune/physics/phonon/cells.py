"""Conversion between pymatgen and phonopy: cells, matrices, a Phonopy object with explicit settings."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from phonopy import Phonopy
from phonopy.structure.atomic_data import get_atomic_data
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import guess_primitive_matrix
from phonopy.structure.symmetry import Symmetry
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError
from phonotune.physics.phonon.symmetry import QuickPhonopy
from phonotune.ports import FloatArray
from phonotune.schemas.base import Matrix3, Vector3
from phonotune.schemas.masses import (
    isotope_masses,
    mixes_isotopes,
    site_kinds,
    with_masses,
)
from phonotune.schemas.phonon import BornCharges

Rows3 = tuple[Vector3, Vector3, Vector3]
"""Rows are the primitive vectors in units of the cell vectors (phonopy's is the transpose)."""

ASYMMETRY: Final[float] = 0.1
"""Largest difference (e, or of the dielectric tensor relative to its mean) from what symmetry requires."""


def to_phonopy(structure: Structure) -> PhonopyAtoms:
    """Return the cell as phonopy holds it, orientation and order unchanged.

    Atoms of one element with different masses have different symbols (H, H1), by which phonopy tells
    them apart.
    """
    masses = isotope_masses(structure)
    if not masses:
        return PhonopyAtoms(
            symbols=[site.specie.symbol for site in structure],
            cell=structure.lattice.matrix,
            scaled_positions=structure.frac_coords,
        )
    symbols, natural = get_atomic_data().symbol_map, get_atomic_data().atom_data
    names = {number: symbol for symbol, number in symbols.items()}
    kinds = [divmod(kind, 1000) for kind in site_kinds(structure)]
    return PhonopyAtoms(
        symbols=[f"{names[number]}{index or ''}" for index, number in kinds],
        masses=[
            natural[number][3] if mass is None else mass
            for (_, number), mass in zip(kinds, masses, strict=True)
        ],
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
    )


def to_structure(cell: PhonopyAtoms) -> Structure:
    """Return phonopy's cell as a pymatgen Structure, with the masses that are not natural."""
    numbers = [int(z) for z in cell.numbers]
    structure = Structure(Lattice(cell.cell), numbers, cell.scaled_positions)
    natural = [get_atomic_data().atom_data[number][3] for number in numbers]
    if cell.masses is None or list(cell.masses) == natural:
        return structure
    return with_masses(structure, [float(mass) for mass in cell.masses])


def primitive_rows(structure: Structure, symprec: float) -> Rows3:
    """Return the primitive vectors in units of the cell vectors; identity for a primitive cell.

    A cell that is already primitive is kept in its own setting: nothing is standardised.
    """
    matrix = guess_primitive_matrix(
        to_phonopy(structure), symprec, distinguish_symbol_index=mixes_isotopes(structure)
    ).T
    if np.linalg.det(matrix) > 1 - 1e-3:
        matrix = np.eye(3)
    return float_rows(np.round(matrix, 12) + 0.0)


def resolve_primitive(structure: Structure, rows: Rows3 | None, symprec: float) -> Rows3:
    """Return the requested primitive vectors as exact fractions, or find them if None is given.

    Parameters
    ----------
    structure
        The cell given.
    rows
        Vectors in units of the cell vectors, to 1e-3, or None.
    symprec
        Tolerance, Å.

    Raises
    ------
    InputError
        Left-handed or flat, not a fraction 1/n of the cell, or not translations of the crystal.
    """
    if rows is None:
        return primitive_rows(structure, symprec)
    matrix = np.array(rows, dtype=float)
    cells = np.linalg.inv(matrix) if np.linalg.det(matrix) > 1e-6 else np.full((3, 3), 0.5)
    if np.allclose(cells, np.rint(cells), atol=1e-2):
        vectors = np.linalg.inv(np.rint(cells))
        numbers = np.array(site_kinds(structure))
        sites = structure.frac_coords
        offsets = sites[:, None] + vectors[:, None, None] - sites[None]
        lengths = np.linalg.norm((offsets - np.rint(offsets)) @ structure.lattice.matrix, axis=3)
        hits = (lengths < max(symprec, 1e-5)) & (numbers[:, None] == numbers[None])
        if hits.any(axis=2).all():  # each vector maps the crystal onto itself
            return float_rows(np.asarray(np.round(vectors, 12) + 0.0, dtype=float))
    raise InputError(
        f"The primitive matrix {np.round(matrix, 4).tolist()} does not fit "
        f"{structure.reduced_formula}: its rows (the primitive vectors in units of the cell "
        f"vectors) must be translations of the crystal, to {symprec} Å, that divide its cell of "
        f"{len(structure)} atoms. Leave it out and it is found."
    )


def float_rows(matrix: FloatArray) -> Rows3:
    """Return a 3x3 array as nested tuples."""
    rows = [(float(r[0]), float(r[1]), float(r[2])) for r in matrix]
    return (rows[0], rows[1], rows[2])


def primitive_cell(structure: Structure, symprec: float, rows: Rows3 | None = None) -> Structure:
    """Return the primitive cell in the crystal's own orientation.

    Parameters
    ----------
    structure
        The cell given.
    symprec
        Tolerance, Å.
    rows
        Its vectors in units of the cell vectors; None finds them.
    """
    rows = primitive_rows(structure, symprec) if rows is None else rows
    return to_structure(
        build_phonopy(structure, as_identity(), rows, symprec, symmetry=False).primitive
    )


def as_identity() -> Matrix3:
    """Return the supercell matrix of the cell itself."""
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
        return QuickPhonopy(
            to_phonopy(structure),
            supercell_matrix=np.array(matrix).T,
            primitive_matrix=np.array(primitive).T,
            symprec=symprec,
            is_symmetry=symmetry,
            distinguish_symbol_index=mixes_isotopes(structure),
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"phonopy cannot build the cells of {structure.reduced_formula} with symprec "
            f"{symprec} Å ({error}). Give a symmetrised structure or a larger symprec."
        ) from error


def with_isotopes(phonon: Phonopy, structure: Structure) -> Phonopy:
    """Return the same displacements and force constants for atoms with the masses of a structure.

    Force constants have the symmetry of the elements, frequencies that of the masses.

    Parameters
    ----------
    phonon
        Phonopy object of the structure with natural masses; returned itself if they are the structure's.
    structure
        The unit cell.
    """
    if not isotope_masses(structure):
        return phonon
    matrix = np.rint(phonon.supercell_matrix.T).astype(int).tolist()
    made = build_phonopy(
        structure, matrix, float_rows(phonon.primitive_matrix.T), phonon.symmetry.tolerance
    )
    if phonon.dataset is not None:
        made.dataset = phonon.dataset
    made.force_constants = phonon.force_constants
    return made


def nac_params(born: BornCharges | None, n_primitive: int) -> dict[str, Any] | None:
    """Return phonopy's NAC parameters (Gonze and Lee, PRB 55, 10355 (1997)), or None.

    Raises
    ------
    InputError
        The charges do not belong to this primitive cell.
    """
    if born is None:
        return None
    if len(born.charges) != n_primitive:
        raise InputError(
            f"Born charges of {len(born.charges)} atoms do not fit a primitive cell of "
            f"{n_primitive} atoms; give one 3x3 tensor per atom of the primitive cell."
        )
    return {
        "born": np.array(born.charges, dtype=float),
        "dielectric": np.array(born.dielectric, dtype=float),
        "factor": born.factor,
    }


def check_born(born: BornCharges | None, primitive: PhonopyAtoms, symprec: float) -> None:
    """Refuse charges of another crystal, by their number, their symmetry and their sum.

    Small differences, as DFT gives them, are accepted.

    Raises
    ------
    InputError
        Charges or dielectric tensor differ by more than ASYMMETRY from what symmetry and neutrality
        require, or the dielectric tensor is not positive.
    """
    nac = nac_params(born, len(primitive))
    if nac is None:
        return
    charges, dielectric = nac["born"], nac["dielectric"]
    symmetry, to_cell = Symmetry(primitive, symprec), primitive.cell.T
    rotations = symmetry.symmetry_operations["rotations"]
    turns = [to_cell @ r @ np.linalg.inv(to_cell) for r in rotations]
    mean = np.zeros_like(charges)
    for turn, images in zip(turns, symmetry.atomic_permutations, strict=True):
        mean[images] += turn @ charges @ turn.T / len(turns)
    tensor = np.mean([turn @ dielectric @ turn.T for turn in turns], axis=0)
    scale = max(float(np.trace(dielectric)) / 3, 1e-12)
    broken = float(np.abs(mean - charges).max())
    skewed = float(np.abs(tensor - dielectric).max() / scale)
    total = float(np.abs(charges.sum(axis=0)).max() / len(charges))
    if np.linalg.eigvalsh((dielectric + dielectric.T) / 2).min() <= 0:
        skewed = np.inf
    if max(broken, total, skewed) > ASYMMETRY:
        raise InputError(
            f"The Born charges are not those of {to_structure(primitive).reduced_formula}: they "
            f"break its symmetry by {broken:.2f} e and neutrality by {total:.2f} e per atom, and the "
            f"dielectric tensor is off by {100 * skewed:.0f} %; at most {ASYMMETRY} e and "
            f"{100 * ASYMMETRY:.0f} % are allowed. Give those of this cell, in its order of atoms "
            "and its orientation."
        )
