import numpy as np
import pytest
import torch

from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.fast import FastMACE, accelerate
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.files import read_force_constants, write_phonopy_files
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.training.config import parse_overrides
from phonotune.training.losses import huber
from phonotune.training.penalties import HessianColumn, Pull, find_penalties, replay_view
from phonotune.training.state import REPLAY, start_state
from phonotune.training.strategies import find_strategy

SALT = [11, 17]


@pytest.fixture
def planned(foundation):
    def build(strategy, *overrides):
        options = parse_overrides(strategy, list(overrides)).root
        plan = find_strategy(strategy).plan(foundation, SALT, options)
        like = next(foundation.parameters())
        return plan, options, start_state(plan, options, foundation, like)

    return build


@pytest.fixture
def force_constants_file(foundation, labelled, tmp_path):
    """phonopy files of the foundation's own phonons in an 8-atom cell of NaCl."""
    lattice = labelled[0].structure.lattice.from_parameters(5.6, 5.6, 5.6, 90, 90, 90)
    salt = labelled[0].structure.from_spacegroup(
        "Fm-3m", lattice, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    settings = PhononSettings(supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    plan = plan_displacements(salt, settings)
    evaluator = ModelEvaluator(foundation, "cpu")
    source = Source(role="reference", evaluator="tiny")
    document = analyse_forces(plan, evaluator(plan.structures), source)
    return write_phonopy_files(document, tmp_path)[0]


def test_hessian_columns_of_the_foundation_are_its_force_constants(
    foundation, planned, force_constants_file
):
    plan, options, state = planned("delta", f"hessian.file={force_constants_file}")
    (column,) = find_penalties(foundation, plan, options, ())
    own = HessianColumn(
        column.model, column.weights, column.graph, column.constants, torch.abs, 1.0
    )
    for seed in range(4):
        error = float(own(state.tensors, np.random.default_rng(seed)).detach())
        assert error < 0.01 * float(column.constants.abs().max())
    wrong = HessianColumn(
        column.model, column.weights, column.graph, column.constants + 1.0, torch.abs, 1.0
    )
    assert float(wrong(state.tensors, np.random.default_rng(0)).detach()) > 0.9


def test_the_hessian_loss_has_the_gradient_of_its_finite_difference(
    foundation, planned, force_constants_file
):
    plan, _, state = planned("delta")
    structure, constants = read_force_constants(force_constants_file)
    assert constants.shape == (len(structure), len(structure), 3, 3)
    plan, options, state = planned("delta", f"hessian.file={force_constants_file}")
    (column,) = find_penalties(foundation, plan, options, ())
    part = HessianColumn(
        column.model, column.weights, column.graph, 2 * column.constants, huber(0.1), 1.0
    )
    name = next(n for n in state.tensors if n.startswith("interactions.0.linear_up"))
    leaf = state.tensors[name]
    (slope,) = torch.autograd.grad(part(state.tensors, np.random.default_rng(0)), leaf)
    index, step = int(slope.abs().argmax()), 1e-4
    values = []
    for sign in (1, -1):
        shifted = leaf.detach().clone()
        shifted.view(-1)[index] += sign * step
        tensors = {**state.tensors, name: shifted}
        values.append(float(part(tensors, np.random.default_rng(0)).detach()))
    difference = (values[0] - values[1]) / (2 * step)
    assert float(slope.view(-1)[index]) == pytest.approx(difference, rel=1e-4)


def test_the_pull_is_half_the_squared_change(planned):
    plan, _, state = planned("lora", "rank=2")
    rng = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(t.shape, generator=rng, dtype=t.dtype)
        for name, t in state.tensors.items()
    }
    squares = sum(float(term.change(tensors).square().sum()) for term in plan.terms)
    pulled = Pull(plan.terms, 3.0)(tensors, np.random.default_rng(0))
    assert float(pulled.detach()) == pytest.approx(1.5 * squares)


def test_the_replay_head_replaces_the_materials_head_and_nothing_else(
    foundation, planned, labelled
):
    plan, options, state = planned("multihead")
    (replay,) = find_penalties(foundation, plan, options, labelled[:2])
    seen = replay_view(state.tensors)
    assert set(seen) == {n for n in state.tensors if not n.startswith(REPLAY)}
    gradients = torch.autograd.grad(
        replay(state.tensors, np.random.default_rng(0)),
        list(state.tensors.values()),
        allow_unused=True,
    )
    for name, gradient in zip(state.tensors, gradients, strict=True):
        if name.startswith("readouts."):
            assert gradient is None, name
        elif name.startswith(REPLAY):
            assert gradient is not None, name


def test_replay_frames_are_a_part_of_any_strategy(foundation, planned, labelled):
    plan, options, state = planned("lora", "replay.frames=3", "replay.weight=2")
    (double,) = find_penalties(foundation, plan, options, labelled[:2])
    _, once, _ = planned("lora", "replay.frames=3")
    (single,) = find_penalties(foundation, plan, once, labelled[:2])
    losses = [
        float(part(state.tensors, np.random.default_rng(0)).detach()) for part in (double, single)
    ]
    assert losses[0] == pytest.approx(2 * losses[1]) != 0


def test_second_derivatives_alone_teach_the_force_constants(
    foundation, planned, force_constants_file
):
    plan, options, state = planned("delta", f"hessian.file={force_constants_file}", "lr=0.01")
    (column,) = find_penalties(foundation, plan, options, ())
    softer = HessianColumn(
        column.model, column.weights, column.graph, 0.8 * column.constants, column.penalty, 1.0
    )
    losses = []
    for step in range(20):
        loss = softer(state.tensors, np.random.default_rng(step % 2))
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-2:]) < 0.3 * sum(losses[:2])


def test_the_fast_forward_gives_the_gradients_of_the_hessian_loss_of_the_plain_one(
    foundation, planned, force_constants_file
):
    plan, options, state = planned("delta", f"hessian.file={force_constants_file}")
    slopes = []
    fast = accelerate(foundation)
    assert isinstance(fast, FastMACE)
    for model in (foundation, fast):
        (column,) = find_penalties(model, plan, options, ())
        wrong = HessianColumn(
            column.model, column.weights, column.graph, 2 * column.constants, huber(0.1), 1.0
        )
        loss = wrong(state.tensors, np.random.default_rng(0))
        slopes.append(torch.autograd.grad(loss, list(state.tensors.values()), allow_unused=True))
    moved = [(a, b) for a, b in zip(*slopes, strict=True) if a is not None]
    largest = max(float(plain.abs().max()) for plain, _ in moved)
    assert largest > 0
    for plain, faster in moved:
        assert torch.allclose(plain, faster, rtol=0, atol=1e-9 * largest)
