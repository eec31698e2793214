"""Names of irreducible representations, from phonopy's character tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import spglib
from phonopy.phonon.irreps import IrRepLabels

from phonotune.physics.little_group import Operation
from phonotune.physics.phonon.modes import ModeSpace

_WHOLE: Final = 1e-2
"""A character this close to an integer is that integer."""


def irrep_label(space: ModeSpace, operations: Sequence[Operation]) -> str | None:
    """Return the Mulliken symbol of a degenerate space, or None where there is none.

    It refers to the point group of q (the little co-group), with the fractional translations taken out:
    off Γ it depends on the origin, which is that of the primitive cell, and at the zone boundary of a
    non-symmorphic crystal there may be none. A space that combines several representations has none.

    Parameters
    ----------
    space
        The degenerate modes.
    operations
        :func:`~phonotune.physics.little_group.little_group` of the same cell and q.
    """
    kept = [o for o in operations if o.sign > 0]
    rotations = np.array([o.rotation for o in kept])
    found = spglib.get_pointgroup(rotations)
    if found is None:
        return None
    setting = np.array(found[2])
    standard = np.rint(np.linalg.inv(setting) @ rotations @ setting).astype(int)
    characters = np.array(
        [
            np.trace(space.vectors.conj().T @ o.apply(space.vectors))
            * np.exp(2j * np.pi * (space.q @ o.translation))
            for o in kept
        ]
    )
    whole = np.rint(characters.real)
    characters = np.where(np.abs(characters - whole) < _WHOLE, whole, characters)
    try:
        labels = IrRepLabels(characters[None], standard, found[0].strip(), False).irrep_labels
    except RuntimeError:
        return None
    return labels[0] if labels else None
