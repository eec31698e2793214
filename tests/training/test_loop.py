import pytest
import torch

from phonotune.training.config import parse_overrides
from phonotune.training.loop import decay
from phonotune.training.prepare import prepare
from phonotune.training.state import REPLAY, start_state

OPTIONS = parse_overrides("multihead", ["replay.frames=2", "dtype=float64"]).root


@pytest.fixture
def shared(foundation, labelled):
    return prepare(foundation, labelled[:4], labelled[4:], OPTIONS, "cpu")


def moved(shared):
    """Tensors off zero, the plan and the task."""
    plan, task = shared.task(OPTIONS)
    tensors = start_state(plan, OPTIONS, shared.base, shared.like).tensors
    return plan, task, {name: t.detach() + 0.5 for name, t in tensors.items()}


def test_decay_draws_the_change_to_zero(shared):
    _, _, tensors = moved(shared)
    before = {name: t.clone() for name, t in tensors.items()}
    decay(tensors, None, 0.25)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, 0.75 * before[name])


def test_decay_of_the_weights_draws_the_weights_to_zero(shared):
    plan, task, tensors = moved(shared)
    before = {name: t.clone() for name, t in tensors.items()}
    decay(tensors, task.anchors, 0.25)
    for prefix, terms in (("", plan.terms), (REPLAY, plan.replay_head)):
        for term in terms:
            (name,) = term.shapes()
            weights = term.block.values(shared.base.get_parameter(term.block.parameter))
            expected = 0.75 * (weights + before[prefix + name])
            torch.testing.assert_close(weights + tensors[prefix + name], expected)


def test_no_decay_leaves_every_bit(shared):
    _, task, tensors = moved(shared)
    before = {name: t.clone() for name, t in tensors.items()}
    decay(tensors, task.anchors, 0.0)
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)
