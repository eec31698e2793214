from __future__ import annotations

import numpy as np
import pytest
import torch
from mace.data import AtomicData, config_from_atoms
from mace.data.utils import KeySpecification
from mace.tools import AtomicNumberTable
from pymatgen.core import Lattice, Structure

from phonotune.errors import PhonotuneError, StructureError
from phonotune.models.graphs import GraphSpec, build_graph, collate, fresh


@pytest.fixture
def spec(tiny_mace_session):
    return GraphSpec.of(tiny_mace_session)


def edges(graph) -> set[tuple[float, ...]]:
    columns = (
        graph.edge_index[0],
        graph.edge_index[1],
        *graph.unit_shifts.to(torch.int64).unbind(dim=1),
    )
    return set(zip(*(column.tolist() for column in columns), strict=True))


def test_spec_holds_elements_cutoff_and_dtype_of_the_model(spec):
    assert spec.symbols == ("O", "Mg", "Si", "Ba")
    assert spec.r_max == 4.0
    assert spec.dtype == torch.float64


def test_graph_equals_the_one_mace_builds(spec, magnesia, rattled):
    structure = rattled(magnesia, 1, 0.1)
    ours = build_graph(structure, spec)
    config = config_from_atoms(structure.to_ase_atoms(), key_specification=KeySpecification())
    theirs = AtomicData.from_config(config, AtomicNumberTable(list(spec.elements)), spec.r_max)
    assert edges(ours) == edges(theirs)
    assert torch.equal(ours.node_attrs, theirs.node_attrs.to(spec.dtype))
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-6)
    np.testing.assert_allclose(ours.cell, theirs.cell, atol=1e-6)


def test_edges_lie_within_the_cutoff_and_come_in_both_directions(spec, magnesia, rattled):
    graph = build_graph(rattled(magnesia, 2, 0.1), spec)
    i, j = graph.edge_index
    vectors = graph.positions[j] - graph.positions[i] + graph.unit_shifts @ graph.cell
    lengths = torch.linalg.norm(vectors, dim=1)
    assert float(lengths.min()) > 0.5
    assert float(lengths.max()) < spec.r_max
    assert {(b, a, -x, -y, -z) for a, b, x, y, z in edges(graph)} == edges(graph)


def test_rocksalt_has_six_and_twelve_neighbours_within_three_point_two(magnesia):
    graph = build_graph(magnesia, GraphSpec(elements=(8, 12), r_max=3.2))
    assert graph.n_edges == len(magnesia) * (6 + 12)


def test_atoms_outside_of_the_cell_have_the_same_neighbours(spec, silicon):
    shifted = silicon.copy()
    shifted.translate_sites([3], [2, -1, 0], to_unit_cell=False)
    inside, outside = build_graph(silicon, spec), build_graph(shifted, spec)

    def lengths(graph):
        i, j = graph.edge_index
        return torch.sort(
            torch.linalg.norm(graph.positions[j] - graph.positions[i] + graph.shifts, dim=1)
        ).values

    assert inside.n_edges == outside.n_edges
    torch.testing.assert_close(lengths(inside), lengths(outside))


def test_a_primitive_cell_smaller_than_the_cutoff_sees_its_own_images(spec):
    one_atom = Structure(Lattice.cubic(2.5), ["Si"], [[0, 0, 0]])
    assert build_graph(one_atom, spec).n_edges == 6 + 12


def test_unknown_element_is_named_with_the_elements_of_the_model(spec, magnesia):
    magnesia.replace_species({"O": "Te"})
    with pytest.raises(StructureError, match=r"MgTe holds Te.*O Mg Si Ba"):
        build_graph(magnesia, spec)


def test_collate_counts_atoms_through_the_batch(spec, magnesia, silicon):
    graphs = [build_graph(magnesia, spec), build_graph(silicon, spec)]
    batch = collate(graphs, head=1)
    assert batch["ptr"].tolist() == [0, 8, 16]
    assert batch["batch"].tolist() == [0] * 8 + [1] * 8
    assert batch["head"].tolist() == [1, 1]
    assert batch["cell"].shape == (6, 3)
    second = batch["edge_index"][:, graphs[0].n_edges :]
    assert torch.equal(second - 8, graphs[1].edge_index)


def test_collate_of_nothing_is_refused():
    with pytest.raises(PhonotuneError, match="at least one graph"):
        collate([])


def test_a_batch_taken_fresh_gives_the_same_answer_twice(
    tiny_mace_session, spec, magnesia, rattled
):
    graph = build_graph(rattled(magnesia, 3, 0.1), spec)
    batch = collate([graph])
    before = {name: tensor.clone() for name, tensor in batch.items()}
    first, second = (
        tiny_mace_session(fresh(batch), compute_stress=True)["energy"] for _ in range(2)
    )
    assert torch.equal(first, second)
    assert not graph.positions.requires_grad
    for name, tensor in before.items():
        assert torch.equal(batch[name], tensor), name
