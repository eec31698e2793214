"""TransitionMaker: the tree of phases that imaginary modes lead to, by a model, in one job."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobflow import Maker
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.base import role_job
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.property import Model, model_evaluator
from phonotune.physics.transitions.branches import TransitionSettings
from phonotune.schemas.transition import TransitionDocument


@dataclass
class TransitionMaker(Maker):
    """Follow imaginary modes from phase to phase until every phase is stable or a limit is met.

    Parameters
    ----------
    settings
        Grids, tolerances and limits.
    labeller
        Must stay None: a tree needs hundreds of relaxation steps one after another, which is work
        for a model. Anything else is refused when the job runs.
    """

    name: str = "transitions"
    settings: TransitionSettings = field(default_factory=TransitionSettings)
    labeller: LabelMaker | None = field(default=None, kw_only=True)

    @role_job("gpu_eval", TransitionDocument)
    def make(self, structure: Structure, model: Model | None = None) -> TransitionDocument:
        """Grow the tree of a crystal.

        Parameters
        ----------
        structure
            The root.
        model
            Tuned model or foundation name.

        Raises
        ------
        ConfigError
            There is no model, or a labeller.
        """
        if self.labeller is not None or model is None:
            raise ConfigError(
                f"TransitionMaker follows modes with a model only, found "
                f"{'no model' if model is None else 'a labeller'}. Pass a model to make(), leave "
                "labeller at None, and label the phases found afterwards."
            )
        from phonotune.models.phases import resume_tree
        from phonotune.training.interruption import walltime

        evaluator, source = model_evaluator(model)
        time = walltime()
        return resume_tree(structure, evaluator, self.settings, source, ended=lambda: time.near_end)
