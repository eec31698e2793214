from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import StructureError
from phonotune.physics.symmetry import (
    SpaceGroup,
    space_group,
    standard_primitive,
    symmetrised,
    symmetry_operations,
)
from phonotune.ports import Evaluation

SYMPREC = 1e-3
WURTZITE = Structure.from_spacegroup(
    "P6_3mc",
    Lattice.hexagonal(3.25, 5.2),
    ["Zn", "O"],
    [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]],
)


def answered(structure: Structure, seed: int = 1) -> Evaluation:
    rng = np.random.default_rng(seed)
    stress = rng.normal(size=(3, 3))
    return Evaluation(-1.5, rng.normal(size=(len(structure), 3)), stress + stress.T)


def test_the_space_group_has_its_symbol_and_number(rocksalt: Structure) -> None:
    assert space_group(rocksalt, SYMPREC) == SpaceGroup("Fm-3m", 225)
    assert space_group(WURTZITE, SYMPREC) == SpaceGroup("P6_3mc", 186)


def test_forces_where_symmetry_leaves_no_freedom_are_projected_to_zero(
    rocksalt: Structure,
) -> None:
    projected = symmetrised(rocksalt, answered(rocksalt), SYMPREC)
    np.testing.assert_allclose(projected.forces, 0, atol=1e-12)
    stress = answered(rocksalt).stress
    assert stress is not None
    np.testing.assert_allclose(projected.stress, np.eye(3) * np.trace(stress) / 3, atol=1e-12)
    assert projected.energy == -1.5


def test_projected_forces_obey_every_operation_and_a_second_projection_changes_nothing() -> None:
    once = symmetrised(WURTZITE, answered(WURTZITE), SYMPREC)
    operations = symmetry_operations(WURTZITE, SYMPREC)
    assert len(operations.rotations) == 12
    for rotation, images in zip(operations.rotations, operations.images, strict=True):
        np.testing.assert_allclose(once.forces[images], once.forces @ rotation, atol=1e-12)
        np.testing.assert_allclose(once.stress, rotation.T @ once.stress @ rotation, atol=1e-12)
    twice = symmetrised(WURTZITE, once, SYMPREC)
    np.testing.assert_allclose(twice.forces, once.forces, atol=1e-12)
    assert np.abs(once.forces[:, 2]).min() > 1e-3


def test_the_rotations_of_a_hexagonal_crystal_are_orthogonal() -> None:
    turned = symmetry_operations(WURTZITE, SYMPREC).rotations
    np.testing.assert_allclose(
        turned @ np.swapaxes(turned, 1, 2), np.broadcast_to(np.eye(3), turned.shape), atol=1e-9
    )


def test_an_answer_without_stress_stays_without(rocksalt: Structure) -> None:
    bare = Evaluation(0.0, np.zeros((len(rocksalt), 3)))
    assert symmetrised(rocksalt, bare, SYMPREC).stress is None


def test_the_standard_primitive_cell_is_exact_whatever_the_noise(rocksalt: Structure) -> None:
    noisy = rocksalt.copy()
    noisy.perturb(0.002)
    cell = standard_primitive(noisy, 0.01)
    assert len(cell) == 2
    assert space_group(cell, 1e-8).number == 225
    assert cell.volume == pytest.approx(rocksalt.volume / 4, rel=1e-3)


def test_atoms_on_top_of_each_other_have_no_space_group() -> None:
    overlapping = Structure(Lattice.cubic(3), ["Na", "Na"], [[0, 0, 0], [0, 0, 1e-4]])
    with pytest.raises(StructureError, match="symprec"):
        space_group(overlapping, 0.01)
