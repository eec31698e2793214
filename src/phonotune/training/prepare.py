"""What a training needs before its first step: graphs, atomic energies, the parts of the loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from phonotune.errors import TrainingError
from phonotune.models.evaluate import ModelEvaluator, choose_device, torch_dtype
from phonotune.models.fast import accelerate
from phonotune.models.memory import reuse_memory
from phonotune.models.weight_updates import EffectiveWeights, Tensors
from phonotune.progress import Progress
from phonotune.schemas.dataset import Frame
from phonotune.training.batches import FrameSet
from phonotune.training.energies import (
    EnergyRefit,
    interaction_energies,
    no_refit,
    refit_energies,
)
from phonotune.training.loop import Task
from phonotune.training.losses import loss_terms
from phonotune.training.options import Options
from phonotune.training.penalties import find_penalties
from phonotune.training.plan import TuningPlan
from phonotune.training.replay import read_replay, replay_frames
from phonotune.training.state import REPLAY
from phonotune.training.strategies import find_strategy


@dataclass(frozen=True, eq=False)
class Prepared:
    """What all members of a committee share.

    Attributes
    ----------
    base
        The foundation, float64, on the CPU.
    model
        Its copy that trains, parameters constant, on the device and in the dtype of the training.
    train, valid
        Frames with their graphs, atomic energies refitted.
    replay
        Frames with the foundation's labels; empty if none are asked for.
    """

    base: torch.nn.Module
    model: torch.nn.Module
    elements: tuple[int, ...]
    train: FrameSet
    valid: FrameSet
    refit: EnergyRefit
    replay: tuple[Frame, ...]

    @property
    def like(self) -> torch.Tensor:
        """A tensor with the dtype and device of the training."""
        return next(self.model.parameters())

    def task(self, options: Options) -> tuple[TuningPlan, Task]:
        """Return plan and task of one member, by its own options.

        Raises
        ------
        ConfigError
            The plan moves nothing, or contradicts itself.
        """
        plan = find_strategy(options.strategy).plan(self.base, self.elements, options)
        task = Task(
            model=self.model,
            weights=EffectiveWeights(self.model, plan.terms),
            train=self._frames(options),
            valid=self.valid,
            terms=loss_terms(options.loss),
            penalties=find_penalties(self.model, plan, options, self.replay),
            stress=self.train.has_stress or self.valid.has_stress,
            anchors=_anchors(self.base, plan, self.like) if options.decay == "weights" else None,
        )
        return plan, task

    def _frames(self, options: Options) -> FrameSet:
        if options.committee == 1 or not options.bootstrap:
            return self.train
        return self.train.resampled(np.random.default_rng([options.seed, len(self.train)]))


def prepare(
    base: torch.nn.Module,
    train: Sequence[Frame],
    valid: Sequence[Frame],
    options: Options,
    device: str,
    progress: Progress | None = None,
) -> Prepared:
    """Find the neighbours of every frame, refit the atomic energies, make the replay frames.

    Raises
    ------
    StructureError
        An element that the foundation does not know.
    TrainingError
        The foundation gives no number on the training frames.
    """
    reuse_memory()
    own = copy.deepcopy(base).to(choose_device(device), torch_dtype(options.dtype))
    model = accelerate(own, share=True).requires_grad_(requires_grad=False)
    elements = sorted({int(z) for f in (*train, *valid) for z in f.structure.atomic_numbers})
    sets = [FrameSet.build(frames, model, elements) for frames in (train, valid)]
    refit = _refit(model, sets[0], options) if options.refit_energies else no_refit(elements)
    fitted, held_out = (frames.shifted(refit.shifts) for frames in sets)
    replay = _replay(base, options, train, device, progress)
    return Prepared(base, model, tuple(elements), fitted, held_out, refit, replay)


def _refit(model: torch.nn.Module, train: FrameSet, options: Options) -> EnergyRefit:
    labelled = [i for i, frame in enumerate(train.frames) if frame.energy is not None]
    batches = train.in_order(options.batch_size, options.batch_atoms)
    predicted = interaction_energies(model, batches)
    targets = np.concatenate([batch.labels.energy.cpu().double().numpy() for batch in batches])
    residual = targets - predicted
    if not np.isfinite(residual).all():
        raise TrainingError(
            "The foundation's energies of the training frames are not a number; nothing was trained. "
            "Look for overlapping atoms or absurd labels in these frames."
        )
    return refit_energies(train.elements, train.composition[labelled], residual[labelled])


def _replay(
    base: torch.nn.Module,
    options: Options,
    train: Sequence[Frame],
    device: str,
    progress: Progress | None,
) -> tuple[Frame, ...]:
    replay = options.replay
    if replay.file is not None:
        return tuple(read_replay(replay.file))
    if not replay.active:
        return ()
    evaluator = ModelEvaluator(base, device)
    material = sorted({symbol for f in train for symbol in f.structure.symbol_set})
    return tuple(
        replay_frames(
            evaluator, evaluator.elements, material, replay.frames, options.seed, progress
        )
    )


def _anchors(base: torch.nn.Module, plan: TuningPlan, like: torch.Tensor) -> Tensors:
    """Changes that would make the weights zero."""
    return {
        prefix + name: -term.block.values(base.get_parameter(term.block.parameter)).to(like)
        for prefix, terms in (("", plan.terms), (REPLAY, plan.replay_head))
        for term in terms
        for name in term.shapes()
    }
