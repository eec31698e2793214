"""The one training loop: steps, validation, the best epoch; it knows no strategy by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from phonotune.errors import TrainingError
from phonotune.models.terms import EffectiveWeights, Tensors
from phonotune.training.batches import FrameSet, LabelledBatch
from phonotune.training.losses import HuberTerm, Tally, total_loss
from phonotune.training.options import Options
from phonotune.training.prediction import predict
from phonotune.training.schedule import learning_rate, stop_reason
from phonotune.training.state import Row, TrainState

Progress = Callable[[Row], None]
"""Called with the history's row after every epoch."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained on what.

    Attributes
    ----------
    model
        The foundation, its parameters constant.
    stress
        Whether any frame has a stress label; if none has, none is computed.
    """

    model: torch.nn.Module
    weights: EffectiveWeights
    train: FrameSet
    valid: FrameSet
    terms: Sequence[HuberTerm]
    stress: bool


def run(task: Task, state: TrainState, options: Options, after_epoch: Progress) -> str:
    """Train until there is a reason to stop; return the reason. The result is ``state.best``.

    Raises
    ------
    TrainingError
        The foundation's own validation loss is not a number, so there is no good state to keep.
    """
    valid = task.valid.in_order(options.batch_size)
    if not state.history:
        _record_foundation(task, state, options, valid)
        after_epoch(state.history[0])
    while (reason := stop_reason(options, state.valid_losses, state.seconds)) is None:
        started, before = perf_counter(), state.seconds
        rate = learning_rate(options, state.valid_losses)
        deadline = started + (options.max_seconds or math.inf) - before
        loss = _run_epoch(task, state, options, rate, deadline)
        row = {"epoch": len(state.history), "loss": loss, "lr": rate}
        row |= evaluate(task, state.judged, valid)
        if not (math.isfinite(loss) and math.isfinite(row["valid_loss"])):
            return f"diverged in epoch {row['epoch']} (loss not a number); the best state is kept"
        state.record(row | {"seconds": before + perf_counter() - started})
        after_epoch(state.history[-1])
    return reason


def _record_foundation(
    task: Task, state: TrainState, options: Options, valid: Sequence[LabelledBatch]
) -> None:
    started = perf_counter()
    train = evaluate(task, state.judged, task.train.in_order(options.batch_size))
    row = {"epoch": 0, "loss": train["valid_loss"], "lr": options.lr}
    row |= evaluate(task, state.judged, valid)
    if not math.isfinite(row["valid_loss"]):
        raise TrainingError(
            "The foundation's loss on the validation frames is not a number; nothing was trained. "
            "Look for overlapping atoms or absurd labels in these frames."
        )
    state.record(row | {"seconds": perf_counter() - started})


def _run_epoch(
    task: Task, state: TrainState, options: Options, rate: float, deadline: float
) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    rng = np.random.default_rng([options.seed, len(state.history)])
    losses = []
    for batch in task.train.shuffled(options.batch_size, rng):
        losses.append(_step(task, state, options, batch))
        if not math.isfinite(losses[-1]) or perf_counter() >= deadline:
            break
    return float(np.mean(losses))


def _step(task: Task, state: TrainState, options: Options, batch: LabelledBatch) -> float:
    leaves = list(state.tensors.values())
    weights = task.weights(state.tensors)
    prediction = predict(task.model, weights, batch.graph, stress=task.stress, differentiable=True)
    loss = total_loss(task.terms, [term(prediction, batch.labels) for term in task.terms])
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf.grad = gradient
    norm = torch.nn.utils.clip_grad_norm_(leaves, options.clip_norm or math.inf)
    if not torch.isfinite(norm):
        return math.nan
    state.optimizer.step()
    state.steps += 1
    if state.average is not None and options.ema is not None:
        _update_average(state.average, state.tensors, options.ema, state.steps)
    return float(loss.detach())


def _update_average(average: Tensors, tensors: Tensors, decay: float, steps: int) -> None:
    warm = min(decay, (1 + steps) / (10 + steps))
    for name, tensor in tensors.items():
        average[name].lerp_(tensor.detach(), 1.0 - warm)


def evaluate(task: Task, tensors: Tensors, batches: Sequence[LabelledBatch]) -> Row:
    """Return ``valid_loss`` and mean absolute errors; a quantity without any label is left out.

    ``valid_energy`` is in meV/atom, ``valid_forces`` in meV/Å, ``valid_stress`` in meV/Å^3.
    """
    with torch.no_grad():
        weights = task.weights(tensors)
    penalties, absolute = [Tally()] * len(task.terms), [Tally()] * len(task.terms)
    for batch in batches:
        prediction = predict(task.model, weights, batch.graph, stress=task.stress)
        for i, term in enumerate(task.terms):
            penalties[i] += term(prediction, batch.labels)
            absolute[i] += term.mean_absolute(prediction, batch.labels)
    row = {"valid_loss": float(total_loss(task.terms, penalties))}
    for term, tally in zip(task.terms, absolute, strict=True):
        if float(tally.count) > 0:
            row[f"valid_{term.name}"] = 1000.0 * float(tally.mean())
    return row
