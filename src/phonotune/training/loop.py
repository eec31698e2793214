"""The one training loop: steps, validation, the best epoch; it does not know any strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from phonotune.errors import TrainingError
from phonotune.models.weight_updates import EffectiveWeights, Tensors
from phonotune.training.batches import FrameSet, LabelledBatch
from phonotune.training.interruption import NEVER, Interruption
from phonotune.training.losses import LossTerm, Tally, total_loss
from phonotune.training.options import Options
from phonotune.training.penalties import LossPart
from phonotune.training.prediction import predict
from phonotune.training.schedule import Stop, learning_rate, stop_after
from phonotune.training.state import Row, TrainState

AfterEpoch = Callable[[Row], None]
"""Called with the history's row after every epoch."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained on what.

    Attributes
    ----------
    model
        The foundation, its parameters constant.
    penalties
        Parts of the loss besides the frames: replay, second derivatives, L2-SP.
    stress
        Whether any frame has a stress label; if none has, none is computed.
    anchors
        What weight decay draws the tensors to, by name; None: to zero.
    """

    model: torch.nn.Module
    weights: EffectiveWeights
    train: FrameSet
    valid: FrameSet
    terms: Sequence[LossTerm]
    penalties: Sequence[LossPart]
    stress: bool
    anchors: Tensors | None = None


def run(
    task: Task,
    state: TrainState,
    options: Options,
    after_epoch: AfterEpoch,
    interruption: Interruption = NEVER,
) -> Stop:
    """Train until there is a reason to stop. The result is ``state.best``.

    An epoch that is cut (by a signal, the end of the time, a loss that is not a number) leaves no
    trace: the state is that of the last whole epoch.

    Raises
    ------
    TrainingError
        The first validation loss is not a number, so there is no good state to keep.
    """
    valid = task.valid.in_order(options.batch_size, options.batch_atoms)
    if not state.history:
        started = perf_counter()
        batches = task.train.in_order(options.batch_size, options.batch_atoms)
        loss = evaluate(task, state.judged, batches)["valid_loss"]
        row = {"epoch": 0, "loss": loss, "lr": options.lr} | evaluate(task, state.judged, valid)
        if not math.isfinite(row["valid_loss"]):
            raise TrainingError(
                "The foundation's loss on the validation frames is not a number; nothing was "
                "trained. Look for overlapping atoms or absurd labels in these frames."
            )
        state.record(row | {"seconds": perf_counter() - started})
        after_epoch(state.history[0])
    first = state.history[0]
    diverged = 1e4 * max(first["loss"], first["valid_loss"], 1.0)
    while (stop := stop_after(options, state.valid_losses, state.seconds)) is None:
        started, before, snapshot = perf_counter(), state.seconds, state.snapshot()
        epoch, rate = len(state.history), learning_rate(options, state.valid_losses)
        ended = interruption.within(options, before)
        rng = np.random.default_rng([options.seed, epoch])
        losses = []
        for batch in task.train.shuffled(options.batch_size, rng, options.batch_atoms):
            losses.append(step(task, state, options, rate, batch, rng))
            if (stop := ended()) is not None:
                break
        else:
            row = {"epoch": epoch, "loss": float(torch.stack(losses).mean()), "lr": rate}
            row |= evaluate(task, state.judged, valid)
            worst = max(row["loss"], row["valid_loss"], key=lambda x: (not math.isfinite(x), x))
            if not math.isfinite(worst) or worst > diverged:
                reason = f"diverged in epoch {epoch} (loss {worst:.3g}); the best state is kept"
                stop = Stop("diverged", reason)
        if stop is not None:
            state.rewind(snapshot)
            return stop
        state.record(row | {"seconds": before + perf_counter() - started})
        after_epoch(state.history[-1])
    return stop


def step(
    task: Task,
    state: TrainState,
    options: Options,
    rate: float,
    batch: LabelledBatch,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Take one step of AdamW with decoupled decay at this learning rate; return the loss before it."""
    leaves = list(state.tensors.values())
    weights = task.weights(state.tensors)
    prediction = predict(task.model, weights, batch.graph, stress=task.stress, differentiable=True)
    loss = total_loss(task.terms, [term(prediction, batch.labels) for term in task.terms])
    loss = loss + sum(penalty(state.tensors, rng) for penalty in task.penalties)
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf.grad = gradient
    if options.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(leaves, options.clip_norm)
    decay(state.tensors, task.anchors, rate * options.weight_decay)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    state.steps += 1
    if state.average is not None and options.ema is not None:
        kept = min(options.ema, (1 + state.steps) / (10 + state.steps))
        live = [tensor.detach() for tensor in leaves]
        torch._foreach_lerp_([state.average[name] for name in state.tensors], live, 1.0 - kept)
    return loss.detach()


@torch.no_grad()
def decay(tensors: Tensors, anchors: Tensors | None, share: float) -> None:
    """Draw the tensors to their anchors by a share of the distance: AdamW's decoupled decay."""
    if share == 0.0:
        return
    if anchors is None:
        torch._foreach_mul_(list(tensors.values()), 1.0 - share)
    else:
        torch._foreach_lerp_(list(tensors.values()), [anchors[name] for name in tensors], share)


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
