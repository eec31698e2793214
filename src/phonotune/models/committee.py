"""Committees: the mean of several models, and how far they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phonotune.physics.committee_spread import mean_answers
from phonotune.ports import Evaluation, Evaluator, Source

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

    def __init__(self, members: Sequence[Evaluator]) -> None:
        self.members = tuple(members)

    @property
    def elements(self) -> tuple[str, ...] | None:
        """Chemical symbols that the models know."""
        return self.members[0].elements

    @property
    def source(self) -> Source:
        """Who answers, as Documents name it."""
        return self.members[0].source

    @property
    def identity(self) -> str:
        """Identities of the members, in order."""
        return ", ".join(member.identity for member in self.members)

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Evaluate structures, in order; raises what the members raise."""
        return mean_answers([member(structures) for member in self.members])


def as_evaluator(members: Sequence[Evaluator]) -> Evaluator:
    """Return the only member itself, or the committee of several."""
    return members[0] if len(members) == 1 else CommitteeEvaluator(members)
