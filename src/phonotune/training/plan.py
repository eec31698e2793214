"""What a strategy moves, as a value that can be printed and checked before anything runs.

Configurations are read where no torch is needed (a login node), so torch is imported by the functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from phonotune.errors import ConfigError
from phonotune.schemas.training import PlanSummary
from phonotune.training.options import Options

if TYPE_CHECKING:
    import torch

    from phonotune.models.weight_updates import Block, WeightUpdate


@dataclass(frozen=True)
class TuningPlan:
    """The terms that a training moves.

    Attributes
    ----------
    terms
        Changes of disjoint blocks of the foundation's parameters: the adapter.
    total
        Number of foundation weights that the material's elements use.
    replay_head
        Changes of the second head, which only replay frames see; trained, not kept.
    origin
        The model whose weights the change starts from; None: the foundation, a change of zero.
    """

    terms: tuple[WeightUpdate, ...]
    total: int
    replay_head: tuple[WeightUpdate, ...] = ()
    origin: torch.nn.Module | None = field(default=None, repr=False, compare=False)

    @property
    def moved(self) -> int:
        """Number of trained numbers."""
        return _count(self.terms)

    @property
    def reached(self) -> int:
        """Number of foundation weights that the terms change."""
        return sum(term.block.size for term in self.terms)

    @property
    def tensors(self) -> int:
        """Number of parameters of the foundation that change."""
        return len({term.block.parameter for term in self.terms})

    def __str__(self) -> str:
        text = (
            f"{_spaced(self.reached)} of {_spaced(self.total)} parameters, {self.tensors} tensors"
        )
        if self.origin is not None:
            text += ", from random values"
        if self.replay_head:
            text += f"; a second head of {_spaced(_count(self.replay_head))} for replay frames"
        low = [term for term in self.terms if term.rank is not None]
        if not low:
            return text
        ranks = ", ".join(map(str, sorted({t.rank for t in low if t.rank is not None})))
        return (
            f"{text}; moved through {_spaced(self.moved)} numbers: {len(low)} paths of "
            f"rank {ranks}, "
            f"{len(self.terms) - len(low)} blocks in full (no larger so, or no matrix)"
        )

    def summary(self) -> PlanSummary:
        """Return the plan as stored with the model."""
        return PlanSummary(
            parameters_moved=self.moved,
            parameters_reached=self.reached,
            parameters_total=self.total,
            tensors=self.tensors,
            text=str(self),
        )


def plan_terms(
    blocks: Sequence[Block],
    terms: Iterable[WeightUpdate],
    replay_head: Iterable[WeightUpdate] = (),
    origin: torch.nn.Module | None = None,
) -> TuningPlan:
    """Check terms and count what they move.

    Parameters
    ----------
    blocks
        Every block of the material, from ``models.weight_updates.weight_blocks``.
    terms, replay_head, origin
        Of the plan.

    Raises
    ------
    ConfigError
        Nothing moves, or two terms change the same block.
    """
    chosen = tuple(terms)
    if not chosen:
        raise ConfigError(
            "The plan moves no parameter: the strategy found none of its blocks in this model. "
            "Choose another strategy or foundation model."
        )
    twice = [key for key, n in Counter(term.block.key for term in chosen).items() if n > 1]
    if twice:
        raise ConfigError(
            f"The plan changes {twice[0]!r} twice; a block belongs to one term. Correct the plan."
        )
    return TuningPlan(chosen, sum(block.size for block in blocks), tuple(replay_head), origin)


def full_change(
    model: torch.nn.Module,
    elements: Iterable[int],
    moves: Callable[[str], bool] = lambda _: True,
    replay_head: Callable[[str], bool] = lambda _: False,
    origin: torch.nn.Module | None = None,
) -> TuningPlan:
    """Plan a full Δ of the blocks of a material.

    Parameters
    ----------
    model, elements
        The foundation and the atomic numbers of the material.
    moves, replay_head
        Whether a parameter of this name moves, and whether the replay head has its own.
    origin
        Model whose weights the change starts from; None: the foundation.

    Raises
    ------
    ConfigError
        Nothing moves.
    """
    from phonotune.models.weight_updates import WeightUpdate, weight_blocks

    blocks = weight_blocks(model, elements)
    return plan_terms(
        blocks,
        (WeightUpdate(block=block) for block in blocks if moves(block.parameter)),
        (WeightUpdate(block=block) for block in blocks if replay_head(block.parameter)),
        origin,
    )


@dataclass(frozen=True)
class Strategy:
    """A way to fine-tune: its row in the registry, from which help texts and reports are made.

    Attributes
    ----------
    summary
        What moves, in a few words, for ``--strategy``.
    options
        The options' class; its defaults are the strategy's.
    plan
        ``plan(model, elements, options) -> TuningPlan``; a pure function.
    """

    summary: str
    options: type[Options]
    plan: Callable[[torch.nn.Module, Iterable[int], Any], TuningPlan]


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _count(terms: Iterable[WeightUpdate]) -> int:
    return sum(prod(shape) for term in terms for shape in term.shapes().values())
