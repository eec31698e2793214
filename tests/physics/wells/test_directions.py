from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spglib
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from phonotune.physics.little_group import little_group, translation_phases
from phonotune.physics.phonon.files import read_phonopy
from phonotune.physics.phonon.modes import Mode, ModeSpace, displacement_pattern, mode_space
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import commensurate_matrix, formula_units, make_supercell
from phonotune.physics.wells.directions import (
    direction_label,
    directions_of,
    fixed_spaces,
    image_group,
    isotropy_lines,
    mode_directions,
    real_basis,
)
from phonotune.physics.wells.double_well import reverses_by_symmetry
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument

SYMPREC = 1e-4


def space_group_along(mode: Mode, sign: int = 1) -> str:
    """Return the space group of the crystal displaced by 0.2 Å along a mode."""
    matrix = commensurate_matrix(list(mode.q), 16, mode.primitive.lattice)
    cell = make_supercell(mode.primitive, matrix)
    pattern = displacement_pattern(mode, cell, formula_units(cell))
    moved = cell.cart_coords + sign * 0.2 * pattern / np.abs(pattern).max()
    positions = moved @ cell.lattice.inv_matrix
    data = spglib.get_symmetry_dataset(
        (cell.lattice.matrix, positions, list(cell.atomic_numbers)), symprec=1e-3
    )
    return str(data.international)


def groups_by_direction(modes: list[Mode]) -> dict[str | None, str]:
    return {mode.direction: space_group_along(mode) for mode in modes}


def perovskite(vectors: dict[str, list[tuple[int, int, float]]], q: tuple[float, ...]) -> ModeSpace:
    """Return a space spanned by given displacements (atom, axis, size) of cubic BaTiO3."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    cell = Structure(Lattice.cubic(4.0), ["Ba", "Ti", "O", "O", "O"], sites)
    columns = np.zeros((15, len(vectors)), dtype=complex)
    for column, entries in enumerate(vectors.values()):
        for atom, axis, size in entries:
            columns[3 * atom + axis, column] = size * np.exp(
                -2j * np.pi * np.dot(q, cell.frac_coords[atom])
            )
    columns /= np.linalg.norm(columns, axis=0)
    masses = np.array([site.specie.atomic_mass for site in cell])
    return ModeSpace(cell, masses, np.array(q), 0, -5.0, columns)


TILTS = perovskite(
    {
        "about x": [(2, 1, 1.0), (3, 2, -1.0)],
        "about y": [(2, 0, 1.0), (4, 2, -1.0)],
        "about z": [(3, 0, 1.0), (4, 1, -1.0)],
    },
    (0.5, 0.5, 0.5),
)
POLAR = perovskite({axis: [(1, i, 1.0)] for i, axis in enumerate("xyz")}, (0.0, 0.0, 0.0))


def mixed(space: ModeSpace, seed: int) -> ModeSpace:
    """Return the same space in another basis, as another eigensolver may give it."""
    rng = np.random.default_rng(seed)
    d = space.vectors.shape[1]
    unitary, _ = np.linalg.qr(rng.normal(size=(d, d)) + 1j * rng.normal(size=(d, d)))
    return replace(space, vectors=space.vectors @ unitary)


def test_a_polar_mode_of_a_cubic_perovskite_leads_to_its_three_ferroelectric_phases() -> None:
    modes = directions_of(POLAR, SYMPREC)
    assert groups_by_direction(modes) == {"a00": "P4mm", "aa0": "Amm2", "aaa": "R3m"}
    assert {mode.irrep for mode in modes} == {"T1u"}


def test_tilts_at_r_give_i4mcm_imma_and_r3c_by_their_direction() -> None:
    found = groups_by_direction(directions_of(TILTS, SYMPREC))
    assert found == {"a00": "I4/mcm", "aa0": "Imma", "aaa": "R-3c"}


@pytest.mark.parametrize("space", [POLAR, TILTS], ids=["polar", "tilts"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_directions_do_not_depend_on_the_basis_the_solver_chose(
    space: ModeSpace, seed: int
) -> None:
    for ours, theirs in zip(
        directions_of(space, SYMPREC), directions_of(mixed(space, seed), SYMPREC), strict=True
    ):
        assert (ours.direction, ours.irrep) == (theirs.direction, theirs.irrep)
        overlap = abs(np.vdot(ours.eigenvector, theirs.eigenvector))
        assert overlap == pytest.approx(1.0, abs=1e-6)


def test_the_most_symmetric_direction_comes_first_and_moves_along_a_cube_axis() -> None:
    first = directions_of(mixed(POLAR, 7), SYMPREC)[0]
    assert first.direction == "a00"
    np.testing.assert_allclose(np.abs(first.eigenvector[1]), [1, 0, 0], atol=1e-6)


def test_a_mode_of_one_dimension_has_one_direction(copper_phonons: PhononDocument) -> None:
    """Longitudinal at X of an fcc metal."""
    modes = mode_directions(copper_phonons, np.array([0.5, 0.5, 0.0]), 2, 0.01)
    assert [(mode.direction, mode.irrep) for mode in modes] == [("a", "A2u")]


def wave(phonons: PhononDocument, length: int) -> list[Mode]:
    """Return the directions of the longitudinal wave of a metal, ``length`` layers long, along 001."""
    return mode_directions(phonons, np.array([1 / length, 1 / length, 0.0]), 2, 0.01)


def test_two_phases_of_a_wave_of_four_cells_are_told_apart(copper_phonons: PhononDocument) -> None:
    """Nodes on atoms, or between them."""
    modes = wave(copper_phonons, 4)
    assert [mode.direction for mode in modes] == ["a", "a@45"]
    patterns = []
    for mode in modes:
        cell = make_supercell(mode.primitive, commensurate_matrix(list(mode.q), 16))
        patterns.append(np.sort(np.linalg.norm(displacement_pattern(mode, cell, 4), axis=1)))
    on_atoms, between = sorted(patterns, key=lambda sizes: float(sizes[0]))
    np.testing.assert_allclose(on_atoms, on_atoms[-1] * np.array([0, 0, 1, 1]), atol=1e-6)
    np.testing.assert_allclose(between, between[-1], atol=1e-6)


def test_a_longitudinal_wave_of_three_cells_has_one_direction_and_two_sides(
    copper_phonons: PhononDocument,
) -> None:
    """Phases 120° apart are translations; the opposite of a wave is another one, on the same line."""
    (mode,) = wave(copper_phonons, 3)
    assert mode.direction == "a"
    cell = make_supercell(mode.primitive, commensurate_matrix(list(mode.q), 16))
    assert not reverses_by_symmetry(cell, displacement_pattern(mode, cell, 3), 1e-3)


def test_modes_of_different_irreps_that_happen_to_be_degenerate_do_not_mix(
    harmonic_phonons: PhononDocument,
) -> None:
    """Springs without direction: longitudinal and transverse waves have one frequency at X."""
    modes = mode_directions(harmonic_phonons, np.array([0.5, 0.5, 0.0]), 2, 0.01)
    assert {mode.irrep for mode in modes} == {None}
    along = [np.abs(mode.eigenvector).max(axis=0) for mode in modes]
    for size in along:
        assert (size[2] < 1e-6) or (np.abs(size[:2]) < 1e-6).all()


def test_matrices_of_a_little_group_are_orthogonal_and_closed() -> None:
    basis = real_basis(TILTS)
    operations = little_group(TILTS.primitive, TILTS.q, SYMPREC)
    group = image_group(basis, operations, translation_phases(TILTS.q))
    assert len(group) == 48
    for matrix in group[:6]:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-10)
        distances = np.abs((group[7] @ matrix)[None] - group).max(axis=(1, 2))
        assert distances.min() < 1e-8


def rotations(order: int) -> NDArray[np.float64]:
    angles = 2 * np.pi * np.arange(order) / order
    turned = [[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in angles]
    return np.array(turned)


def test_rotations_alone_leave_no_line_fixed_and_mirrors_two_kinds() -> None:
    four = rotations(4)
    assert isotropy_lines(four, fixed_spaces(four)[0]) == []
    mirrors = four @ np.diag([1.0, -1.0])
    group = np.concatenate([four, mirrors])
    lines = isotropy_lines(group, fixed_spaces(group)[0])
    assert [line.order for line in lines] == [2, 2]
    assert [len(line.images) for line in lines] == [2, 2]


def test_a_crystal_without_symmetry_keeps_the_direction_of_the_longest_projection() -> None:
    cell = Structure(
        Lattice.from_parameters(4, 5, 6, 81, 95, 103), ["Na", "Cl"], [[0, 0, 0], [0.4, 0.45, 0.53]]
    )
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0][:, :2].astype(complex)
    space = ModeSpace(cell, np.array([23.0, 35.5]), np.zeros(3), 0, 1.0, vectors)
    (mode,) = directions_of(space, SYMPREC)
    assert mode.direction is None


@pytest.mark.parametrize(
    ("components", "label"),
    [
        ([1, 0, 0], "a00"),
        ([0.707107, -0.707107, 0], "a-a0"),
        ([0.8, 0.6, 0], "ab0"),
        ([0.707107, 0.707107j], "aa@0,90"),
    ],
)
def test_labels_name_magnitudes_signs_and_phases(components: list[complex], label: str) -> None:
    assert direction_label(np.array(components, dtype=complex)) == label


@pytest.mark.real_data
def test_strontium_titanate_tilts_by_the_phases_of_its_r_mode(real_data_dir: Path) -> None:
    source = Source(role="reference", evaluator="vasp")
    file = real_data_dir / "srtio3-vasp" / "phonopy_SrTiO3.yaml.xz"
    phonons = read_phonopy(file, PhononSettings(mesh_density=20.0), source)
    tilts = mode_directions(phonons, np.array([0.5, 0.5, 0.5]), None, 0.01)
    assert tilts[0].frequency < -1
    assert groups_by_direction(tilts) == {"a00": "I4/mcm", "aa0": "Imma", "aaa": "R-3c"}
    polar = mode_directions(phonons, np.zeros(3), None, 0.01)
    assert groups_by_direction(polar) == {"a00": "P4mm", "aa0": "Amm2", "aaa": "R3m"}
    (in_phase,) = mode_directions(phonons, np.array([0.5, 0.5, 0.0]), None, 0.01)
    assert space_group_along(in_phase) == "P4/mbm"


def test_the_degenerate_space_is_that_of_the_frequencies(harmonic_phonons: PhononDocument) -> None:
    assert mode_space(harmonic_phonons, np.zeros(3), 4, 0.01).vectors.shape == (6, 3)
