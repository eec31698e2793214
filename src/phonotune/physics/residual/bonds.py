"""Anharmonic forces of bonds: what is left of a model's error once force constants are taken out.

Reference and model differ by more than force constants where frames leave the harmonic range, first of all in
how stiff bonds become. A correction v(r) to the energy of each kind of bond has few coefficients; fitted beside
ΔΦ, its forces of second order keep their own error out of ΔΦ.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from pymatgen.core import Structure

from phonotune.ports import FloatArray

_LONGEST: Final = 5.0
"""Å: pairs farther apart count as no bond."""
_SAME_LENGTH: Final = 0.05
"""Å: bonds between the same elements are of one kind if no larger gap parts their lengths."""


def bond_forces(
    supercell: Structure,
    displacements: FloatArray,
    decay_length: float,
    anharmonic_length: float,
) -> FloatArray:
    """Return the anharmonic forces of each kind of bond, for two terms of its energy.

    With r₀ the length at rest, n the unit vector along the bond at rest, and x and w the relative displacement
    along and across it, the forces are those of a tension, -(x w + ½ w² n) / r₀², and of the third
    derivative of v, x² n. Both are exactly of second order, so that mirrored frames cancel them. Forces of
    third order are left out: at one amplitude they look like force constants, and a fit cannot tell them
    apart. Terms are scaled so that coefficients of equal size are equally likely.

    Parameters
    ----------
    supercell
        Undisplaced.
    displacements
        shape (n_frames, n_super, 3), Å.
    decay_length
        Å, over which the coefficients are expected to fall off, as those of ΔΦ are.
    anharmonic_length
        Å, over which a force constant is expected to change by its own size.

    Returns
    -------
    shape (n_frames, n_super, 3, n_terms), Å.
    """
    first, second, images, rest = supercell.get_neighbor_list(_LONGEST)
    numbers = np.array(supercell.atomic_numbers)
    pairs = np.sort(np.stack([numbers[first], numbers[second]], axis=1), axis=1)
    order = np.lexsort((rest, pairs[:, 1], pairs[:, 0]))
    other = np.any(np.diff(pairs[order], axis=0) != 0, axis=1)
    begins = np.r_[False, other | (np.diff(rest[order]) > _SAME_LENGTH)][: len(order)]
    kinds = np.empty(len(order), dtype=np.int64)
    kinds[order] = np.cumsum(begins)
    n_kinds = int(kinds.max(initial=-1)) + 1

    coords, matrix = supercell.cart_coords, supercell.lattice.matrix
    still = coords[second] + images @ matrix - coords[first]
    along = still / rest[:, None]
    decay = np.exp(-rest / decay_length)
    found = np.zeros((len(displacements), n_kinds, 2, len(supercell), 3))
    for forces, moves in zip(found, displacements, strict=True):
        apart = moves[second] - moves[first]
        x = np.sum(apart * along, axis=1)[:, None]
        across = apart - x * along
        half = 0.5 * np.sum(across**2, axis=1)[:, None]
        tension = -(x * across + half * along) / rest[:, None] ** 2
        for term, force in enumerate((tension, (x / anharmonic_length) ** 2 * along)):
            weighted = anharmonic_length * decay[:, None] * force
            np.add.at(forces[:, term], (kinds, first), weighted)
    shape = (len(displacements), 2 * n_kinds, len(supercell), 3)
    return np.moveaxis(found.reshape(shape), 1, -1)
