"""The loss: a list of terms, each with its weight and its mask of labels.

A new term is a new callable of a prediction and its labels; the loop does not know them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from phonotune.training.batches import Labels
from phonotune.training.options import LossOptions
from phonotune.training.prediction import Prediction

Errors = tuple[torch.Tensor, torch.Tensor]
"""Deviations, shape (n, ...), and the mask of those that have a label, shape (n,)."""


def energy_errors(prediction: Prediction, labels: Labels) -> Errors:
    """Energy per atom, shape (n_graphs,), eV/atom."""
    return (prediction.energy - labels.energy) / labels.sizes, labels.has_energy


def force_errors(prediction: Prediction, labels: Labels) -> Errors:
    """Force components, shape (n_atoms, 3), eV/Å."""
    return prediction.forces - labels.forces, labels.has_forces


def stress_errors(prediction: Prediction, labels: Labels) -> Errors:
    """Stress components, shape (n_graphs, 3, 3), eV/Å^3; all masked if none was predicted."""
    if prediction.stress is None:
        return torch.zeros_like(labels.stress), torch.zeros_like(labels.has_stress)
    return prediction.stress - labels.stress, labels.has_stress


@dataclass(frozen=True)
class Tally:
    """A sum over labels and their number: batches add up to the mean over a whole set."""

    total: torch.Tensor | float = 0.0
    count: torch.Tensor | float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.total + other.total, self.count + other.count)

    def mean(self) -> torch.Tensor:
        """Return the mean, 0 without any label."""
        return torch.as_tensor(self.total) / torch.as_tensor(self.count).clamp(min=1)


def _masked_sum(values: torch.Tensor, mask: torch.Tensor) -> Tally:
    per_row = values.reshape(len(mask), -1)
    return Tally((per_row * mask[:, None]).sum(), mask.sum() * per_row.shape[1])


Penalty = Callable[[torch.Tensor], torch.Tensor]
"""A deviation, any shape, to its penalty, same shape."""


def huber(delta: float) -> Penalty:
    """Quadratic below delta, linear above (Huber, Ann. Math. Stat. 35, 73 (1964))."""
    return lambda error: huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)


def find_penalty(options: LossOptions) -> Penalty:
    """Return the penalty of that name: ``huber``, ``l2`` (squares) or ``l1`` (absolute values)."""
    if options.penalty == "huber":
        return huber(options.delta)
    form = mse_loss if options.penalty == "l2" else l1_loss
    return lambda error: form(error, torch.zeros_like(error), reduction="none")


@dataclass(frozen=True)
class LossTerm:
    """``weight * mean(penalty(error))`` over the values that have a label."""

    name: str
    weight: float
    penalty: Penalty = field(repr=False)
    errors: Callable[[Prediction, Labels], Errors] = field(repr=False)

    def __call__(self, prediction: Prediction, labels: Labels) -> Tally:
        """Return the sum of the penalties of a batch and the number of labels."""
        error, mask = self.errors(prediction, labels)
        return _masked_sum(self.penalty(error), mask)

    def mean_absolute(self, prediction: Prediction, labels: Labels) -> Tally:
        """Return the sum of the absolute errors of a batch and the number of labels."""
        error, mask = self.errors(prediction, labels)
        return _masked_sum(error.abs(), mask)


ERRORS = {"energy": energy_errors, "forces": force_errors, "stress": stress_errors}


def loss_terms(options: LossOptions) -> list[LossTerm]:
    """Return energy, forces and stress terms; a weight of 0 keeps the term for reporting only."""
    weights = {"energy": options.energy, "forces": options.forces, "stress": options.stress}
    penalty = find_penalty(options)
    return [LossTerm(name, weights[name], penalty, error) for name, error in ERRORS.items()]


def total_loss(terms: Sequence[LossTerm], tallies: Sequence[Tally]) -> torch.Tensor:
    """Return the weighted sum of the terms' means."""
    parts = [
        term.weight * tally.mean()
        for term, tally in zip(terms, tallies, strict=True)
        if term.weight
    ]
    return torch.stack(parts).sum() if parts else torch.zeros(())
