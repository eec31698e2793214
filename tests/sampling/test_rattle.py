import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, InputError
from phonotune.sampling.rattle import closest_pair, rattle, small_rattles
from phonotune.sampling.settings import RattleSettings


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture
def rocksalt() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture
def supercell(rocksalt: Structure) -> Structure:
    return rocksalt * (2, 2, 2)


@pytest.fixture
def triclinic() -> Structure:
    cell = Lattice([[4.1, 0.3, -0.2], [0.1, 4.4, 0.6], [-0.5, 0.2, 4.9]])
    return Structure(cell, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def _displacements(before: Structure, after: Structure) -> np.ndarray:
    return after.cart_coords - before.frac_coords @ after.lattice.matrix


def test_volumes_are_exactly_those_asked_for(
    supercell: Structure, rng: np.random.Generator
) -> None:
    candidates = rattle(supercell, RattleSettings(), rng)
    ratios = [c.structure.volume / supercell.volume for c in candidates]
    np.testing.assert_allclose(ratios, [0.95, 0.975, 1.0, 1.025, 1.05], rtol=1e-12)


def test_each_cell_is_its_own_group_named_by_its_volume(
    supercell: Structure, rng: np.random.Generator
) -> None:
    settings = RattleSettings(n_cells=4, volumes=(-2.5, -0.0, 1.25))
    groups = [c.group for c in rattle(supercell, settings, rng)]
    assert groups == ["volume -2.5 %", "volume +0.0 %", "volume +1.25 %", "volume -2.5 % #2"]
    plain = RattleSettings(n_cells=2, volumes=(0.0,), strain=0.0, amplitude=0.03)
    candidates = rattle(supercell, plain, rng)
    assert [c.group for c in candidates] == ["undeformed", "undeformed #2"]
    for candidate in candidates:
        np.testing.assert_allclose(
            candidate.structure.lattice.matrix, supercell.lattice.matrix, atol=1e-12
        )


@pytest.mark.parametrize("amplitude", [0.03, 0.1])
def test_lengths_of_displacements_peak_at_the_amplitude(
    rocksalt: Structure, rng: np.random.Generator, amplitude: float
) -> None:
    settings = RattleSettings(n_cells=1, volumes=(0.0,), amplitude=amplitude, min_distance=0.3)
    big = rocksalt * (5, 5, 5)
    (candidate,) = rattle(big, settings, rng)
    moves = _displacements(big, candidate.structure)
    lengths = np.linalg.norm(moves, axis=1)
    assert np.sqrt((lengths**2).mean()) == pytest.approx(np.sqrt(1.5) * amplitude, rel=0.05)
    assert lengths.mean() == pytest.approx(2 / np.sqrt(np.pi) * amplitude, rel=0.05)
    counts, edges = np.histogram(lengths / amplitude, bins=np.arange(0.1, 3.0, 0.4))
    peak = int(np.argmax(counts))
    assert edges[peak] <= 1.0 <= edges[peak + 1]
    np.testing.assert_allclose(moves.mean(axis=0), 0, atol=0.1 * amplitude)


def test_lengths_and_angles_stay_within_the_strain(
    triclinic: Structure, rng: np.random.Generator
) -> None:
    settings = RattleSettings(n_cells=20, volumes=(0.0,), amplitude=0.0, min_distance=0.0)
    before = triclinic.lattice
    angles = []
    for candidate in rattle(triclinic, settings, rng):
        after = candidate.structure.lattice
        angles.append(np.array(after.angles) / before.angles - 1)
        shape = (np.array(after.abc) / after.volume ** (1 / 3)) / (
            np.array(before.abc) / before.volume ** (1 / 3)
        )
        assert np.ptp(np.log(shape)) <= np.log(1.02 / 0.98) + 1e-9
    assert np.abs(angles).max() <= 0.02 + 1e-9
    assert np.abs(angles).max() > 0.01


@pytest.mark.parametrize("handed", [1, -1])
def test_the_cell_is_stretched_but_not_rotated(
    triclinic: Structure, rng: np.random.Generator, handed: int
) -> None:
    mirrored = Structure(
        Lattice(handed * triclinic.lattice.matrix), triclinic.species, triclinic.frac_coords
    )
    (candidate,) = rattle(mirrored, RattleSettings(n_cells=1), rng)
    change = np.linalg.solve(mirrored.lattice.matrix, candidate.structure.lattice.matrix)
    np.testing.assert_allclose(change, change.T, atol=1e-12)
    assert np.linalg.eigvalsh(change).min() > 0.9


def test_no_two_atoms_are_closer_than_the_limit(
    supercell: Structure, rng: np.random.Generator
) -> None:
    settings = RattleSettings(n_cells=6, amplitude=0.15, min_distance=0.8)
    for candidate in rattle(supercell, settings, rng):
        assert closest_pair(candidate.structure)[0] >= 0.8


def test_images_of_one_atom_count_as_a_pair() -> None:
    ratio, pair = closest_pair(Structure(Lattice.cubic(2.0), ["Na"], [[0, 0, 0]]))
    assert ratio == pytest.approx(2.0 / (2 * 1.66))
    assert pair == "Na-Na at 2.00 Å"
    assert closest_pair(Structure(Lattice.cubic(9.0), ["Na"], [[0, 0, 0]]))[0] == np.inf


def test_a_crystal_that_cannot_keep_its_atoms_apart_is_refused(
    supercell: Structure, rng: np.random.Generator
) -> None:
    with pytest.raises(InputError, match=r"at volume -40 %.*in 50 draws.*Lower amplitude"):
        rattle(supercell, RattleSettings(volumes=(-40.0,), min_distance=1.0), rng)


def test_the_generator_alone_decides_the_cells(supercell: Structure) -> None:
    first, again, other = (
        rattle(supercell, RattleSettings(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert all(a.structure == b.structure for a, b in zip(first, again, strict=True))
    assert all(a.structure != b.structure for a, b in zip(first, other, strict=True))


def test_the_supercell_itself_is_left_as_it_was(
    supercell: Structure, rng: np.random.Generator
) -> None:
    before = supercell.copy()
    rattle(supercell, RattleSettings(), rng)
    assert supercell == before


def test_reasons_are_words_and_numbers(supercell: Structure, rng: np.random.Generator) -> None:
    reason = rattle(supercell, RattleSettings(), rng)[0].reason
    assert reason.startswith(
        "volume -5.0 %, lengths and angles within ±2 %, atoms displaced by 0.1"
    )


def test_small_rattles_move_every_atom_equally_far_in_the_undeformed_cell(
    supercell: Structure, rng: np.random.Generator
) -> None:
    candidates = small_rattles(supercell, RattleSettings(small=(0.02, 0.03)), rng)
    assert [c.group for c in candidates] == ["small rattle", "small rattle #2"]
    assert all(c.fixed for c in candidates)
    for candidate, length in zip(candidates, (0.02, 0.03), strict=True):
        after = candidate.structure
        np.testing.assert_allclose(after.lattice.matrix, supercell.lattice.matrix, atol=1e-12)
        lengths = np.linalg.norm(_displacements(supercell, after), axis=1)
        np.testing.assert_allclose(lengths, length, atol=1e-10)
    assert "every atom displaced by 0.03 Å" in candidates[1].reason


def test_mirrored_small_rattles_are_opposite_and_of_one_group(
    supercell: Structure, rng: np.random.Generator
) -> None:
    settings = RattleSettings(small=(0.02, 0.02, 0.03))
    candidates = small_rattles(supercell, settings, rng, mirrored=True)
    assert [c.group for c in candidates] == ["small rattle", "small rattle", "small rattle #3"]
    first, second, third = (_displacements(supercell, c.structure) for c in candidates)
    np.testing.assert_allclose(second, -first, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(third, axis=1), 0.03, atol=1e-10)
    assert candidates[1].reason.endswith("opposite to the one before")


@pytest.mark.parametrize("lengths", [(0.02, 0.03), (0.02,), ()])
def test_mirrored_small_rattles_need_lengths_in_pairs(lengths: tuple[float, ...]) -> None:
    assert not RattleSettings(small=lengths).goes_in_pairs
    with pytest.raises(ConfigError, match=r"need lengths in pairs, found small = "):
        RattleSettings(small=lengths, mirrored=True)


def test_directions_of_small_rattles_are_uniform(
    rocksalt: Structure, rng: np.random.Generator
) -> None:
    (candidate,) = small_rattles(rocksalt * (5, 5, 5), RattleSettings(small=(0.03,)), rng)
    moves = _displacements(rocksalt * (5, 5, 5), candidate.structure) / 0.03
    np.testing.assert_allclose(moves.T @ moves / len(moves), np.eye(3) / 3, atol=0.05)


def test_the_defaults_are_five_cells_and_two_small_rattles() -> None:
    settings = RattleSettings()
    assert (settings.method, settings.n_cells, len(settings.small)) == ("recipe", 5, 2)
    assert all(0.02 <= length <= 0.03 for length in settings.small)


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"Unknown rattle method 'phonons'\. Did you mean 'phonon'"
    ):
        RattleSettings(method="phonons")


@pytest.mark.parametrize(
    ("settings", "shortest"),
    [
        ({}, 10.0),
        ({"supercell": "small"}, 5.0),
        ({"supercell": "primitive"}, None),
        ({"min_length": 7.5}, 7.5),
    ],
)
def test_sizes_of_supercells_have_names(settings: dict, shortest: float | None) -> None:
    assert RattleSettings(**settings).shortest_vector == shortest
