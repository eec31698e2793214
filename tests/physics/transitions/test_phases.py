from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.physics.transitions.branches import TransitionSettings
from phonotune.physics.transitions.phases import Tree, phase_match, tree_document
from phonotune.schemas.base import Source
from phonotune.schemas.transition import TransitionDocument

SOURCE = Source(role="reference", evaluator="a toy")


def perovskite(shift: tuple[float, float, float] = (0, 0, 0), a: float = 4.0) -> Structure:
    """Cubic, or polar by a shift (Å) of the cation in the centre."""
    sites = np.array([[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    sites[1] += np.array(shift) / a
    return Structure(Lattice.cubic(a), ["Ba", "Ti", "O", "O", "O"], sites)


TETRAGONAL, ORTHORHOMBIC, RHOMBOHEDRAL = (
    perovskite((0, 0, 0.1)),
    perovskite((0.08, 0.08, 0)),
    perovskite((0.07, 0.07, 0.07)),
)


def tree_of(*phases: Structure, a: float = 4.0) -> TransitionDocument:
    tree = Tree(TransitionSettings())
    root = tree.add(None, perovskite(a=a), -40.0)
    for number, phase in enumerate(phases):
        tree.add(root, phase, -40.01 - 0.01 * number)
    return tree_document(tree, root.structure, SOURCE, 1)


def test_structures_come_back_as_they_were_kept() -> None:
    document = tree_of(TETRAGONAL, RHOMBOHEDRAL)
    for kept, cell in zip(
        document.structures(), (perovskite(), TETRAGONAL, RHOMBOHEDRAL), strict=True
    ):
        assert kept.species == cell.species
        np.testing.assert_array_equal(kept.lattice.matrix, cell.lattice.matrix)
        np.testing.assert_array_equal(kept.frac_coords, cell.frac_coords)


def test_energies_are_relative_to_the_root_by_atom_and_by_formula_unit() -> None:
    node = tree_of(TETRAGONAL).nodes[1]
    assert node.energy_per_atom == pytest.approx(-2.0)
    assert node.energy == pytest.approx(-10.0)
    assert (node.space_group, node.space_group_number, node.depth) == ("P4mm", 99, 1)


def test_a_known_phase_is_found_in_another_setting_and_a_small_distortion_is_not_it() -> None:
    tree = Tree(TransitionSettings())
    root = tree.add(None, perovskite(), -40.0)
    polar = tree.add(root, TETRAGONAL, -40.01)
    sideways = perovskite((0.1, 0, 0)) * (2, 1, 1)
    assert tree.find(sideways, -80.02) is polar
    assert tree.find(perovskite(), -40.0) is root
    assert tree.find(perovskite((0, 0, 0.1)), -40.0) is None
    assert tree.find(RHOMBOHEDRAL, -40.01) is None


def test_an_energy_that_differs_makes_another_phase() -> None:
    tree = Tree(TransitionSettings())
    root = tree.add(None, perovskite(), -40.0)
    assert tree.find(perovskite(), -40.0 + 1e-4) is root
    assert tree.find(perovskite(), -40.0 + 1e-3) is None


def test_phases_match_by_symmetry_and_sites_whatever_the_lattice_constant() -> None:
    reference = tree_of(TETRAGONAL, ORTHORHOMBIC, RHOMBOHEDRAL)
    model = tree_of(perovskite((0, 0, 0.15), a=4.1), RHOMBOHEDRAL, a=4.1)
    match = phase_match(reference, model)
    assert (match.both, match.only_reference, match.only_model) == (2, 1, 0)
    assert match.precision == 1
    assert match.recall == pytest.approx(2 / 3)
    assert match.f1 == pytest.approx(0.8)


def test_a_phase_counts_once() -> None:
    match = phase_match(tree_of(TETRAGONAL), tree_of(TETRAGONAL, perovskite((0, 0, 0.12))))
    assert (match.both, match.only_reference, match.only_model) == (1, 0, 1)
    assert match.precision == 0.5


def test_two_stable_crystals_have_no_phases_to_match() -> None:
    match = phase_match(tree_of(), tree_of())
    assert (match.precision, match.recall, match.f1) == (None, None, None)
    assert phase_match(tree_of(TETRAGONAL), tree_of()).recall == 0


def test_a_tree_of_forty_phases_stays_small() -> None:
    document = tree_of(*[TETRAGONAL * (2, 2, 2)] * 39)
    assert len(document.model_dump_json(exclude={"data"})) < 50_000
    assert len(document.structures()) == 40
