"""ConductivityMaker: lattice thermal conductivity by a model or a labeller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pymatgen.core import Structure

from phonotune.jobs.property import PolarMaker
from phonotune.physics.phonon.conductivity import (
    ConductivityPlan,
    ConductivitySettings,
    analyse_third_order,
    plan_third_order,
)
from phonotune.ports import Answers
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.thermal import ConductivityDocument


@dataclass
class ConductivityMaker(PolarMaker[ConductivityDocument]):
    """Conductivity of the relaxation-time approximation; needs ``phonotune[conductivity]``.

    Parameters
    ----------
    settings
        Supercells, displacements, mesh and its tolerance.
    born
        Born charges of the crystal, for reference and models alike; None for no NAC.
    labeller
        If given, it evaluates (the reference); otherwise pass a model to ``make``.
    """

    document = ConductivityDocument
    planned = "supercells of second and third order"

    name: str = "conductivity"
    settings: ConductivitySettings = field(default_factory=ConductivitySettings)
    born: BornCharges | None = None

    def plan(self, structure: Structure, **inputs: Any) -> ConductivityPlan:
        """Return the displaced supercells of second and third order."""
        return plan_third_order(structure, self.settings, self.born)

    def analyse(
        self, plan: ConductivityPlan, answers: Answers, source: Source
    ) -> ConductivityDocument:
        """Return the conductivity of the answered displacements."""
        return analyse_third_order(plan, answers, source, self.born)
