"""QuasiHarmonicMaker: thermal expansion, C_p, B(T) and Grüneisen parameters by a model or a labeller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.property import PolarMaker
from phonotune.physics.expansion.quasi_harmonic import (
    QuasiHarmonicPlan,
    QuasiHarmonicSettings,
    Relax,
    analyse_volumes,
    plan_volumes,
)
from phonotune.ports import Answers, Evaluator
from phonotune.progress import Progress
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.thermal import QuasiHarmonicDocument


@dataclass
class QuasiHarmonicMaker(PolarMaker[QuasiHarmonicDocument]):
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
        If given, it evaluates (the reference); otherwise pass a model to ``make``.
    """

    document = QuasiHarmonicDocument
    planned = "cells and supercells at several volumes"

    name: str = "quasi-harmonic"
    settings: QuasiHarmonicSettings = field(default_factory=QuasiHarmonicSettings)
    born: BornCharges | None = None

    def compute(
        self,
        structure: Structure,
        evaluator: Evaluator,
        progress: Progress | None = None,
        **inputs: Any,
    ) -> QuasiHarmonicDocument:
        """Compute the property in this process; the model also relaxes what the plan needs relaxed.

        Raises
        ------
        ConfigError
            ``relax`` is set.
        """
        if self.relax is not None:
            raise ConfigError(
                f"{self.name} has its own way to relax, and relax is set as well. Set "
                "settings.centre='relaxed' and leave relax out."
            )
        plan = plan_volumes(structure, self.settings, relax_by(evaluator), self.born)
        return self._from_plan(plan, evaluator, progress)

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
