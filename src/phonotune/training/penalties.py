"""Parts of the loss besides the material's frames: replay, second derivatives, the pull of L2-SP.

Each is a callable of the trained tensors and a random generator that returns its weighted loss; a
new part is a new class here and a line in :func:`find_penalties`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from phonotune.models.evaluate import readout_head
from phonotune.models.graphs import Batch, GraphSpec, build_graph, collate
from phonotune.models.weight_updates import EffectiveWeights, Tensors, WeightUpdate
from phonotune.physics.phonon.files import read_force_constants
from phonotune.schemas.dataset import Frame
from phonotune.training.batches import FrameSet
from phonotune.training.losses import LossTerm, Penalty, huber, loss_terms, total_loss
from phonotune.training.options import Options
from phonotune.training.plan import TuningPlan
from phonotune.training.prediction import forces_along, predict
from phonotune.training.state import REPLAY

LossPart = Callable[[Tensors, np.random.Generator], torch.Tensor]
"""A weighted part of a step's loss."""


@dataclass(frozen=True, eq=False)
class Replay:
    """The loss on a few frames with the foundation's labels, drawn anew every step.

    Attributes
    ----------
    frames
        Replay frames, with the foundation's atomic energies taken off.
    weights
        The backbone's changes, with the replay head's where there is one.
    """

    model: torch.nn.Module
    weights: EffectiveWeights
    frames: FrameSet
    terms: Sequence[LossTerm]
    weight: float
    batch_size: int

    def __call__(self, tensors: Tensors, rng: np.random.Generator) -> torch.Tensor:
        """Return the weighted loss of a random batch."""
        count = min(self.batch_size, len(self.frames))
        drawn = rng.choice(len(self.frames), size=count, replace=False)
        batch = self.frames.batch([int(i) for i in drawn])
        prediction = predict(
            self.model,
            self.weights(replay_view(tensors)),
            batch.graph,
            stress=self.frames.has_stress,
            differentiable=True,
        )
        tallies = [term(prediction, batch.labels) for term in self.terms]
        return self.weight * total_loss(self.terms, tallies)


def replay_view(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return the tensors as the replay frames see them: the second head's in place of the first's."""
    own = {name.removeprefix(REPLAY): t for name, t in tensors.items() if name.startswith(REPLAY)}
    return {name: t for name, t in tensors.items() if not name.startswith(REPLAY)} | own


@dataclass(frozen=True, eq=False)
class HessianColumn:
    """The deviation of one random column of the force constants, by one Hessian-vector product.

    Koker et al., arXiv 2601.07742 (PFT).

    Attributes
    ----------
    graph
        The undisplaced supercell as a batch of one.
    constants
        shape (n_atoms, n_atoms, 3, 3), eV/Å^2, of the reference.
    """

    model: torch.nn.Module
    weights: EffectiveWeights
    graph: Batch
    constants: torch.Tensor
    penalty: Penalty
    weight: float

    def __call__(self, tensors: Tensors, rng: np.random.Generator) -> torch.Tensor:
        """Return the weighted mean penalty of the column of a random atom and direction."""
        atom, axis = int(rng.integers(len(self.constants))), int(rng.integers(3))
        direction = torch.zeros_like(self.graph["positions"])
        direction[atom, axis] = 1.0
        column = -forces_along(self.model, self.weights(tensors), self.graph, direction)
        return self.weight * self.penalty(column - self.constants[:, atom, :, axis]).mean()


@dataclass(frozen=True, eq=False)
class Pull:
    """Half the squared change of the weights: L2-SP (Li, Grandvalet, Davoine, ICML 2018)."""

    terms: Sequence[WeightUpdate]
    weight: float

    def __call__(self, tensors: Tensors, _: np.random.Generator) -> torch.Tensor:
        """Return ``weight / 2 * sum(Δw**2)``."""
        squares = torch.stack([term.change(tensors).square().sum() for term in self.terms])
        return 0.5 * self.weight * squares.sum()


def find_penalties(
    model: torch.nn.Module,
    plan: TuningPlan,
    options: Options,
    replay: Sequence[Frame],
) -> tuple[LossPart, ...]:
    """Return the parts that the options ask for.

    Parameters
    ----------
    model
        What is trained, its parameters constant, on its device and in its dtype.
    plan
        What moves.
    replay
        Replay frames; empty if none are asked for.

    Raises
    ------
    InputError
        The Hessian's file cannot be used.
    StructureError
        An element that the model does not know.
    """
    parts: list[LossPart] = []
    if replay:
        head = {term.block.key: term for term in plan.replay_head}
        terms = [head.pop(term.block.key, term) for term in plan.terms] + list(head.values())
        elements = sorted({int(z) for f in replay for z in f.structure.atomic_numbers})
        parts.append(
            Replay(
                model,
                EffectiveWeights(model, terms),
                FrameSet.build(replay, model, elements),
                loss_terms(options.loss),
                options.replay.weight,
                options.replay.batch_size,
            )
        )
    if options.hessian.file is not None:
        structure, constants = read_force_constants(options.hessian.file)
        like = next(model.parameters())
        graphs = [build_graph(structure, GraphSpec.of(model))]
        parts.append(
            HessianColumn(
                model,
                EffectiveWeights(model, plan.terms),
                collate(graphs, like.device, readout_head(model)),
                torch.as_tensor(constants, dtype=like.dtype, device=like.device),
                huber(options.hessian.delta),
                options.hessian.weight,
            )
        )
    if options.loss.l2sp > 0:
        parts.append(Pull(plan.terms, options.loss.l2sp))
    return tuple(parts)
