"""Supercells as cubic as possible, of any integer matrix: what is rattled and labelled."""

from __future__ import annotations

from typing import Final

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.physics.supercell import as_matrix, supercell_matrix
from phonotune.ports import FloatArray
from phonotune.schemas.base import Matrix3

_STEP: Final = 0.25
"""Å by which the wanted cube grows."""
_LARGEST: Final = 1.5
"""Largest wanted cube, in units of ``min_length``."""


def cubic_supercell_matrix(
    structure: Structure, min_length: float = 10.0, max_atoms: int = 300
) -> Matrix3:
    """Return the smallest nearly cubic supercell whose periodic images are far apart.

    pymatgen's CubicSupercellTransformation rounds a growing cube to an integer matrix, diagonal or
    not; the first whose shortest lattice vector reaches ``min_length`` is taken. The point group of
    the crystal need not survive. Where none up to 1.5 ``min_length`` fits ``max_atoms``, the compact
    cell of :func:`~phonotune.physics.supercell.supercell_matrix` is returned.

    Parameters
    ----------
    structure
        The cell to repeat.
    min_length
        Shortest distance between periodic images, Å.
    max_atoms
        Most atoms in the supercell.
    """
    # pymatgen's module takes a second to import
    from pymatgen.transformations.advanced_transformations import CubicSupercellTransformation

    for length in np.arange(min_length, _LARGEST * min_length, _STEP):
        transformation = CubicSupercellTransformation(
            min_length=float(length), max_atoms=max_atoms, step_size=_STEP
        )
        try:
            transformation.apply_transformation(structure)
        except AttributeError:  # pymatgen's word for "too many atoms"
            break
        matrix = np.rint(transformation.transformation_matrix).astype(int)
        cell = matrix @ structure.lattice.matrix
        if min(Lattice(cell).get_lll_reduced_lattice().abc) >= min_length - 1e-6:
            return as_matrix(matrix)
    return supercell_matrix(structure, min_length, max_atoms)


def distortion(cell: FloatArray) -> float:
    """Return how far a cell is from a cube: 0 for a cube, in any orientation.

    Parameters
    ----------
    cell
        shape (3, 3), Å, rows are the vectors.

    Returns
    -------
    Norm of (metric tensor / that of a cube of this volume - 1), without unit.
    """
    metric = cell @ cell.T / abs(np.linalg.det(cell)) ** (2 / 3)
    return float(np.linalg.norm(metric - np.eye(3)))
