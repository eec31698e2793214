"""What makes two crystals different, in words with values."""

from __future__ import annotations

from typing import Final

import numpy as np
from pymatgen.core import Structure

from phonotune.schemas.masses import masses_in_words, same_masses

SAME: Final = 1e-4
"""Å; cells and positions that agree to this are the same crystal, written with other digits."""


def crystal_difference(first: Structure, second: Structure) -> str:
    """Return the first thing in which two cells differ: formula, atoms, cell, orientation, positions, masses.

    Returns
    -------
    A clause with both values and what to do about it; empty where both are the same crystal to :data:`SAME`.
    """
    if first.reduced_formula != second.reduced_formula:
        return f"they are other crystals, {first.reduced_formula} and {second.reduced_formula}"
    if len(first) != len(second):
        return f"cells of {len(first)} and {len(second)} atoms (use the same cell)"
    same_cell = "use the cell of the reference"
    one, other = first.lattice, second.lattice
    if not np.allclose(one.abc, other.abc, atol=SAME) or not np.allclose(
        one.angles, other.angles, atol=1e-3
    ):
        shapes = [
            f"{' '.join(f'{x:.3f}' for x in cell.abc)} Å, {' '.join(f'{x:.2f}' for x in cell.angles)}°"
            for cell in (one, other)
        ]
        if np.allclose(one.angles, other.angles, atol=1e-2):
            shapes = [shape.partition(",")[0] for shape in shapes]
        if shapes[0] == shapes[1]:
            apart = np.abs(np.subtract(one.abc, other.abc)).max()
            return f"cells that differ by {apart:.1e} Å, {shapes[0]} ({same_cell})"
        return f"cells of {shapes[0]} and {shapes[1]} ({same_cell})"
    if not np.allclose(one.matrix, other.matrix, atol=SAME):
        cosine = np.clip((np.trace(one.inv_matrix @ other.matrix) - 1) / 2, -1, 1)
        turned = np.degrees(np.arccos(cosine))
        return f"cells turned against each other by {turned:.1f}° ({same_cell}, in its orientation)"
    distances = one.get_all_distances(first.frac_coords, second.frac_coords)
    kinds = np.array(first.atomic_numbers)[:, None] != np.array(second.atomic_numbers)
    own = np.where(np.diag(kinds), np.inf, np.diag(distances))
    if own.max() > SAME:
        nearest = np.where(kinds, np.inf, distances).min(axis=1)
        if nearest.max() <= SAME:
            number = int(np.argmax(own > SAME)) + 1
            return f"atoms in another order, from atom {number} on ({same_cell})"
        return f"positions that differ by up to {nearest.max():.4f} Å ({same_cell})"
    if not same_masses(first, second):
        return f"masses, {masses_in_words(first)} and {masses_in_words(second)} (use --masses natural for both)"
    return ""
