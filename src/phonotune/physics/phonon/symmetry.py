"""phonopy's symmetry search for supercells, with the permutations of atoms composed.

phonopy matches all atoms of a supercell for each of its operations, one by one. An operation is a
rotation of the crystal followed by a translation of the supercell, so that one permutation per rotation
and one per translation are enough: 80 instead of 1536 for 64 atoms of rocksalt. Hooks of phonopy's classes
are overridden; if a later phonopy does not call them, the result is the same and takes longer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from phonopy import Phonopy
from phonopy.structure.cells import compute_all_sg_permutations
from phonopy.structure.symmetry import Symmetry
from scipy.spatial import cKDTree

from phonotune.physics.array_keys import ArrayKey
from phonotune.ports import FloatArray, IntArray


class SupercellSymmetry(Symmetry):  # type: ignore[misc]
    """phonopy's Symmetry, faster for cells with many translations."""

    def _set_atomic_permutations(self) -> None:
        found = compose_permutations(
            self._symmetry_operations["rotations"],
            self._symmetry_operations["translations"],
            self._permutations_of,
            self._symprec / float(np.linalg.norm(self._cell.cell, axis=1).max()),
        )
        if found is None:
            super()._set_atomic_permutations()
        else:
            self._atomic_permutations = found

    def get_site_symmetry(self, atom_number: int) -> IntArray:
        """Return the rotations that leave an atom where it is, shape (n, 3, 3), fractional."""
        stays = self.atomic_permutations[:, atom_number] == atom_number
        return np.asarray(self.symmetry_operations["rotations"][stays])

    def _permutations_of(self, rotations: IntArray, translations: FloatArray) -> IntArray:
        return np.asarray(
            compute_all_sg_permutations(
                self._cell.scaled_positions,
                rotations,
                translations,
                np.array(self._cell.cell.T, dtype="double", order="C"),
                self._symprec,
                self._cell.totuple(self._distinguish_symbol_index)[2],
            )
        )


class QuickPhonopy(Phonopy):  # type: ignore[misc]
    """phonopy's Phonopy with the search above for its supercell."""

    def _search_symmetry(self) -> None:
        cell, s2p_map = self._supercell, self._primitive.s2p_map
        kinds = cell.totuple(self._distinguish_symbol_index)[2]
        arrays = (cell.cell, cell.scaled_positions, kinds, cell.magnetic_moments, s2p_map)
        key = ArrayKey.of((cell, s2p_map), *arrays)
        found = _symmetry_of(key, self._symprec, self._is_symmetry, self._distinguish_symbol_index)
        self._symmetry = found


@lru_cache(maxsize=8)
def _symmetry_of(
    key: ArrayKey[Any], symprec: float, is_symmetry: bool, tells_isotopes: bool
) -> SupercellSymmetry:
    """Return the symmetry of a supercell, found once and kept: every model's phonons need the same."""
    cell, s2p_map = key.value
    return SupercellSymmetry(
        cell, symprec, is_symmetry, s2p_map=s2p_map, distinguish_symbol_index=tells_isotopes
    )


def compose_permutations(
    rotations: IntArray, translations: FloatArray, permutations_of: Any, tolerance: float
) -> IntArray | None:
    """Return the permutation of each operation from those of its rotation and its translation.

    Parameters
    ----------
    rotations
        shape (n_ops, 3, 3), fractional.
    translations
        shape (n_ops, 3), fractional.
    permutations_of
        Gives shape (n, n_atoms) for n rotations and translations: the atom that each is sent to.
    tolerance
        For translations, fractional.

    Returns
    -------
    shape (n_ops, n_atoms), or None where the operations are not rotations times translations.
    """
    flat = rotations.reshape(-1, 9)
    _, first, kind = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    pure = np.flatnonzero((flat == np.eye(3, dtype=int).ravel()).all(axis=1))
    if len(first) * len(pure) != len(rotations):
        return None
    shifts = translations - translations[first[kind]]
    tree = cKDTree(_in_cell(translations[pure]), boxsize=1.0)
    distances, which = tree.query(_in_cell(shifts))
    if distances.max() > max(10 * tolerance, 1e-6):
        return None
    turned = permutations_of(rotations[first], translations[first])
    shifted = permutations_of(rotations[pure], translations[pure])
    return np.asarray(shifted[which[:, None], turned[kind.ravel()]], dtype=np.int64)


def _in_cell(positions: FloatArray) -> FloatArray:
    wrapped = positions - np.floor(positions)
    return np.where(wrapped >= 1.0, 0.0, wrapped)
