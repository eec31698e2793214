"""QuasiHarmonicMaker: thermal expansion, C_p, B(T) and Grüneisen parameters by a model or a labeller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jobflow import Response
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.analysis import evaluate_and_analyse
from phonotune.jobs.property import Model, PropertyMaker, resumed_evaluator
from phonotune.physics.expansion.quasi_harmonic import (
    QuasiHarmonicPlan,
    QuasiHarmonicSettings,
    Relax,
    analyse_volumes,
    plan_volumes,
)
from phonotune.ports import Answers, Evaluator
from phonotune.schemas.base import PropertyDocument, Source
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.thermal import QuasiHarmonicDocument


@dataclass
class QuasiHarmonicMaker(PropertyMaker):
    """Quasi-harmonic properties from phonons at several volumes, in one batch.

    A model relaxes the ions at each volume where symmetry leaves them any freedom; with a labeller
    they are scaled with the cell, and the Document says so.

    Parameters
    ----------
    settings
        Volumes, and the phonons at each.
    born
        Born charges of the crystal, for reference and models alike and the same at every volume; None
        for no NAC.
    labeller
        The reference evaluates if given; else pass a model to ``make``.
    """

    document = QuasiHarmonicDocument

    name: str = "quasi-harmonic"
    settings: QuasiHarmonicSettings = field(default_factory=QuasiHarmonicSettings)
    born: BornCharges | None = None

    def evaluate(
        self, structure: Structure, model: Model | None, **inputs: Any
    ) -> PropertyDocument | Response[Any]:
        """Run the property; a model also relaxes what the plan needs relaxed."""
        if model is None or self.labeller is not None:
            return super().evaluate(structure, model, **inputs)
        if self.relax is not None:
            raise ConfigError(
                f"{self.name} has its own way to relax, and relax is set beside it. Set "
                "settings.centre='relaxed' and leave relax out."
            )
        with resumed_evaluator(model) as (evaluator, source):
            plan = plan_volumes(structure, self.settings, relax_by(evaluator), self.born)
            return evaluate_and_analyse(
                evaluator, plan.structures, lambda answers: self.analyse(plan, answers, source)
            )

    def plan(self, structure: Structure, **inputs: Any) -> QuasiHarmonicPlan:
        """Return the cells and displaced supercells at each volume, ions scaled."""
        return plan_volumes(structure, self.settings, born=self.born)

    def analyse(
        self, plan: QuasiHarmonicPlan, answers: Answers, source: Source
    ) -> QuasiHarmonicDocument:
        """Return the quasi-harmonic properties of the answered volumes."""
        return analyse_volumes(plan, answers, source, self.born)


def relax_by(evaluator: Evaluator) -> Relax:
    """Return the relaxation of crystals by an evaluator, all in one batch.

    The function that is returned raises PhonotuneError where a crystal does not converge.
    """
    from phonotune.physics.relax import RelaxSettings, relax_batch

    def relax(structures: Sequence[Structure], cell: bool) -> list[Structure]:
        settings = RelaxSettings(relax_cell=cell)
        found = relax_batch(evaluator, structures, settings)
        return [relaxation.require_converged() for relaxation in found]

    return relax
