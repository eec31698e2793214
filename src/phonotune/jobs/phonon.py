"""PhononMaker: finite-displacement phonons by a model or a labeller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pymatgen.core import Structure

from phonotune.jobs.property import PropertyMaker
from phonotune.physics.phonon import (
    PhononPlan,
    PhononSettings,
    analyse_forces,
    plan_displacements,
)
from phonotune.ports import Answers
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument


@dataclass
class PhononMaker(PropertyMaker):
    """Phonons, DOS, bands and harmonic thermal properties (finite displacements).

    Parameters
    ----------
    settings
        Supercell, displacement, mesh and thresholds.
    labeller
        The reference evaluates if given; else pass a model to ``make``.
    """

    document = PhononDocument

    name: str = "phonon"
    settings: PhononSettings = field(default_factory=PhononSettings)

    def plan(self, structure: Structure, **inputs: Any) -> PhononPlan:
        """Return the symmetry-reduced displaced supercells."""
        return plan_displacements(structure, self.settings)

    def analyse(self, plan: PhononPlan, answers: Answers, source: Source) -> PhononDocument:
        """Return the phonons of the answered displacements."""
        return analyse_forces(plan, answers, source)
