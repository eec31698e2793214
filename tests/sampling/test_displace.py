import sys

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError
from phonotune.sampling.displace import DISPLACERS
from phonotune.sampling.rattle import rattle
from phonotune.sampling.settings import RattleSettings


@pytest.fixture
def supercell() -> Structure:
    cell = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    return cell * (2, 2, 2)


def still(cell: Structure, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-0.05, 0.05, size=(len(cell), 3))


@pytest.mark.parametrize("method", DISPLACERS)
def test_every_method_is_decided_by_the_generator_alone(method: str, supercell: Structure) -> None:
    if method == "mc":
        pytest.importorskip("hiphive")
    settings = RattleSettings(method=method, n_cells=2)
    first, again, other = (
        rattle(supercell, settings, np.random.default_rng(seed), still) for seed in (1, 1, 2)
    )
    assert [c.structure for c in first] == [c.structure for c in again]
    assert [c.structure for c in first] != [c.structure for c in other]


def test_displacements_along_modes_are_those_that_are_given(supercell: Structure) -> None:
    def by_one_tenth(cell: Structure, rng: np.random.Generator) -> np.ndarray:
        return np.full((len(cell), 3), 0.1)

    settings = RattleSettings(method="phonon", n_cells=1, volumes=(0.0,), strain=0.0)
    (candidate,) = rattle(supercell, settings, np.random.default_rng(0), by_one_tenth)
    np.testing.assert_allclose(
        candidate.structure.cart_coords, supercell.cart_coords + 0.1, atol=1e-10
    )


def test_modes_that_are_not_given_are_asked_for(supercell: Structure) -> None:
    with pytest.raises(ConfigError, match="'phonon' needs the phonons of a model"):
        rattle(supercell, RattleSettings(method="phonon"), np.random.default_rng(0))


def test_monte_carlo_without_hiphive_says_what_to_install(
    supercell: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hiphive", None)
    monkeypatch.setitem(sys.modules, "hiphive.structure_generation.rattle", None)
    with pytest.raises(
        ConfigError, match=r"'mc' needs hiphive.*Install phonotune\[sampling\]"
    ) as e:
        rattle(supercell, RattleSettings(method="mc"), np.random.default_rng(0))
    assert "\n" not in str(e.value)


def test_monte_carlo_displaces_as_far_as_asked_and_keeps_distances(supercell: Structure) -> None:
    pytest.importorskip("hiphive")
    plain, careful = (
        RattleSettings(method=m, n_cells=4, volumes=(0.0,), strain=0.0, amplitude=0.2)
        for m in ("recipe", "mc")
    )

    def shortest_and_mean(settings: RattleSettings) -> tuple[float, float]:
        cells = [c.structure for c in rattle(supercell, settings, np.random.default_rng(5))]
        shortest = min(c.get_neighbor_list(4.0)[3].min() for c in cells)
        moves = [np.linalg.norm(c.cart_coords - supercell.cart_coords, axis=1) for c in cells]
        return float(shortest), float(np.mean(moves))

    (free, mean), (kept, careful_mean) = map(shortest_and_mean, (plain, careful))
    assert kept > free
    assert kept > 0.8 * 5.69 / 2
    assert careful_mean == pytest.approx(mean, rel=0.15)
