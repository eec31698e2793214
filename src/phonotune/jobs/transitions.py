"""TransitionMaker: the tree of phases that imaginary modes lead to, by a model, in one job."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

from jobflow import Maker, OnMissing, Response
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.base import document_job, replace_by, role_job, tag
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.property import Model, answers_of, model_evaluator
from phonotune.physics.transitions.branches import TransitionSettings
from phonotune.physics.transitions.growth import grow_tree
from phonotune.physics.transitions.labels import with_labels
from phonotune.progress import Progress, job_progress
from phonotune.schemas.base import structure_hash
from phonotune.schemas.dataset import Candidate, LabelledSet
from phonotune.schemas.transition import TransitionDocument

logger = logging.getLogger(__name__)


@dataclass
class TransitionMaker(Maker):
    """Follow imaginary modes from phase to phase until every phase is stable or a limit is met.

    The tree is work for a model: hundreds of relaxation steps one after another. A labeller labels the
    phases that the model found, one job per phase, at the model's geometry; it relaxes nothing.

    Parameters
    ----------
    settings
        Grids, tolerances and limits.
    labeller
        If given, the Document also holds its energy of each phase, and the error of the model.
    """

    name: str = "transitions"
    settings: TransitionSettings = field(default_factory=TransitionSettings)
    labeller: LabelMaker | None = field(default=None, kw_only=True)

    @role_job("gpu_eval", TransitionDocument)
    def make(
        self, structure: Structure, model: Model | None = None
    ) -> TransitionDocument | Response[Any]:
        """Grow the tree of a crystal, and have its phases labelled.

        Parameters
        ----------
        structure
            The root.
        model
            Tuned model or foundation name.

        Raises
        ------
        ConfigError
            There is no model.
        """
        if model is None:
            raise ConfigError(
                "TransitionMaker follows modes with a model only, and got no model"
                f"{'' if self.labeller is None else ' but a labeller'}. Pass a model to make(); a "
                "labeller labels the phases that the model finds."
            )
        document = self.grow(structure, model, job_progress(logger))
        if self.labeller is None:
            return document
        # a label that fails is noted at its phase and does not stop the others
        labeller = replace(self.labeller, max_force=None, minimum=0.0)
        cells = document.structures()
        statics = labeller.static_jobs(cells)
        candidates = [Candidate(cell, str(i), self.name) for i, cell in enumerate(cells)]
        labels = labeller.collect_job(statics, candidates)
        last = label_phases(labeller, document, labels.output)
        last.update_config({"on_missing_references": OnMissing.NONE})
        response = replace_by([*statics, labels], tag(last, "light", self.name))
        # the running job's role, which it took over, is that of a GPU
        last.metadata["phonotune"] = {**last.metadata["phonotune"], "role": "light"}
        return response

    def grow(
        self, structure: Structure, model: Model, progress: Progress | None = None
    ) -> TransitionDocument:
        """Grow the tree of a crystal in this process, from the answers that an interrupted call left.

        Answers are kept on disk, so that the same call, or one with other limits, goes on from them, until
        a tree has ended by itself; they stay while a limit cut it.

        Parameters
        ----------
        structure, model
            As :meth:`make` takes them.
        progress
            Told how many structures are evaluated, and what is being done.
        """
        from phonotune.models.answer_cache import AnswerCache
        from phonotune.training.interruption import walltime

        time, crystal = walltime(), structure_hash(structure)
        evaluator = model_evaluator(model)
        with AnswerCache(evaluator, lambda: time.near_end, crystal, interval=0.0) as cache:
            document = grow_tree(
                structure, cache.evaluator, self.settings, evaluator.source, progress
            )
            cache.keep = bool(document.limits)
        return document


@document_job()
def label_phases(
    maker: LabelMaker, document: TransitionDocument, labels: LabelledSet | None
) -> TransitionDocument:
    """Put the labels of the phases into the tree; ``labels`` is None if every one failed."""
    if labels is None:
        reason = f"no phase was labelled by {maker.labeller}; its jobs say why"
        missing = dict.fromkeys(range(len(document.nodes)), reason)
        nothing = [None] * len(document.nodes)
        return with_labels(document, maker.labeller, maker.protocol(), nothing, missing)
    reasons = {rejected.index: rejected.reason for rejected in labels.rejected}
    return with_labels(document, labels.labeller, labels.protocol, answers_of(labels), reasons)
