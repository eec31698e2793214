"""Which displacements of the ions the crystal's symmetry leaves free."""

from __future__ import annotations

from typing import Final

import numpy as np
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from phonotune.physics.supercell import displaced
from phonotune.ports import FloatArray

_FREE: Final[float] = 0.5
"""The projector on free displacements has eigenvalues 0 and 1."""


def free_displacements(structure: Structure, symprec: float) -> FloatArray:
    """Return a basis of the displacements that every symmetry operation leaves as they are.

    Uniform translations are left out. A crystal without such displacements (rock salt, perovskite)
    has no ions to relax when its cell is scaled; one with some (quartz, pyrite) has.

    Parameters
    ----------
    structure
        The crystal.
    symprec
        Symmetry tolerance, Å.

    Returns
    -------
    shape (n_free, 3 n_atoms), orthonormal, Cartesian.
    """
    n = len(structure)
    analyzer = SpacegroupAnalyzer(structure, symprec=symprec)
    projector = np.zeros((n, 3, n, 3))
    operations = analyzer.get_symmetry_operations(cartesian=True)
    for operation in operations:
        moved = operation.operate_multi(structure.cart_coords)
        scaled = structure.lattice.get_fractional_coords(moved)
        offsets = structure.lattice.get_all_distances(scaled, structure.frac_coords)
        images = np.argmin(offsets, axis=1)
        projector[images, :, np.arange(n), :] += operation.rotation_matrix / len(operations)
    uniform = np.tile(np.eye(3), (n, 1)) / np.sqrt(n)
    internal = np.eye(3 * n) - uniform @ uniform.T
    values, vectors = np.linalg.eigh(internal @ projector.reshape(3 * n, 3 * n) @ internal)
    return np.asarray(vectors[:, values > _FREE].T)


def keep_symmetry(start: Structure, relaxed: Structure, free: FloatArray) -> Structure:
    """Return the relaxed crystal without whatever broke the symmetry of the start.

    Parameters
    ----------
    start
        The cell before its ions relaxed.
    relaxed
        The same cell, sites in the same order, positions not wrapped.
    free
        :func:`free_displacements` of the crystal.
    """
    moves = (relaxed.cart_coords - start.cart_coords).ravel()
    kept = (free.T @ (free @ moves)).reshape(-1, 3)
    return displaced(start, kept)
