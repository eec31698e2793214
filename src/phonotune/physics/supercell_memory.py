"""Whether a supercell fits into memory, estimated before anything of its size is built."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import spglib
from numpy.typing import ArrayLike
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.schemas.base import Matrix3
from phonotune.schemas.masses import site_kinds

_NUMBER: Final[int] = 8
_CONSTANTS_COPIES: Final[int] = 4
"""Force constants: as fitted, made symmetric, in the arrays of the document, in its blob."""
_PERMUTATION_COPIES: Final[int] = 2
"""Permutations of atoms: a list of rows, and the table made from it."""
_STRUCTURE_BYTES: Final[int] = 2_000
"""Per atom of a displaced supercell, as a Structure."""
_MODEL_BYTES: Final[int] = 1_000_000
"""Per atom in the batch of a model, which holds at least one whole supercell."""
_GIBI: Final[int] = 1 << 30
_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"))


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes at the peak, by how they grow with the number of atoms.

    Attributes
    ----------
    atoms
        Atoms in the supercell.
    square
        What grows with the square of the number of atoms: the permutations of atoms by the operations.
    linear
        The rest: force constants, displaced structures, the evaluation of one supercell.
    """

    atoms: int
    square: float
    linear: float

    @property
    def total(self) -> float:
        """The whole need, bytes."""
        return self.square + self.linear

    def fitting(self, available: float) -> int:
        """Return the largest number of atoms that would fit."""
        a, b = self.square / self.atoms**2, self.linear / self.atoms
        return int((np.sqrt(b * b + 4 * a * available) - b) / (2 * a))


def estimate_memory(structure: Structure, matrix: Matrix3, primitive: ArrayLike) -> MemoryNeed:
    """Return the peak memory of phonons in a supercell; rather too much than too little.

    Parameters
    ----------
    structure
        The cell given.
    matrix
        Supercell matrix, rows are vectors.
    primitive
        Primitive vectors (rows) in units of the cell vectors.
    """
    cell = (structure.lattice.matrix, structure.frac_coords, site_kinds(structure))
    dataset = spglib.get_symmetry_dataset(cell, symprec=1e-3)
    point_group = 1 if dataset is None else len(np.unique(dataset.rotations, axis=0))
    sites = len(structure) if dataset is None else len(np.unique(dataset.equivalent_atoms))
    n_super = len(structure) * round(np.linalg.det(np.array(matrix)))
    n_primitive = max(1, round(len(structure) * np.linalg.det(np.asarray(primitive))))
    operations = point_group * n_super / n_primitive
    displaced = max(2, 6 * sites / point_group)
    per_atom = (
        _CONSTANTS_COPIES * n_primitive * 9 * _NUMBER + displaced * _STRUCTURE_BYTES + _MODEL_BYTES
    )
    return MemoryNeed(
        n_super, _PERMUTATION_COPIES * operations * n_super * _NUMBER, n_super * per_atom
    )


def available_memory() -> int | None:
    """Return the bytes still available to this process (system and control group); None: unknown."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable:")]
        free = max([free, *found])
    except (OSError, ValueError, AttributeError):
        return None
    try:
        limit, used = (int(path.read_text(encoding="ascii")) for path in _LIMITS)
    except (OSError, ValueError):
        return free
    return min(free, max(limit - used, 0))


def check_memory(
    structure: Structure, matrix: Matrix3, primitive: ArrayLike, available: int | None = None
) -> None:
    """Refuse a supercell whose phonons do not fit into memory.

    Parameters
    ----------
    structure, matrix, primitive
        As for :func:`estimate_memory`.
    available
        Bytes; None asks the system.

    Raises
    ------
    InputError
        More is needed than there is; the message names both and a supercell that would fit.
    """
    available = available_memory() if available is None else available
    need = estimate_memory(structure, matrix, primitive)
    if available is None or need.total <= available:
        return
    raise InputError(
        f"Phonons of {structure.reduced_formula} in a supercell of {need.atoms} atoms need about "
        f"{need.total / _GIBI:.1f} GiB, and {available / _GIBI:.1f} GiB are available. Give a smaller "
        f"--supercell (up to about {need.fitting(available)} atoms), or run where there is "
        "more memory."
    )
