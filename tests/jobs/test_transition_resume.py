"""A tree of phases that was interrupted goes on from the answers that it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.jobs import transitions
from phonotune.jobs.transitions import TransitionMaker
from phonotune.physics.transitions.growth import grow_tree
from phonotune.ports import Evaluation
from phonotune.schemas.transition import TransitionDocument
from phonotune.settings import get_settings
from tests.physics.test_relax import EmtEvaluator
from tests.physics.transitions.test_growth import BCC_COPPER, QUICK, SOURCE


class Interrupted(EmtEvaluator):
    """EMT that is killed after some calls."""

    identity = "emt"
    source = SOURCE

    def __init__(self, calls_left: int = 10_000) -> None:
        super().__init__()
        self.calls_left = calls_left

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        if self.calls_left == 0:
            raise KeyboardInterrupt
        self.calls_left -= 1
        return super().__call__(structures)


@pytest.fixture
def grow(monkeypatch: pytest.MonkeyPatch):
    """Grow the tree of bcc copper by an evaluator."""

    def call(evaluator: EmtEvaluator, crystal=BCC_COPPER, **changes: int) -> TransitionDocument:
        monkeypatch.setattr(transitions, "model_evaluator", lambda _: evaluator)
        return TransitionMaker(settings=QUICK.model_copy(update=changes)).grow(crystal, "emt")

    return call


def files() -> list[Path]:
    return list(get_settings().checkpoint_dir.glob("*.sqlite"))


def assert_same_tree(found: TransitionDocument, expected: TransitionDocument) -> None:
    """Compare up to the last digits, which depend on where numpy finds its arrays in memory."""
    for one, other in ((found.nodes, expected.nodes), (found.branches, expected.branches)):
        assert len(one) == len(other)
    for node, wanted in zip(found.nodes, expected.nodes, strict=True):
        assert (node.parent, node.space_group, node.ending) == (
            wanted.parent,
            wanted.space_group,
            wanted.ending,
        )
        assert node.energy == pytest.approx(wanted.energy, abs=1e-6)
    for branch, wanted in zip(found.branches, expected.branches, strict=True):
        assert (branch.parent, branch.child, branch.outcome) == (
            wanted.parent,
            wanted.child,
            wanted.outcome,
        )
    arrays, others = found.data.arrays(), expected.data.arrays()
    assert arrays.keys() == others.keys()
    for name, values in arrays.items():
        np.testing.assert_allclose(values, others[name], atol=1e-6)


def test_a_tree_that_was_killed_goes_on_and_evaluates_nothing_twice(grow) -> None:
    whole = grow_tree(BCC_COPPER, EmtEvaluator(), QUICK, SOURCE)
    evaluated = 0
    for calls in (1, 10, 20):
        killed = Interrupted(calls)
        with pytest.raises(KeyboardInterrupt):
            grow(killed)
        evaluated += sum(killed.calls)
    last = Interrupted()
    assert_same_tree(grow(last), whole)
    assert evaluated + sum(last.calls) <= whole.n_evaluations
    assert sum(last.calls) < whole.n_evaluations - 30
    assert files() == []


def test_answers_are_kept_while_a_limit_cut_the_tree_and_a_deeper_call_goes_on_from_them(
    grow,
) -> None:
    first, second = Interrupted(), Interrupted()
    assert grow(first, max_depth=0).limits == ["depth limit"]
    assert len(files()) == 1
    whole = grow(second)
    assert len(whole.nodes) == 2
    assert sum(first.calls) + sum(second.calls) <= whole.n_evaluations
    assert files() == []


def test_another_model_or_crystal_does_not_share_answers(grow) -> None:
    other = Interrupted()
    other.identity = "another"
    for evaluator, crystal in (
        (Interrupted(), BCC_COPPER),
        (other, BCC_COPPER),
        (Interrupted(), BCC_COPPER.copy().scale_lattice(24.0)),
    ):
        grow(evaluator, crystal, max_depth=0)
    assert len(files()) == 3
