"""What a training needs before its first step: graphs, atomic energies, the parts of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from pymatgen.core import Element

from phonotune.data.notes import Notes
from phonotune.errors import TrainingError
from phonotune.models.evaluate import ModelEvaluator, choose_device, torch_dtype
from phonotune.models.fast import accelerate
from phonotune.models.memory import reuse_memory
from phonotune.models.weight_updates import EffectiveWeights
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

UNUSUAL_OFFSET: Final = 0.2
"""eV/atom: more between labels and foundation spoils the forces that a training reaches."""


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
        train, anchors = self.train, None
        if options.committee > 1 and options.bootstrap:
            train = train.resampled(np.random.default_rng([options.seed, len(train)]))
        if options.decay == "weights":  # the changes that would make the weights zero
            anchors = {
                prefix + name: -term.block.values(self.base.get_parameter(term.block.parameter)).to(
                    self.like
                )
                for prefix, terms in (("", plan.terms), (REPLAY, plan.replay_head))
                for term in terms
                for name in term.shapes()
            }
        task = Task(
            model=self.model,
            weights=EffectiveWeights(self.model, plan.terms),
            train=train,
            valid=self.valid,
            terms=loss_terms(options.loss),
            penalties=find_penalties(self.model, plan, options, self.replay),
            stress=self.train.has_stress or self.valid.has_stress,
            anchors=anchors,
        )
        return plan, task


def prepare(
    base: torch.nn.Module,
    train: Sequence[Frame],
    valid: Sequence[Frame],
    options: Options,
    device: str,
    progress: Progress | None = None,
    isolated_atoms: Mapping[str, float] | None = None,
) -> Prepared:
    """Find the neighbours of every frame, refit the atomic energies, make the replay frames.

    Parameters
    ----------
    base
        The foundation.
    train, valid
        Labelled frames.
    options, device, progress
        As in :func:`phonotune.training.finetune.finetune`.
    isolated_atoms
        Energies of isolated atoms, eV by symbol, which become the atomic energies.

    Raises
    ------
    StructureError
        An element that the foundation does not know.
    TrainingError
        The foundation gives no number on the training frames.
    """
    reuse_memory()
    own = accelerate(base, choose_device(device), torch_dtype(options.dtype))
    model = own.requires_grad_(requires_grad=False)
    elements = sorted({int(z) for f in (*train, *valid) for z in f.structure.atomic_numbers})
    sets = [FrameSet.build(frames, model, elements) for frames in (train, valid)]
    refit = no_refit(elements)
    if options.refit_energies:
        labelled = [i for i, frame in enumerate(train) if frame.energy is not None]
        batches = sets[0].in_order(options.batch_size, options.batch_atoms)
        targets = np.concatenate([batch.labels.energy.cpu().double().numpy() for batch in batches])
        residual = targets - interaction_energies(model, batches)
        if not np.isfinite(residual).all():
            raise TrainingError(
                "The foundation's energies of the training frames are not a number; nothing was "
                "trained. Look for overlapping atoms or absurd labels in these frames."
            )
        e0 = dict(zip(sets[0].elements, sets[0].atomic_energies.tolist(), strict=True))
        given = (isolated_atoms or {}).items() if options.isolated_atoms else ()
        numbers = {Element(symbol).Z: energy for symbol, energy in given}
        known = {z: energy - e0[z] for z, energy in numbers.items() if z in e0}
        refit = refit_energies(elements, sets[0].composition[labelled], residual[labelled], known)
        if abs(refit.left) > UNUSUAL_OFFSET:
            (progress or Progress()).note(
                "Note: with the energies of the isolated atoms, labels and foundation differ by "
                f"{refit.left:+.2f} eV/atom, which the training has to learn, at the cost of its forces: "
                "`--set isolated_atoms=false` fits atomic energies to the frames instead. Check that atoms "
                "and frames are of one set-up."
            )
    replay: Sequence[Frame] = ()
    if options.replay.file is not None:
        notes = Notes()
        replay = read_replay(options.replay.file, notes)
        for note in notes.values():
            (progress or Progress()).note(f"Note: {note}")
    elif options.replay.active:
        evaluator = ModelEvaluator(base, device)
        material = sorted({symbol for f in train for symbol in f.structure.symbol_set})
        count, seed = options.replay.frames, options.seed
        replay = replay_frames(evaluator, evaluator.elements, material, count, seed, progress)
    fitted, held_out = (frames.shifted(refit.shifts) for frames in sets)
    return Prepared(base, model, tuple(elements), fitted, held_out, refit, tuple(replay))
