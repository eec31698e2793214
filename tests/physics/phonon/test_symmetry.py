from __future__ import annotations

import numpy as np
import pytest
from phonopy import Phonopy
from phonopy.structure.symmetry import Symmetry
from pymatgen.core import Lattice, Structure

from phonotune.physics.phonon.cells import build_phonopy, primitive_rows, to_phonopy
from phonotune.physics.phonon.symmetry import SupercellSymmetry, compose_permutations
from phonotune.physics.supercell import as_matrix

CRYSTALS = {
    "rocksalt": (
        Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
        ),
        [2, 2, 2],
    ),
    "diamond, glides": (
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]),
        [1, 1, 1],
    ),
    "quartz, screws": (
        Structure.from_spacegroup(
            "P3_121",
            Lattice.hexagonal(4.91, 5.4),
            ["Si", "O"],
            [[0.47, 0, 1 / 3], [0.413, 0.268, 0.454]],
        ),
        [2, 2, 1],
    ),
    "no symmetry": (
        Structure(
            Lattice.from_parameters(4, 5, 6, 80, 95, 101),
            ["Cu", "Au"],
            [[0, 0, 0], [0.41, 0.52, 0.57]],
        ),
        [2, 2, 1],
    ),
    "face-centred supercell": (
        Structure(Lattice.cubic(3.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        [[0, 1, 1], [1, 0, 1], [1, 1, 0]],
    ),
}


@pytest.fixture(params=CRYSTALS)
def phonon(request: pytest.FixtureRequest) -> Phonopy:
    structure, supercell = CRYSTALS[request.param]
    return build_phonopy(structure, as_matrix(supercell), primitive_rows(structure, 1e-5), 1e-5)


def test_permutations_are_those_of_phonopy(phonon: Phonopy) -> None:
    theirs = Symmetry(phonon.supercell, 1e-5)
    found = phonon.symmetry
    assert isinstance(found, SupercellSymmetry)
    np.testing.assert_array_equal(found.atomic_permutations, theirs.atomic_permutations)
    np.testing.assert_array_equal(found.get_map_operations(), theirs.get_map_operations())
    np.testing.assert_array_equal(found.get_independent_atoms(), theirs.get_independent_atoms())


def test_site_symmetries_are_those_of_phonopy(phonon: Phonopy) -> None:
    theirs = Symmetry(phonon.supercell, 1e-5)
    for atom in range(len(phonon.supercell)):
        np.testing.assert_array_equal(
            phonon.symmetry.get_site_symmetry(atom), theirs.get_site_symmetry(atom)
        )


def test_displacements_and_force_constants_are_those_of_phonopy() -> None:
    structure, supercell = CRYSTALS["quartz, screws"]
    rows = primitive_rows(structure, 1e-5)
    ours = build_phonopy(structure, as_matrix(supercell), rows, 1e-5)
    theirs = Phonopy(
        to_phonopy(structure),
        supercell_matrix=np.diag(supercell),
        primitive_matrix=np.array(rows).T,
        symprec=1e-5,
    )
    rng = np.random.default_rng(3)
    for phonon in (ours, theirs):
        phonon.generate_displacements(distance=0.01)
    assert len(ours.displacements) == len(theirs.displacements)
    np.testing.assert_allclose(
        [d["displacement"] for d in ours.dataset["first_atoms"]],
        [d["displacement"] for d in theirs.dataset["first_atoms"]],
    )
    forces = rng.normal(size=(len(ours.dataset["first_atoms"]), len(ours.supercell), 3))
    for phonon in (ours, theirs):
        phonon.forces = forces
        phonon.produce_force_constants(calculate_full_force_constants=False)
    np.testing.assert_allclose(ours.force_constants, theirs.force_constants, atol=1e-12)


def test_operations_that_are_no_product_are_left_to_phonopy() -> None:
    rotations = np.array([np.eye(3), np.eye(3), -np.eye(3)], dtype=int)
    assert compose_permutations(rotations, np.zeros((3, 3)), None, 1e-5) is None
