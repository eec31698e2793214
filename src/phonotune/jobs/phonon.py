"""PhononMaker: finite-displacement phonons by a model or a labeller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Response
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.base import role_job
from phonotune.jobs.property import Model, PolarMaker
from phonotune.physics.phonon.displacements import PhononPlan, plan_displacements
from phonotune.physics.phonon.residual import ResidualPlan, analyse_residual, plan_residual
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.residual.matching import ResidualSettings
from phonotune.ports import Answers
from phonotune.schemas.base import Source
from phonotune.schemas.born import BornDocument
from phonotune.schemas.dataset import DatasetDocument, Frame
from phonotune.schemas.phonon import BornCharges, PhononDocument


@dataclass
class PhononMaker(PolarMaker[PhononDocument]):
    """Phonons, DOS, bands and harmonic thermal properties (finite displacements).

    Parameters
    ----------
    settings
        Supercell, displacement, mesh and thresholds.
    born
        Born charges of the crystal, for reference and models alike; None for no NAC.
    residual
        How labelled frames correct a model's force constants.
    labeller
        If given, it evaluates (the reference); otherwise pass a model to ``make``.
    """

    document = PhononDocument
    planned = "displaced supercells"

    name: str = "phonon"
    settings: PhononSettings = field(default_factory=PhononSettings)
    born: BornCharges | None = None
    residual: ResidualSettings = field(default_factory=ResidualSettings)

    @role_job(lambda maker: maker.role, PhononDocument)
    def make(
        self,
        structure: Structure,
        model: Model | None = None,
        labels: DatasetDocument | None = None,
        *,
        born: BornDocument | None = None,
    ) -> PhononDocument | Response[Any]:
        """Compute the phonons of a crystal.

        Parameters
        ----------
        structure
            The unit cell, in its own orientation.
        model
            Tuned model or foundation name; None when the Maker has a labeller.
        labels
            Labelled frames of a reference: those of the undeformed phonon supercell, if any, give
            residual force constants, which correct the model's.
        born
            Output of a :class:`phonotune.jobs.born.BornMaker`, which takes the place of the Maker's charges.
        """
        charged = self.charged(born)
        if labels is None:
            return charged.evaluate(structure, model)
        if self.labeller is not None:
            raise ConfigError(
                "PhononMaker got labels and a labeller; labelled frames correct the force constants "
                "of a model, and a labeller's own are the reference. Leave one of them out."
            )
        return charged.evaluate(structure, model, labels=labels)

    def plan(self, structure: Structure, **inputs: Any) -> PhononPlan | ResidualPlan:
        """Return the symmetry-reduced displaced supercells, then labelled frames of that cell.

        ``labels`` is a dataset, whose frames of that cell are taken, if there are any; ``frames`` is a
        list of labelled frames of which at least one must be of that cell (else FramesError).
        """
        plan = plan_displacements(structure, self.settings, self.born)
        frames: list[Frame] | None = inputs.get("frames")
        if frames is not None:
            return plan_residual(plan, frames, self.residual, required=True)
        labels: DatasetDocument | None = inputs.get("labels")
        return plan if labels is None else plan_residual(plan, labels.frames(), self.residual)

    def analyse(
        self, plan: PhononPlan | ResidualPlan, answers: Answers, source: Source
    ) -> PhononDocument:
        """Return the phonons of the answered displacements."""
        return analyse_residual(plan, answers, source, self.born)
