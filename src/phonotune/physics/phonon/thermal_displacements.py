"""Random displacements along phonon modes at a temperature (phonopy's, soft modes held back)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from phonopy.phonon.random_displacements import RandomDisplacements
from pymatgen.core import Structure

from phonotune.errors import StructureError
from phonotune.physics.answer_checks import require_answers
from phonotune.physics.phonon.cells import to_structure
from phonotune.physics.phonon.displacements import PhononPlan, fit_force_constants

if TYPE_CHECKING:
    from phonotune.ports import Answers, FloatArray

_IGNORED: Final = 1e-3
"""THz; phonopy leaves out modes below it, here the three translations alone."""


class ThermalDisplacements:
    """Draws displacements of a harmonic crystal at a temperature, in quantum statistics.

    Every mode that is no translation moves as if its frequency were at least ``floor``, and an
    unstable mode as if its frequency were real: its amplitude is that of a stable mode of frequency
    ``max(|ω|, floor)``, and so bounded.

    Parameters
    ----------
    plan
        Displacements in the supercell that is to be rattled.
    answers
        One answer a structure of the plan.
    temperature
        K.
    floor
        THz.

    Raises
    ------
    LabelError
        A missing or broken answer.
    """

    def __init__(
        self, plan: PhononPlan, answers: Answers, temperature: float, floor: float
    ) -> None:
        complete = require_answers(plan.structures, answers, "Phonon-mode rattle")
        phonon = fit_force_constants(plan, np.array([a.forces for a in complete]))
        self.supercell: Structure = to_structure(phonon.supercell)
        self.temperature = temperature
        self._draws: Any = RandomDisplacements(
            phonon.supercell,
            phonon.primitive,
            phonon.force_constants,
            cutoff_frequency=_IGNORED,
        )
        self._draws.frequencies = _bounded(
            self._draws.qpoints, np.array(self._draws.frequencies), floor
        )

    @property
    def frequencies(self) -> FloatArray:
        """Frequencies that the amplitudes are those of, THz; 0 for the three translations."""
        return np.asarray(self._draws.frequencies)

    def __call__(self, cell: Structure, rng: np.random.Generator) -> FloatArray:
        """Return displacements, shape (n_atoms, 3), Å, in the order of ``supercell``.

        Raises
        ------
        StructureError
            ``cell`` does not hold the atoms of ``supercell`` in that order.
        """
        if list(cell.atomic_numbers) != list(self.supercell.atomic_numbers):
            raise StructureError(
                f"{cell.formula} is not the supercell {self.supercell.formula} whose modes are "
                "known, or its atoms are in another order. Rattle ThermalDisplacements.supercell."
            )
        self._draws.run(self.temperature, 1, random_seed=int(rng.integers(2**31)))
        return np.array(self._draws.u[0])


def _bounded(q: FloatArray, frequencies: FloatArray, floor: float) -> FloatArray:
    """Return frequencies not below the floor, THz; those of the translations become zero."""
    bounded = np.maximum(np.abs(frequencies), floor)
    for row in np.flatnonzero(~np.asarray(q).any(axis=1)):
        bounded[row, np.argsort(np.abs(frequencies[row]))[:3]] = 0.0
    return np.asarray(bounded)
