"""What symmetry allows: independent force constants of a supercell (symfc), and forces at its sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from pymatgen.core import Structure
from symfc import Symfc
from symfc.utils.utils import SymfcAtoms

from phonotune.physics.array_keys import ArrayKey, structure_key
from phonotune.ports import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ForceConstantBasis:
    """Coefficients of force constants that obey space group, index symmetry and acoustic sum rule.

    symfc finds the basis that symmetry allows (Seko and Togo, PRB 110, 214302 (2024)). The sum rule is a
    projection of the coefficients, so that any coefficients give force constants that obey it.

    Attributes
    ----------
    n_atoms
        Atoms of the supercell.
    distances
        shape (n_coefficients,), Å: between the atoms that a coefficient couples.
    """

    n_atoms: int
    distances: FloatArray
    _compression: Any = field(repr=False)
    _first: IntArray = field(repr=False)
    _translations: IntArray = field(repr=False)
    _sums: FloatArray = field(repr=False)
    _scales: FloatArray = field(repr=False)
    _forbidden: FloatArray = field(repr=False)

    @classmethod
    def find(
        cls, supercell: Structure, operations: dict[str, Any] | None, symprec: float
    ) -> ForceConstantBasis:
        """Return the orthonormal basis: sums of squares of coefficients and of force constants are equal.

        Parameters
        ----------
        supercell
            The undisplaced supercell, order of sites kept.
        operations
            Its space group as given by phonopy: rotations, translations; None: it is searched for.
        symprec
            Tolerance with which the operations were found, Å.
        """
        names = ("rotations", "translations")
        arrays = [None if operations is None else operations[name] for name in names]
        return _find_basis(structure_key(supercell), ArrayKey.of(operations, *arrays), symprec)

    def decaying(self, length: float) -> ForceConstantBasis:
        """Return the basis whose coefficients are scaled down with the distance of the atoms.

        Coefficients of equal size give force constants that decay as exp(-distance / length).

        Parameters
        ----------
        length
            Å.
        """
        scales = np.exp(-self.distances / length)
        return replace(self, _scales=scales, _forbidden=_row_space(self._sums * scales))

    @property
    def n_parameters(self) -> int:
        """Number of independent force constants."""
        return len(self._scales) - len(self._forbidden)

    @property
    def images(self) -> IntArray:
        """Lattice translation that takes the first atom of each kind to an atom, shape (n_super,)."""
        images = np.empty(self.n_atoms, dtype=np.int64)
        images[self._translations[:, self._first]] = np.arange(len(self._translations))[:, None]
        return images

    def design(self, displacements: FloatArray) -> FloatArray:
        """Return the forces per coefficient, with the sum rule applied to the coefficients.

        Parameters
        ----------
        displacements
            shape (n_frames, n_super, 3), Å.

        Returns
        -------
        shape (n_frames * n_super * 3, n_coefficients), Å.
        """
        return self.constrained(self.free_design(displacements))

    def free_design(self, displacements: FloatArray) -> FloatArray:
        """Return :meth:`design` without sum rule and decay, independent of the decay length."""
        n, (_, width) = self.n_atoms, self._compression.shape
        constants = np.arange(len(self._first) * n * 9).reshape(len(self._first), n, 3, 3)
        designs = np.empty((len(displacements), n, 3, width))
        for forces, displacement in zip(designs, displacements, strict=True):
            moved = displacement[self._translations].reshape(len(self._translations), -1)
            for row, site in enumerate(self._first):
                for axis in range(3):
                    springs = self._compression[constants[row, :, axis].ravel()]
                    forces[self._translations[:, site], axis] = -(springs.T @ moved.T).T
        return designs.reshape(-1, width)

    def constrained(self, free: FloatArray) -> FloatArray:
        """Return :meth:`design` from the result of :meth:`free_design`."""
        design = free * self._scales
        design -= (design @ self._forbidden.T) @ self._forbidden
        return np.asarray(design)

    def expand(self, coefficients: FloatArray, sites: Sequence[int] | IntArray) -> FloatArray:
        """Return the force constants between some atoms and all atoms.

        Parameters
        ----------
        coefficients
            shape (n_coefficients,), eV/Å^2.
        sites
            Atoms of the supercell, e.g. those of the primitive cell.

        Returns
        -------
        shape (len(sites), n_super, 3, 3), eV/Å^2.
        """
        allowed = coefficients - self._forbidden.T @ (self._forbidden @ coefficients)
        own = (self._compression @ (self._scales * allowed)).reshape(-1, self.n_atoms, 3, 3)
        images = self._translations[:, self._first]
        constants = np.empty((len(sites), self.n_atoms, 3, 3))
        for row, site in enumerate(sites):
            translation, first = np.argwhere(images == site)[0]
            constants[row, self._translations[translation]] = own[first]
        return constants


@lru_cache(maxsize=1)
def _find_basis(
    supercell: ArrayKey[Structure], operations: ArrayKey[dict[str, Any] | None], symprec: float
) -> ForceConstantBasis:
    """Find the basis of a supercell and keep it: every model of a crystal needs the same."""
    cell = supercell.value
    atoms = SymfcAtoms(
        cell=cell.lattice.matrix,
        scaled_positions=cell.frac_coords,
        numbers=np.array(cell.atomic_numbers),
    )
    finder = Symfc(atoms, spacegroup_operations=operations.value, symprec=symprec)
    found: Any = finder.compute_basis_set(orders=[2]).basis_set[2]
    compression = found.compact_compression_matrix.tocsr()
    first, n = np.array(found.p2s_map), len(cell)
    pairs = np.repeat(cell.distance_matrix[first].ravel(), 9)
    shares = compression.multiply(compression)
    constants = np.arange(len(first) * n * 9).reshape(len(first), n, 9)
    sums = sum(compression[constants[:, atom].ravel()] for atom in range(n)).toarray()
    return ForceConstantBasis(
        n_atoms=n,
        distances=np.asarray(shares.T @ pairs / shares.sum(axis=0)),
        _compression=compression,
        _first=first,
        _translations=np.array(found.translation_permutations),
        _sums=sums,
        _scales=np.ones(compression.shape[1]),
        _forbidden=_row_space(sums),
    )


def _row_space(matrix: FloatArray) -> FloatArray:
    """Return orthonormal rows that span those of a matrix."""
    _, singular, rows = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(rows[singular > 1e-10 * max(singular.max(initial=0.0), 1e-300)])


def site_forces(primitive: Structure, rotations: IntArray, translations: FloatArray) -> FloatArray:
    """Return the forces that symmetry allows on atoms at their sites, orthonormal.

    Parameters
    ----------
    primitive
        The primitive cell.
    rotations, translations
        shape (n_op, 3, 3) and (n_op, 3), its space group, in units of its vectors.

    Returns
    -------
    shape (n_prim, 3, n_free), without a net force; n_free is zero where symmetry fixes every site.
    """
    n, lattice, sites = len(primitive), primitive.lattice.matrix.T, primitive.frac_coords
    mean = np.zeros((n, 3, n, 3))
    for rotation, translation in zip(rotations, translations, strict=True):
        apart = (sites @ rotation.T + translation)[:, None] - sites
        images = np.linalg.norm((apart - np.rint(apart)) @ lattice.T, axis=2).argmin(axis=1)
        turn = lattice @ rotation @ np.linalg.inv(lattice) / len(rotations)
        mean[images, :, np.arange(n)] += turn
    mean -= mean.mean(axis=2, keepdims=True)
    values, vectors = np.linalg.eigh(mean.reshape(3 * n, 3 * n))
    return np.asarray(vectors[:, values > 0.5].reshape(n, 3, -1))
