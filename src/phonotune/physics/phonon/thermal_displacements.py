"""Random displacements along phonon modes at a temperature (phonopy's, soft modes held back)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from phonopy.phonon.random_displacements import RandomDisplacements
from pymatgen.core import Structure

from phonotune.errors import StructureError
from phonotune.physics.answer_checks import require_answers
from phonotune.physics.phonon.cells import to_structure, with_isotopes
from phonotune.physics.phonon.displacements import PhononPlan, fit_force_constants

if TYPE_CHECKING:
    from phonotune.ports import Answers, FloatArray

_IGNORED: Final = 1e-3
"""THz; phonopy leaves out modes below it, here only the three translations."""


class ThermalDisplacements:
    """Draws displacements of a harmonic crystal at a temperature, with quantum statistics.

    Every mode except the translations has the amplitude of a stable mode of frequency ``max(|ω|, floor)``,
    so that the amplitudes of soft and unstable modes are bounded.

    Parameters
    ----------
    plan
        Displacements in the supercell that will be rattled.
    answers
        One answer per structure of the plan.
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
        phonon = with_isotopes(phonon, plan.structure)
        self.temperature = temperature
        self._draws: Any = RandomDisplacements(
            phonon.supercell,
            phonon.primitive,
            phonon.force_constants,
            cutoff_frequency=_IGNORED,
        )
        frequencies = np.array(self._draws.frequencies)
        bounded = np.maximum(np.abs(frequencies), floor)
        for row in np.flatnonzero(~np.asarray(self._draws.qpoints).any(axis=1)):
            bounded[row, np.argsort(np.abs(frequencies[row]))[:3]] = 0.0
        self._draws.frequencies = bounded

    @property
    def frequencies(self) -> FloatArray:
        """Frequencies that determine the amplitudes, THz; 0 for the three translations."""
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
