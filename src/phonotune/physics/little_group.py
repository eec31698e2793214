"""The little group of q: how the operations of a crystal act on displacements with wavevector q."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Final

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Structure

from phonotune.ports import FloatArray, IntArray
from phonotune.schemas.masses import site_kinds

_LARGEST_DENOMINATOR: Final = 48
_SAME_Q: Final = 1e-5
"""In reciprocal vectors of the primitive cell: closer wavevectors are equal."""


@dataclass(frozen=True, eq=False)
class Operation:
    """A space group operation {R|τ} that takes q to q or to -q (modulo reciprocal vectors).

    Attributes
    ----------
    rotation
        shape (3, 3), integer, acts on fractional columns.
    translation
        shape (3,), fractional.
    cartesian
        shape (3, 3), the rotation on Cartesian columns.
    images
        shape (n_prim,): site i moves to site ``images[i]``.
    sign
        +1 where it keeps q, -1 where it only turns q into -q.
    phases
        shape (n_prim,), complex, of the wave at the site it arrives at.
    """

    rotation: IntArray
    translation: FloatArray
    cartesian: FloatArray
    images: IntArray
    sign: int
    phases: NDArray[np.complex128]

    def apply(self, vectors: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return the images of complex waves, mass-weighted or not, shape (3 n_prim, n) kept.

        The phase convention is that of a :class:`~phonotune.physics.phonon.modes.Mode`. Where q becomes
        -q, the complex conjugate is returned, which has the same real displacements.
        """
        waves = vectors.reshape(len(self.images), 3, -1)
        turned = np.empty_like(waves)
        turned[self.images] = np.einsum("ab,ibn->ian", self.cartesian, waves)
        turned *= self.phases[:, None, None]
        return (turned if self.sign > 0 else turned.conj()).reshape(vectors.shape)


def little_group(primitive: Structure, q: FloatArray, symprec: float) -> list[Operation]:
    """Return the operations of a crystal that keep q or turn it into -q, without lattice translations.

    Parameters
    ----------
    primitive
        The primitive cell.
    q
        shape (3,), in its reciprocal vectors.
    symprec
        Tolerance on positions, Å.
    """
    lattice, x = primitive.lattice.matrix, primitive.frac_coords
    found = spglib.get_symmetry((lattice, x, site_kinds(primitive)), symprec=symprec)
    if found is None:
        found = {"rotations": np.eye(3, dtype=int)[None], "translations": np.zeros((1, 3))}
    kept = []
    for rotation, translation in zip(found["rotations"], found["translations"], strict=True):
        turned = q @ np.linalg.inv(rotation)
        signs = [s for s in (1, -1) if np.abs(_to_integer(turned - s * q)).max() < _SAME_Q]
        if signs:
            umklapp = np.rint(turned - signs[0] * q)
            offsets = _to_integer((x @ rotation.T + translation)[:, None] - x[None])
            kept.append(
                Operation(
                    rotation=np.asarray(rotation),
                    translation=np.asarray(translation),
                    cartesian=lattice.T @ rotation @ np.linalg.inv(lattice.T),
                    images=np.argmin(np.linalg.norm(offsets @ lattice, axis=2), axis=1),
                    sign=signs[0],
                    phases=np.exp(2j * np.pi * (x @ umklapp - turned @ translation)),
                )
            )
    return kept


def _to_integer(x: FloatArray) -> FloatArray:
    return np.asarray(x - np.rint(x))


def translation_phases(q: FloatArray) -> NDArray[np.complex128]:
    """Return the phases that lattice translations give to a wave of wavevector q.

    Returns
    -------
    shape (n,), the n-th roots of 1 with n the common denominator of q, 1 first.
    """
    parts = [Fraction(float(x)).limit_denominator(_LARGEST_DENOMINATOR) for x in q]
    n = lcm(*(p.denominator for p in parts))
    return np.asarray(np.exp(2j * np.pi * np.arange(n) / n))


def is_own_opposite(q: FloatArray) -> bool:
    """Return whether q and -q differ by a reciprocal vector; the wave is then real."""
    return bool(np.abs(_to_integer(2 * np.asarray(q))).max() < _SAME_Q)
