"""ElasticMaker: elastic constants with relaxed ions by a model or a labeller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pymatgen.core import Structure

from phonotune.jobs.property import PropertyMaker
from phonotune.physics.elastic import (
    ElasticPlan,
    ElasticSettings,
    analyse_stresses,
    plan_strains,
)
from phonotune.ports import Answers
from phonotune.schemas.base import Source
from phonotune.schemas.elastic import ElasticDocument


@dataclass
class ElasticMaker(PropertyMaker[ElasticDocument]):
    """Elastic tensor and Voigt-Reuss-Hill moduli from single points.

    Parameters
    ----------
    settings
        Strain amplitudes and thresholds.
    labeller
        If given, it evaluates (the reference); otherwise pass a model to ``make``.
    """

    document = ElasticDocument
    planned = "strained cells"

    name: str = "elastic"
    settings: ElasticSettings = field(default_factory=ElasticSettings)

    def plan(self, structure: Structure, **inputs: Any) -> ElasticPlan:
        """Return the strained cells and the Γ displacements that relax their ions."""
        return plan_strains(structure, self.settings)

    def analyse(self, plan: ElasticPlan, answers: Answers, source: Source) -> ElasticDocument:
        """Return the elastic constants of the answered strains."""
        return analyse_stresses(plan, answers, source)
