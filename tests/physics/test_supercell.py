from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, InputError, StructureError
from phonotune.physics.supercell import (
    as_matrix,
    check_structure,
    commensurate_matrix,
    formula_units,
    lattice_translations,
    make_supercell,
    supercell_matrix,
)


def perovskite() -> Structure:
    return Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(4.0), ["Ba", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
    )


def shortest_image(lattice: Lattice) -> float:
    return min(np.linalg.norm(p[0]) for p in _images(lattice))


def _images(lattice: Lattice) -> list[tuple[np.ndarray]]:
    grid = np.array(np.meshgrid(*[range(-3, 4)] * 3)).reshape(3, -1).T
    return [(n @ lattice.matrix,) for n in grid if n.any()]


@pytest.mark.parametrize(
    ("value", "matrix"),
    [
        ([2, 3, 4], ((2, 0, 0), (0, 3, 0), (0, 0, 4))),
        ([0, 1, 1, 1, 0, 1, 1, 1, 0], ((0, 1, 1), (1, 0, 1), (1, 1, 0))),
        ([[1.0, 0, 0], [0, 1, 0], [0, 0, 2]], ((1, 0, 0), (0, 1, 0), (0, 0, 2))),
    ],
)
def test_three_or_nine_integers_make_a_matrix(value: list, matrix: tuple) -> None:
    assert as_matrix(value) == matrix


@pytest.mark.parametrize("value", [[2, 2], [1.5, 1, 1], [1, 1, 0], [-1, 1, 1], ["a", "b", "c"]])
def test_what_is_no_supercell_is_refused(value: list) -> None:
    with pytest.raises(ConfigError, match="supercell"):
        as_matrix(value)


@pytest.mark.parametrize(
    "structure",
    [
        perovskite(),
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]),
        Structure.from_spacegroup(
            "P6_3mc",
            Lattice.hexagonal(3.25, 5.2),
            ["Zn", "O"],
            [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]],
        ),
        Structure(Lattice.from_parameters(4, 5, 6, 80, 95, 103), ["Na"], [[0, 0, 0]]),
    ],
    ids=lambda s: s.reduced_formula,
)
def test_the_chosen_supercell_is_long_enough_and_keeps_the_point_group(
    structure: Structure,
) -> None:
    cell = make_supercell(structure, supercell_matrix(structure, 10.0, 300))
    assert shortest_image(cell.lattice) >= 10.0 - 1e-6
    assert len(cell) <= 300
    assert _point_group(cell) == _point_group(structure)


def _point_group(structure: Structure) -> str:
    import spglib

    cell = (structure.lattice.matrix, structure.frac_coords, list(structure.atomic_numbers))
    return spglib.get_symmetry_dataset(cell, symprec=1e-3).pointgroup


def test_a_compact_cell_beats_the_cubic_multiple() -> None:
    matrix = np.array(supercell_matrix(perovskite(), 10.0))
    assert round(np.linalg.det(matrix)) < 27


def test_max_atoms_wins_over_min_length() -> None:
    matrix = np.array(supercell_matrix(perovskite(), 30.0, max_atoms=50))
    assert round(np.linalg.det(matrix)) * 5 <= 50


def test_a_supercell_repeats_each_site_without_wrapping() -> None:
    matrix = ((0, 1, 1), (1, 0, 1), (1, 1, 0))
    cell, structure = make_supercell(perovskite(), matrix), perovskite()
    shifts = lattice_translations(matrix)
    assert len(shifts) == 2
    assert not shifts[0].any()
    expected = structure[1].coords + shifts[1] @ structure.lattice.matrix
    np.testing.assert_allclose(cell[3].coords, expected, atol=1e-12)
    assert cell.volume == pytest.approx(2 * structure.volume)
    check_structure(cell)


@pytest.mark.parametrize(
    ("q", "size"),
    [
        ((0, 0, 0), 1),
        ((0.5, 0, 0), 2),
        ((0.5, 0.5, 0.5), 2),
        ((1 / 3, 1 / 3, 0), 3),
        ((0.25, 0.5, -0.25), 4),
        ((0.5, 1 / 3, 0), 6),
    ],
)
def test_the_commensurate_cell_is_the_smallest_in_which_the_wave_is_periodic(
    q: tuple[float, ...], size: int
) -> None:
    matrix = np.array(commensurate_matrix(q))
    assert round(np.linalg.det(matrix)) == size
    np.testing.assert_allclose(matrix @ q, np.rint(matrix @ q), atol=1e-9)


def test_the_commensurate_cell_is_compact() -> None:
    matrix = np.array(commensurate_matrix((0.5, 0.5, 0.5), lattice=Lattice.cubic(4.0)))
    assert np.linalg.norm(matrix, axis=1).max() < 1.5


def test_an_incommensurate_q_is_refused() -> None:
    with pytest.raises(InputError, match="not commensurate"):
        commensurate_matrix((0.1234, 0, 0))


@pytest.mark.parametrize(
    ("species", "units"), [(["Na", "Cl", "Na", "Cl"], 2), (["O", "O"], 2), (["Si"], 1)]
)
def test_formula_units_are_counted(species: list[str], units: int) -> None:
    sites = [[i / 5, 0, 0] for i in range(len(species))]
    assert formula_units(Structure(Lattice.cubic(10), species, sites)) == units


def test_overlapping_atoms_are_refused_by_name() -> None:
    structure = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.99]])
    with pytest.raises(StructureError, match=r"Atoms 0 \(Na\) and 1 \(Cl\) are 0.040 Å apart"):
        check_structure(structure)


def test_a_short_cell_vector_is_an_overlap_of_an_atom_with_itself() -> None:
    structure = Structure(Lattice.orthorhombic(0.4, 8, 8), ["Na"], [[0, 0, 0]])
    with pytest.raises(StructureError, match="apart"):
        check_structure(structure)


def test_nan_a_far_atom_and_a_flat_left_handed_or_empty_cell_are_refused() -> None:
    far = Structure(Lattice.cubic(4), ["Na"], [[1e18, 0, 0]])
    broken = Structure(Lattice.cubic(4), ["Na"], [[np.nan, 0, 0]])
    flat = Structure(Lattice([[1, 0, 0], [0, 1, 0], [1, 1, 1e-9]]), ["Na"], [[0, 0, 0]])
    left = Structure(Lattice([[0, 4, 0], [4, 0, 0], [0, 0, 4]]), ["Na"], [[0, 0, 0]])
    for structure, word in (
        (broken, "NaN"),
        (far, "away"),
        (flat, "vectors"),
        (left, "left-handed"),
        (Structure(Lattice.cubic(300), ["Na"], [[0, 0, 0]]), "300 Å long"),
        (Structure(Lattice.orthorhombic(1e4, 4, 4), ["Na"], [[0, 0, 0]]), "at most 3000 Å"),
    ):
        with pytest.raises(StructureError, match=word):
            check_structure(structure)


def test_atoms_thousands_of_cells_away_are_searched_in_their_cell() -> None:
    check_structure(Structure(Lattice.cubic(4), ["Na", "Cl"], [[3e4, 2e4, 1e4], [0.5, 0.5, 0.5]]))
    with pytest.raises(StructureError, match="apart"):
        check_structure(Structure(Lattice.cubic(4), ["Na", "Cl"], [[3e4, 2e4, 1e4], [0, 0, 0.05]]))


def test_disorder_and_unknown_elements_are_refused() -> None:
    mixed = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    with pytest.raises(StructureError, match="ordered"):
        check_structure(mixed)
    with pytest.raises(
        StructureError, match=r"Ti .* unknown to the foundation mini; it knows O, Ba"
    ):
        check_structure(perovskite(), elements=["Ba", "O"], owner="mini")
