"""Plan, evaluate, analyse as one job: the shape that every property Maker has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from jobflow import Maker, Response, job
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.base import Role, replace_by, role_job, tag
from phonotune.jobs.label import LabelMaker
from phonotune.ports import Answers, Evaluation, Evaluator
from phonotune.schemas.base import PropertyDocument, Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.dataset import Candidate, LabelledSet
from phonotune.schemas.training import ModelRecord, TrainingDocument

Model = ModelRecord | TrainingDocument | str
"""A tuned model (record or training), or the name, file or directory of a model."""


class Plan(Protocol):
    """What a plan must offer: the structures to evaluate, in order."""

    @property
    def structures(self) -> Sequence[Structure]:
        """Structures to evaluate."""
        ...


@dataclass
class PropertyMaker(Maker, ABC):
    """Base of the property Makers: a subclass says its Document, how to plan and how to analyse.

    Parameters
    ----------
    labeller
        If given, this labeller evaluates, one job a structure (the reference); if None, ``make`` needs a
        model, which evaluates all structures in one batched job.
    """

    document: ClassVar[type[PropertyDocument]]
    """Class of the Document that :meth:`analyse` returns."""

    name: str = "property"
    labeller: LabelMaker | None = field(default=None, kw_only=True)

    @role_job(lambda maker: maker.role, lambda maker: maker.document)
    def make(
        self, structure: Structure, model: Model | None = None
    ) -> PropertyDocument | Response[Any]:
        """Compute the property of a crystal.

        Parameters
        ----------
        structure
            The unit cell, in its own orientation.
        model
            Tuned model or foundation name; None when the Maker has a labeller.
        """
        return self.evaluate(structure, model)

    @abstractmethod
    def plan(self, structure: Structure, **inputs: Any) -> Plan:
        """Return the structures to evaluate."""

    @abstractmethod
    def analyse(self, plan: Any, answers: Answers, source: Source) -> PropertyDocument:
        """Turn the answers into the Document."""

    @property
    def role(self) -> Role:
        """Role of the job that ``make`` returns."""
        return "gpu_eval" if self.labeller is None else "light"

    def evaluate(
        self, structure: Structure, model: Model | None, **inputs: Any
    ) -> PropertyDocument | Response[Any]:
        """Run the property: by the model here and now, or by the labeller in jobs of its own.

        Raises
        ------
        ConfigError
            If there is neither a labeller nor a model, or both.
        """
        if (self.labeller is None) == (model is None):
            raise ConfigError(
                f"{type(self).__name__} needs either a labeller or a model, found "
                f"{'neither' if model is None else 'both'}. Set one of them."
            )
        plan = self.plan(structure, **inputs)
        if model is not None:
            evaluator, source = model_evaluator(model)
            return self.analyse(plan, evaluator(plan.structures), source)
        assert self.labeller is not None
        labeller = replace(self.labeller, max_force=None)  # a property may plan steep structures
        statics = labeller.static_jobs(plan.structures)
        candidates = [Candidate(s, str(i), self.name) for i, s in enumerate(plan.structures)]
        labels = labeller.collect_job(statics, candidates)
        last = analyse_labels(self, structure, labels.output, inputs)
        return replace_by([*statics, labels], tag(last, "light", self.name))


@job(data=[Blob])
def analyse_labels(
    maker: PropertyMaker, structure: Structure, labels: LabelledSet, inputs: dict[str, Any]
) -> PropertyDocument:
    """Analyse labelled structures; the plan is made again, since it is a pure function."""
    missing = {r.index for r in labels.rejected}
    frames = iter(labels.frames())
    answers = [
        None if index in missing else _answer(next(frames)) for index in range(labels.requested)
    ]
    source = Source(role="reference", evaluator=labels.labeller)
    return maker.analyse(maker.plan(structure, **inputs), answers, source)


def _answer(frame: Any) -> Evaluation:
    return Evaluation(energy=frame.energy, forces=frame.forces, stress=frame.stress)


def model_evaluator(model: Model) -> tuple[Evaluator, Source]:
    """Load a model on this worker's device and say who it is.

    Raises
    ------
    FoundationError
        If the foundation model cannot be had.
    """
    from phonotune.models.adapter import find_model
    from phonotune.models.committee import load_evaluator

    record = model.model if isinstance(model, TrainingDocument) else find_model(model)
    evaluator = load_evaluator(record)
    role = record.strategy or "untuned"
    return evaluator, evaluator.source(role, record.foundation.name, record.model_id)
