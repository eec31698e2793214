"""Plan, evaluate, analyse as one job: the shape that every property Maker has."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from jobflow import Maker, Response
from pymatgen.core import Structure

from phonotune.errors import ConfigError
from phonotune.jobs.analysis import evaluate_and_analyse
from phonotune.jobs.base import Role, document_job, replace_by, role_job, tag
from phonotune.jobs.label import LabelMaker
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.ports import Answers, Evaluation, Evaluator
from phonotune.progress import Progress, job_progress
from phonotune.schemas.base import PropertyDocument, Source, structure_hash
from phonotune.schemas.born import BornDocument
from phonotune.schemas.dataset import Candidate, LabelledSet
from phonotune.schemas.masses import with_masses
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.training import ModelRecord, TrainingDocument

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=PropertyDocument)

Model = ModelRecord | TrainingDocument | str
"""A tuned model (record or training), or the name, file or directory of a model."""


class Plan(Protocol):
    """What a plan must offer: the structures to evaluate, in order."""

    @property
    def structures(self) -> Sequence[Structure]:
        """Structures to evaluate."""
        ...


@dataclass
class PropertyMaker(Maker, ABC, Generic[D]):
    """Base of the property Makers: a subclass says its Document, how to plan and how to analyse.

    Parameters
    ----------
    labeller
        If given, this labeller evaluates, one job per structure (the reference); if None, ``make`` needs a
        model, which evaluates all structures in one batched job.
    relax
        If given, the model first relaxes the crystal; None takes the crystal as it is. To compare
        evaluators give all of them the same crystal and None.
    """

    document: ClassVar[type[PropertyDocument]]
    """Class of the Document that :meth:`analyse` returns."""
    planned: ClassVar[str] = "structures"
    """What the plan holds, for progress."""

    name: str = "property"
    labeller: LabelMaker | None = field(default=None, kw_only=True)
    relax: RelaxSettings | None = field(default=None, kw_only=True)

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
    def analyse(self, plan: Any, answers: Answers, source: Source) -> D:
        """Turn the answers into the Document."""

    @property
    def role(self) -> Role:
        """Role of the job that ``make`` returns."""
        return "gpu_eval" if self.labeller is None else "light"

    def evaluate(
        self, structure: Structure, model: Model | None, **inputs: Any
    ) -> D | Response[Any]:
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
        if model is not None:
            with resumed_evaluator(model) as evaluator:
                return self.compute(structure, evaluator, job_progress(logger), **inputs)
        structure = with_masses(structure)
        assert self.labeller is not None
        if self.relax is not None:
            raise ConfigError(
                f"{type(self).__name__} relaxes by a model only, and has a labeller. Relax the "
                "crystal with the labeller's own relax maker first and leave relax out."
            )
        plan = self.plan(structure, **inputs)
        labeller = replace(self.labeller, max_force=None)  # a property may plan steep structures
        statics = labeller.static_jobs(plan.structures)
        candidates = [Candidate(s, str(i), self.name) for i, s in enumerate(plan.structures)]
        labels = labeller.collect_job(statics, candidates)
        last = analyse_labels(self, structure, labels.output, inputs)
        return replace_by([*statics, labels], tag(last, "light", self.name))

    def compute(
        self,
        structure: Structure,
        evaluator: Evaluator,
        progress: Progress | None = None,
        **inputs: Any,
    ) -> D:
        """Compute the property in this process: relax if asked, plan, evaluate, analyse.

        The job and the command of a property both do this, with the evaluator of
        :func:`resumed_evaluator`, so that either goes on where a kill stopped it.

        Parameters
        ----------
        structure
            The unit cell.
        evaluator
            A model, or a committee; its ``source`` names it in the Document.
        progress
            Told what is evaluated.
        **inputs
            What :meth:`plan` takes besides the structure.

        Raises
        ------
        PhonotuneError
            The relaxation does not converge, or whatever plan, evaluator and analysis raise.
        """
        crystal = structure = with_masses(structure)
        if self.relax is not None:
            (relaxation,) = relax_batch(evaluator, [structure], self.relax, progress)
            crystal = relaxation.require_converged()
        document = self._from_plan(self.plan(crystal, **inputs), evaluator, progress)
        if self.relax is None:
            return document
        return document.model_copy(
            update={"material_id": structure_hash(structure), "relaxed": True}
        )

    def _from_plan(self, plan: Plan, evaluator: Evaluator, progress: Progress | None) -> D:
        """Evaluate a plan and analyse the answers."""
        if progress is not None:
            atoms = max(map(len, plan.structures))
            progress.start(f"{len(plan.structures)} {self.planned} of up to {atoms} atoms")
        return evaluate_and_analyse(
            evaluator,
            plan.structures,
            lambda answers: self.analyse(plan, answers, evaluator.source),
        )


class PolarMaker(PropertyMaker[D]):
    """Base of properties that Born charges change: ``born`` holds them, or a BornDocument brings them."""

    born: BornCharges | None

    @role_job(lambda maker: maker.role, lambda maker: maker.document)
    def make(
        self,
        structure: Structure,
        model: Model | None = None,
        *,
        born: BornDocument | None = None,
    ) -> PropertyDocument | Response[Any]:
        """Compute the property of a crystal.

        Parameters
        ----------
        structure
            The unit cell, in its own orientation.
        model
            Tuned model or foundation name; None when the Maker has a labeller.
        born
            Output of a :class:`phonotune.jobs.born.BornMaker`, which takes the place of the Maker's charges.
        """
        return self.charged(born).evaluate(structure, model)

    def charged(self, document: BornDocument | None) -> Self:
        """Return the Maker with the Born charges of a Document; of a metal it has none."""
        if document is None:
            return self
        charges: dict[str, Any] = {"born": document.born}  # a field of every subclass
        return replace(self, **charges)


@document_job()
def analyse_labels(
    maker: PropertyMaker[D], structure: Structure, labels: LabelledSet, inputs: dict[str, Any]
) -> D:
    """Analyse labelled structures; the plan is made again, since it is a pure function."""
    assert maker.labeller is not None
    return maker.analyse(
        maker.plan(structure, **inputs), answers_of(labels), maker.labeller.source()
    )


def answers_of(labels: LabelledSet) -> list[Evaluation | None]:
    """Return one answer per structure that was to be labelled, None where the label failed."""
    missing = {r.index for r in labels.rejected}
    frames = iter(labels.frames())
    return [
        None if index in missing else answer_of(next(frames)) for index in range(labels.requested)
    ]


def answer_of(frame: Any) -> Evaluation:
    """Return the labels of a labelled frame as an answer."""
    return Evaluation(energy=frame.energy, forces=frame.forces, stress=frame.stress)


def model_evaluator(model: Model) -> Evaluator:
    """Load a model on this worker's device.

    Raises
    ------
    FoundationError
        If the foundation model cannot be had.
    """
    from phonotune.models.evaluators import load_evaluator

    return load_evaluator(model.model if isinstance(model, TrainingDocument) else model)


@contextmanager
def resumed_evaluator(model: Model) -> Iterator[Evaluator]:
    """Load a model; a job that is killed finds its answers again.

    Near the end of a Slurm job's walltime the evaluator raises
    :class:`phonotune.errors.WalltimeError`, and the job goes on in the next.
    """
    from phonotune.models.answer_cache import AnswerCache
    from phonotune.training.interruption import walltime

    time = walltime()
    with AnswerCache(model_evaluator(model), lambda: time.near_end) as cache:
        yield cache.evaluator
