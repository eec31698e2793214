import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.physics.cubic_supercell import cubic_supercell_matrix, distortion
from phonotune.physics.supercell import supercell_matrix

CRYSTALS = {
    "silicon, primitive": Structure.from_spacegroup(
        "Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]
    ).get_primitive_structure(),
    "zinc oxide": Structure.from_spacegroup(
        "P6_3mc",
        Lattice.hexagonal(3.25, 5.2),
        ["Zn", "O"],
        [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]],
    ),
    "rutile": Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    ),
    "baddeleyite": Structure.from_spacegroup(
        "P2_1/c",
        Lattice.monoclinic(5.15, 5.21, 5.32, 99.2),
        ["Zr", "O", "O"],
        [[0.275, 0.04, 0.208], [0.07, 0.33, 0.345], [0.45, 0.757, 0.48]],
    ),
}
every_crystal = pytest.mark.parametrize("crystal", CRYSTALS.values(), ids=CRYSTALS)


@every_crystal
@pytest.mark.parametrize("length", [5.0, 10.0])
def test_images_are_as_far_apart_as_asked(crystal: Structure, length: float) -> None:
    cell = np.array(cubic_supercell_matrix(crystal, length)) @ crystal.lattice.matrix
    assert min(Lattice(cell).get_lll_reduced_lattice().abc) >= length - 1e-6


@every_crystal
def test_a_large_cell_is_nearer_to_a_cube_than_the_compact_one(crystal: Structure) -> None:
    cells = [
        np.array(find(crystal, 10.0, 300)) @ crystal.lattice.matrix
        for find in (cubic_supercell_matrix, supercell_matrix)
    ]
    assert distortion(cells[0]) < 0.4 < distortion(cells[1])


def test_a_primitive_cell_of_silicon_becomes_a_cube_by_a_matrix_that_is_not_diagonal() -> None:
    silicon = CRYSTALS["silicon, primitive"]
    matrix = np.array(cubic_supercell_matrix(silicon, 10.0))
    assert np.any(matrix - np.diag(np.diag(matrix)))
    assert distortion(matrix @ silicon.lattice.matrix) == pytest.approx(0.0, abs=1e-8)
    assert round(np.linalg.det(matrix)) * len(silicon) == 64


def test_too_few_atoms_for_a_cube_give_the_compact_cell() -> None:
    rutile = CRYSTALS["rutile"]
    assert cubic_supercell_matrix(rutile, 10.0, 100) == supercell_matrix(rutile, 10.0, 100)


def test_distortion_does_not_depend_on_size_or_orientation() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert distortion(7.0 * rotation) == pytest.approx(0.0, abs=1e-12)
    cell = np.diag([1.0, 1.0, 2.0])
    assert distortion(3.0 * cell @ rotation) == pytest.approx(distortion(cell))
