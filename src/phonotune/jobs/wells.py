"""DoubleWellMaker: the potential along a phonon mode by a model or a labeller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Response
from pymatgen.core import Structure

from phonotune.jobs.base import role_job
from phonotune.jobs.property import Model, PropertyMaker
from phonotune.physics.wells.double_well import WellPlan, WellSettings, analyse_well, plan_well
from phonotune.ports import Answers
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.wells import WellDocument


@dataclass
class DoubleWellMaker(PropertyMaker[WellDocument]):
    """E(Q) along one mode, in one or several directions, in the smallest commensurate supercell.

    Parameters
    ----------
    settings
        Which mode and directions, and the grid of amplitudes.
    labeller
        If given, it evaluates (the reference); otherwise pass a model to :meth:`make`.
    """

    document = WellDocument
    planned = "amplitudes"

    name: str = "double well"
    settings: WellSettings = field(default_factory=WellSettings)

    @role_job(lambda maker: maker.role, WellDocument)
    def make(  # type: ignore[override]
        self, structure: Structure, phonons: PhononDocument, model: Model | None = None
    ) -> WellDocument | Response[Any]:
        """Follow a mode of ``phonons``.

        Parameters
        ----------
        structure
            The unit cell of the phonons.
        phonons
            Whose eigenvector is followed; pass the reference's to compare models on the same path.
        model
            Tuned model or foundation name; None when the Maker has a labeller.
        """
        return self.evaluate(structure, model, phonons=phonons)

    def plan(self, structure: Structure, **inputs: Any) -> WellPlan:
        """Return the supercells displaced along the mode."""
        return plan_well(structure, inputs["phonons"], self.settings)

    def analyse(self, plan: WellPlan, answers: Answers, source: Source) -> WellDocument:
        """Return the well of the answered displacements."""
        return analyse_well(plan, answers, source)
