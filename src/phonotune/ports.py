"""The one port between physics and engines: an evaluator gives energy, forces and stress (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pymatgen.core import Structure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Energy, forces and stress of one structure.

    Attributes
    ----------
    energy
        Total energy of the cell, eV.
    forces
        shape (n_atoms, 3), eV/Å, in the order of the structure's sites.
    stress
        shape (3, 3), eV/Å^3, ASE's sign (positive = the cell wants to shrink: dE/dε / V), or None if not given.
    spread
        How far the members of a committee differ; None for a single model.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None = None
    spread: Spread | None = None


@dataclass(frozen=True, eq=False)
class Spread:
    """Standard deviations over the members of a committee, shapes and units as in Evaluation."""

    energy: float
    forces: FloatArray
    stress: FloatArray | None = None


Answers = Sequence[Evaluation | None]
"""One answer a planned structure, in the plan's order; None where the evaluation failed."""


class Evaluator(Protocol):
    """Anything that answers a list of structures with energies, forces and stresses."""

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Evaluate structures, in order."""
        ...
