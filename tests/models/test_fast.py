"""The fast forward answers as plain MACE does, whatever the architecture; so do its gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from mace.modules.blocks import NonLinearBiasReadoutBlock
from mace.modules.radial import AgnesiTransform, ZBLBasis
from pymatgen.core import Lattice, Structure
from torch.func import functional_call

from phonotune.models.architecture import build_mace
from phonotune.models.fast import FastMACE, accelerate, convolution
from phonotune.models.fast.graph import Neighbours
from phonotune.models.graphs import Batch, GraphSpec, build_graph, collate, fresh
from phonotune.models.shipped import ArchitectureCard

KEYS = ("energy", "interaction_energy", "node_energy", "forces", "stress")
PLAIN, RESIDUAL = "RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock"
DENSITY = "RealAgnosticDensityInteractionBlock"
DENSITY_RESIDUAL = "RealAgnosticDensityResidualInteractionBlock"
Rattle = Callable[..., Structure]

VARIANTS: dict[str, dict[str, object]] = {
    "residual": {},
    "plain then residual": {"first_interaction": PLAIN},
    "plain": {"first_interaction": PLAIN, "interaction": PLAIN, "num_interactions": 3},
    "density": {"first_interaction": DENSITY, "interaction": DENSITY},
    "density residual": {
        "first_interaction": DENSITY,
        "interaction": DENSITY_RESIDUAL,
        "correlation": 3,
    },
    "one layer": {"num_interactions": 1, "correlation": 3},
    "three layers": {"num_interactions": 3, "correlation": 1},
    "scalars": {"hidden_irreps": "8x0e", "l_max": 1, "correlation": 3},
    "tensors": {"hidden_irreps": "4x0e+4x1o+4x2e", "l_max": 3},
    "cubic": {"hidden_irreps": "4x0e+4x1o", "l_max": 2, "correlation": 3, "num_interactions": 3},
    "deep radial net": {"radial_mlp": (8, 8, 8)},
    "linear radial net": {"radial_mlp": (), "num_interactions": 2},
}


@cache
def built(variant: str, card: ArchitectureCard) -> torch.nn.Module:
    wanted = {"elements": (8, 12, 14, 56), "hidden_irreps": "4x0e+4x1o", **VARIANTS[variant]}
    return build_mace(card.model_copy(update=wanted), torch.float64, seed=3).eval()


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest, tiny_card: ArchitectureCard) -> torch.nn.Module:
    return copy.deepcopy(built(request.param, tiny_card))


@pytest.fixture
def structures(magnesia: Structure, silicon: Structure, rattled: Rattle) -> list[Structure]:
    """Crystals of different size, elements and coordination."""
    mixed = Structure(Lattice.orthorhombic(3.9, 4.1, 4.4), ["Ba", "O", "Si"], [[0, 0, 0]] * 3)
    mixed.translate_sites([1], [0.5, 0.5, 0.0])
    mixed.translate_sites([2], [0.5, 0.0, 0.5])
    return [rattled(s, i) for i, s in enumerate((magnesia, silicon, mixed))]


def batched(model: torch.nn.Module, structures: list[Structure], head: int = 0) -> Batch:
    spec = GraphSpec.of(model)
    return collate([build_graph(s, spec) for s in structures], head=head)


def answers(model: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    output = model(fresh(batch), training=False, compute_force=True, compute_stress=True)
    return {key: output[key].detach() for key in KEYS}


def gradients(model: torch.nn.Module, batch: Batch, names: list[str]) -> dict[str, torch.Tensor]:
    """Derivatives of a loss that holds energies, forces and stress, by some of the weights."""
    weights = {n: 1.01 * model.get_parameter(n).detach() for n in names}
    leaves = [w.requires_grad_() for w in weights.values()]
    flags = {"training": True, "compute_force": True, "compute_stress": True}
    output = functional_call(model, weights, (fresh(batch),), flags)
    loss = output["forces"].pow(2).sum() + output["interaction_energy"].cos().sum()
    loss = loss + 1000.0 * output["stress"].pow(2).sum()
    found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = max(1.0, float(value.abs().max()))
        torch.testing.assert_close(found[key], value, rtol=0.0, atol=1e-10 * scale, msg=key)


def test_answers_are_those_of_plain_mace(
    model: torch.nn.Module, structures: list[Structure]
) -> None:
    fast, batch = accelerate(model), batched(model, structures)
    assert isinstance(fast, FastMACE)
    assert_same(answers(fast, batch), answers(model, batch))


def test_gradients_of_a_force_loss_are_those_of_plain_mace(
    model: torch.nn.Module, structures: list[Structure]
) -> None:
    fast, batch = accelerate(model), batched(model, structures)
    names = [name for name, _ in model.named_parameters()]
    expected = gradients(model, batch, names)
    assert any(float(g.abs().max()) > 1e-6 for g in expected.values())
    assert_same(gradients(fast, batch, names), expected)


def test_many_neighbours_are_summed_in_parts(
    tiny_mace: torch.nn.Module, structures: list[Structure], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, batch = accelerate(tiny_mace), batched(tiny_mace, structures)
    names = ["interactions.1.linear.weight", "products.0.linear.weight"]
    whole = answers(fast, batch), gradients(fast, batch, names)
    monkeypatch.setattr(convolution, "WIDE", 5)
    assert_same(answers(fast, batch), whole[0])
    assert_same(gradients(fast, batch, names), whole[1])


def test_some_of_the_weights_can_be_replaced(
    tiny_mace: torch.nn.Module, structures: list[Structure]
) -> None:
    fast, batch = accelerate(tiny_mace), batched(tiny_mace, structures)
    names = ["interactions.1.linear.weight", "products.0.linear.weight"]
    assert_same(gradients(fast, batch, names), gradients(tiny_mace, batch, names))


def test_names_and_values_of_the_state_are_kept(tiny_mace: torch.nn.Module) -> None:
    fast = accelerate(tiny_mace)
    kept = fast.state_dict()
    constants = "._compiled_"  # of compiled functions, which the fast forward does not call
    state = {k: v for k, v in tiny_mace.state_dict().items() if constants not in k}
    assert list(kept) == list(state)
    assert all(torch.equal(kept[key], value) for key, value in state.items())
    assert [n for n, _ in fast.named_parameters()] == [n for n, _ in tiny_mace.named_parameters()]


def test_the_given_model_shares_nothing_with_the_fast_one(tiny_mace: torch.nn.Module) -> None:
    fast = accelerate(tiny_mace)
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.zero_()
    assert all(bool(p.any()) for p in tiny_mace.parameters() if p.numel())


@pytest.mark.parametrize("head", [0, 1])
def test_every_head_answers_for_itself(
    head: int, tiny_card: ArchitectureCard, structures: list[Structure]
) -> None:
    card = tiny_card.model_copy(
        update={"elements": (8, 12, 14, 56), "heads": ("pbe", "Default"), "readout_irreps": "4x0e"}
    )
    model = build_mace(card, seed=5)
    energies = torch.tensor([[-2.0, -1.0, -4.0, -3.0], [-5.0, -7.0, -6.0, -8.0]])
    model.atomic_energies_fn.atomic_energies = energies.double()
    model.scale_shift.scale = torch.tensor([0.3, 0.7], dtype=torch.float64)
    model.scale_shift.shift = torch.tensor([0.1, -0.2], dtype=torch.float64)
    batch = batched(model, structures, head)
    assert_same(answers(accelerate(model), batch), answers(model, batch))
    other = answers(model, batched(model, structures, 1 - head))
    assert not torch.allclose(other["interaction_energy"], answers(model, batch)["energy"])


def foundation_like(model: torch.nn.Module) -> torch.nn.Module:
    """Distance transform and pair repulsion, as the later MACE-MP models have them."""
    model.radial_embedding.distance_transform = AgnesiTransform().double()
    model.pair_repulsion_fn = ZBLBasis(p=5).double()
    model.pair_repulsion = True
    return model


def cutoff_apart(model: torch.nn.Module) -> torch.nn.Module:
    model.radial_embedding.apply_cutoff = False
    return model


@pytest.mark.parametrize("change", [foundation_like, cutoff_apart])
@pytest.mark.parametrize("variant", ["residual", "density residual"])
def test_other_radial_parts_are_kept(
    change: Callable[[torch.nn.Module], torch.nn.Module],
    variant: str,
    tiny_card: ArchitectureCard,
    structures: list[Structure],
) -> None:
    before = copy.deepcopy(built(variant, tiny_card))
    model = change(copy.deepcopy(before))
    fast, batch = accelerate(model), batched(model, structures)
    names = [name for name, _ in model.named_parameters()]
    assert isinstance(fast, FastMACE)
    assert_same(answers(fast, batch), answers(model, batch))
    assert_same(gradients(fast, batch, names), gradients(model, batch, names))
    assert not torch.allclose(answers(model, batch)["forces"], answers(before, batch)["forces"])


def test_a_model_that_is_not_known_stays_plain(
    tiny_mace: torch.nn.Module, structures: list[Structure]
) -> None:
    tiny_mace.readouts[1] = NonLinearBiasReadoutBlock(
        tiny_mace.products[1].linear.irreps_out,
        tiny_mace.readouts[1].hidden_irreps,
        torch.nn.functional.silu,
    ).double()
    kept, batch = accelerate(tiny_mace), batched(tiny_mace, structures)
    assert type(kept) is type(tiny_mace)
    assert kept is not tiny_mace
    assert_same(answers(kept, batch), answers(tiny_mace, batch))


def test_single_precision_answers_within_single_precision(
    tiny_mace: torch.nn.Module, structures: list[Structure]
) -> None:
    single = copy.deepcopy(tiny_mace).float()
    found = answers(accelerate(single), batched(single, structures))
    expected = answers(tiny_mace, batched(tiny_mace, structures))
    assert found["forces"].dtype == torch.float32
    torch.testing.assert_close(found["forces"].double(), expected["forces"], rtol=1e-4, atol=1e-5)


def test_atoms_without_neighbours_feel_no_force(
    tiny_mace: torch.nn.Module, magnesia: Structure, rattled: Rattle
) -> None:
    lonely = Structure(Lattice.cubic(12.0), ["O", "Ba"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    fast = accelerate(tiny_mace)
    for structures in ([lonely], [lonely, rattled(magnesia, 1)]):
        batch = batched(tiny_mace, structures)
        assert_same(answers(fast, batch), answers(tiny_mace, batch))
        assert float(answers(fast, batch)["forces"][:2].abs().max()) == 0.0


def test_second_derivatives_by_positions_are_those_of_plain_mace(
    tiny_mace: torch.nn.Module, structures: list[Structure]
) -> None:
    batch = batched(tiny_mace, structures)
    direction = torch.linspace(-1, 1, 3 * len(batch["positions"]), dtype=torch.float64)
    products = []
    for model in (tiny_mace, accelerate(tiny_mace)):
        given = fresh(batch)
        positions = given["positions"]
        forces = model(given, training=True, compute_force=True)["forces"]
        products.append(torch.autograd.grad(forces.flatten() @ direction, positions)[0])
    torch.testing.assert_close(products[1], products[0], rtol=1e-9, atol=1e-9)


def test_evaluation_does_not_change_the_batch(
    tiny_mace: torch.nn.Module, structures: list[Structure]
) -> None:
    batch = batched(tiny_mace, structures)
    before = {key: value.clone() for key, value in batch.items()}
    accelerate(tiny_mace)(batch, training=False, compute_stress=True)
    assert not batch["positions"].requires_grad
    assert all(torch.equal(batch[key], value) for key, value in before.items())


def test_slots_hold_every_edge_once(
    tiny_mace: torch.nn.Module, structures: list[Structure]
) -> None:
    batch = batched(tiny_mace, structures)
    graph = Neighbours.of(batch)
    edges = graph.edges if graph.filled is None else graph.edges[graph.filled]
    assert sorted(edges.tolist()) == list(range(batch["edge_index"].shape[1]))
    rows = torch.arange(graph.n_atoms).repeat_interleave(graph.width)
    assert graph.filled is not None
    assert torch.equal(graph.receivers[graph.filled], rows[graph.filled])
    elements = batch["node_attrs"].argmax(1)[graph.order]
    assert torch.equal(graph.present[graph.kinds], elements)
