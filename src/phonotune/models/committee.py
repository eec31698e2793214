"""Committees: the mean of several models, and how far they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from phonotune.models.batching import find_atoms_per_batch
from phonotune.models.evaluate import ModelEvaluator, choose_device
from phonotune.models.load import load_members
from phonotune.ports import Evaluation, FloatArray, Spread
from phonotune.schemas.base import Source
from phonotune.schemas.training import ModelRecord

if TYPE_CHECKING:
    from pymatgen.core import Structure


class CommitteeEvaluator:
    """Answers with the mean of the members, and their standard deviation as ``spread``.

    Implements :class:`phonotune.ports.Evaluator`.

    Parameters
    ----------
    members
        At least two evaluators of the same elements; each may be asked alone.
    """

    def __init__(self, members: Sequence[ModelEvaluator]) -> None:
        self.members = tuple(members)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the models know."""
        return self.members[0].elements

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Evaluate structures, in order; raises what :class:`ModelEvaluator` raises."""
        return mean_answers(self.members_answers(structures))

    def members_answers(self, structures: Sequence[Structure]) -> list[list[Evaluation]]:
        """Return the answers of each member, for error bars of what is analysed from them."""
        return [member(structures) for member in self.members]

    def source(self, role: str, name: str, model_id: str | None) -> Source:
        """Describe this evaluator for a Document, as :meth:`ModelEvaluator.source`."""
        return self.members[0].source(role, name, model_id)


AnyEvaluator = ModelEvaluator | CommitteeEvaluator
"""What :func:`load_evaluator` returns."""


def load_evaluator(
    model: ModelRecord | str | Path, device: str = "auto", dtype: str = "float64"
) -> AnyEvaluator:
    """Load a model, or all members of a committee, ready to evaluate.

    Parameters
    ----------
    model
        A record, a model directory, a foundation's name or a foundation's file.
    device, dtype
        See :class:`ModelEvaluator`.

    Raises
    ------
    InputError
        Nothing of that name is known, or it must not be loaded.
    """
    return as_evaluator(
        [ModelEvaluator(member, device, dtype) for member in load_members(model, dtype)]
    )


def shared_evaluator(
    record: ModelRecord, device: str = "auto", dtype: str = "float64"
) -> AnyEvaluator:
    """Return the evaluator of a model as :func:`load_evaluator` does, the same to all that ask for it.

    A process keeps the last few models: the properties of a model are jobs one after the other.
    """
    where = choose_device(device)
    if str(where) == "cuda":
        where = torch.device("cuda", torch.cuda.current_device())
    return _shared(_ById(record.model_id, record), where, dtype, find_atoms_per_batch(where))


@dataclass(frozen=True)
class _ById:
    """A record that is hashed and compared by its model_id alone."""

    model_id: str
    record: ModelRecord = field(compare=False)


@lru_cache(maxsize=4)
def _shared(model: _ById, device: torch.device, dtype: str, atoms_per_batch: int) -> AnyEvaluator:
    return load_evaluator(model.record, str(device), dtype)


def as_evaluator(members: Sequence[ModelEvaluator]) -> AnyEvaluator:
    """Return the only member itself, or the committee of several."""
    return members[0] if len(members) == 1 else CommitteeEvaluator(members)


def mean_answers(members: Sequence[Sequence[Evaluation]]) -> list[Evaluation]:
    """Return the mean of the members' answers with their standard deviation (n - 1).

    Parameters
    ----------
    members
        One sequence of answers a member, all to the same structures.
    """
    return [_mean(several) for several in zip(*members, strict=True)]


def _mean(answers: Sequence[Evaluation]) -> Evaluation:
    energies = np.array([answer.energy for answer in answers])
    forces = np.array([answer.forces for answer in answers])
    stresses = [answer.stress for answer in answers if answer.stress is not None]
    complete = len(stresses) == len(answers)
    stress = np.array(stresses) if complete else None
    return Evaluation(
        float(energies.mean()),
        forces.mean(axis=0),
        None if stress is None else stress.mean(axis=0),
        Spread(
            float(energies.std(ddof=1)),
            _deviation(forces),
            None if stress is None else _deviation(stress),
        ),
    )


def _deviation(values: FloatArray) -> FloatArray:
    deviation: FloatArray = values.std(axis=0, ddof=1)
    return deviation
