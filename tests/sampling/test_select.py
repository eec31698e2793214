"""Laws over all selection methods, and what the single ones promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, FramesError
from phonotune.sampling.pool import Pool
from phonotune.sampling.select import choose, select
from phonotune.sampling.select_doptimal import information, start_information
from phonotune.sampling.select_methods import METHODS
from phonotune.sampling.settings import SelectSettings
from phonotune.schemas.base import structure_hash
from phonotune.schemas.dataset import Candidate, Frame

ATOMS, FEATURES, WEIGHTS = 4, 6, 8
every_method = pytest.mark.parametrize("method", METHODS)


def crystal(rng: np.random.Generator) -> Structure:
    cell = Structure(
        Lattice.cubic(5.0),
        ["Na", "Na", "Cl", "Cl"],
        [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0], [0, 0.5, 0]],
    )
    moved = cell.cart_coords + rng.normal(scale=0.1, size=(ATOMS, 3))
    return Structure(cell.lattice, cell.species, moved, coords_are_cartesian=True)


def planted(seed: int = 0, steps: int = 9, fixed: int = 2) -> Pool:
    """Three trajectories, one of which validates, with random features."""
    rng = np.random.default_rng(seed)
    groups = ("volume +0.0 %", "volume -5.0 %", "volume +5.0 %")
    frames = [
        Frame(crystal(rng), energy=-float(i), group=group, origin=f"step {i}")
        for group in groups
        for i in range(steps)
    ]
    return Pool(
        frames=frames,
        fixed=[Frame(crystal(rng), 0.0, group=f"small {i}", origin="small") for i in range(fixed)],
        descriptors=[rng.normal(size=(ATOMS, FEATURES)) for _ in frames],
        fixed_descriptors=[rng.normal(size=(ATOMS, FEATURES)) for _ in range(fixed)],
        features=[rng.normal(size=(3 * ATOMS, WEIGHTS)) for _ in frames],
        fixed_features=[0.1 * rng.normal(size=(3 * ATOMS, WEIGHTS)) for _ in range(fixed)],
    )


def chosen_by(method: str, pool: Pool, seed: int = 3, **changes: object) -> list[Candidate]:
    chosen = SelectSettings(method=method, **changes)
    return select(pool, chosen, np.random.default_rng(seed))


def hashes(candidates: list[Candidate]) -> list[str]:
    return [structure_hash(c.structure) for c in candidates]


@every_method
@pytest.mark.parametrize("budget", [8, 12, 20])
def test_the_budget_is_kept_to_the_label(method: str, budget: int) -> None:
    candidates = chosen_by(method, planted(), budget=budget)
    assert len(candidates) == budget
    assert sum(c.fixed for c in candidates) == 2
    validating = [c for c in candidates if c.group == "volume +0.0 %"]
    assert len(validating) == 4
    assert all(c.reason.startswith("validates: ") for c in validating)


@every_method
def test_no_frame_comes_twice(method: str) -> None:
    names = hashes(chosen_by(method, planted(), budget=24))
    assert len(names) == len(set(names))


@every_method
def test_a_structure_that_is_there_twice_is_labelled_once(method: str) -> None:
    pool = planted(steps=3, fixed=0)
    twice = pool.take([*range(9), *range(3, 9)])
    assert sorted(hashes(chosen_by(method, twice))) == sorted(hashes(chosen_by(method, pool)))


@every_method
def test_a_seed_decides_everything(method: str) -> None:
    first, again = (hashes(chosen_by(method, planted())) for _ in range(2))
    assert first == again


@every_method
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_candidates_does_not_matter(method: str, seed: int) -> None:
    pool = planted()
    order = np.random.default_rng(seed).permutation(len(pool.frames))
    shuffled = pool.take([int(i) for i in order])
    assert chosen_by(method, shuffled) == chosen_by(method, pool)


@every_method
def test_a_small_pool_is_taken_whole(method: str) -> None:
    candidates = chosen_by(method, planted(steps=3), budget=50)
    assert len(set(hashes(candidates))) == len(candidates) == 3 + 6 + 2


@every_method
def test_every_choice_has_a_reason_and_all_but_random_a_score(method: str) -> None:
    chosen = [c for c in chosen_by(method, planted()) if not c.fixed]
    assert all(c.reason for c in chosen)
    scored = [c.score is not None for c in chosen if c.group != "volume +0.0 %"]
    assert all(scored) if method != "random" else not any(scored)


@every_method
def test_without_the_group_that_validates_the_whole_budget_is_chosen(method: str) -> None:
    pool = planted()
    rest = pool.take([i for i, f in enumerate(pool.frames) if f.group != "volume +0.0 %"])
    candidates = chosen_by(method, rest, budget=10)
    assert len(candidates) == 10
    assert not any(c.reason.startswith("validates") for c in candidates)


def test_random_draws_differ_between_seeds() -> None:
    assert hashes(chosen_by("random", planted(), seed=1)) != hashes(
        chosen_by("random", planted(), seed=2)
    )


def test_d_optimal_frames_inform_more_than_any_random_ones() -> None:
    pool = planted(steps=12).sorted()
    gains = [information(j) for j in pool.features or []]
    start = start_information(gains, SelectSettings().ridge)

    def reached(method: str, seed: int) -> float:
        rng = np.random.default_rng(seed)
        picked = choose(pool, 5, SelectSettings(method=method), rng)
        total = start + sum(gains[c.index] for c in picked)
        return float(np.linalg.slogdet(total)[1])

    assert reached("doptimal", 0) > max(reached("random", seed) for seed in range(20))


def test_d_optimal_skips_what_a_chosen_frame_tells_already() -> None:
    pool = planted(steps=4, fixed=0).sorted()
    features = [0.01 * j for j in pool.features or []]
    features[5] = np.vstack([50.0 * np.eye(WEIGHTS), np.zeros((4, WEIGHTS))])
    features[6] = features[5].copy()
    one_sided = np.zeros((12, WEIGHTS))
    one_sided[:, 0] = 1.0
    features[7] = one_sided
    told = replace(pool, features=features)
    (first,) = choose(told, 1, SelectSettings(method="doptimal"), np.random.default_rng(0))
    assert first.index == 5
    known = replace(told, fixed_features=[features[5]])
    chosen = choose(known, 12, SelectSettings(method="doptimal"), np.random.default_rng(0))
    scores = {c.index: c.score for c in chosen}
    assert scores[5] == pytest.approx(WEIGHTS * np.log(2 / 1), rel=1e-2)
    assert scores[6] == pytest.approx(WEIGHTS * np.log(3 / 2), rel=1e-2)


def test_farthest_points_find_a_planted_cluster() -> None:
    pool = planted(steps=20).sorted()
    descriptors = [0.05 * d for d in pool.descriptors or []]
    clusters = {7: 3.0, 8: 3.0, 25: -4.0, 40: 9.0}
    for index, place in clusters.items():
        descriptors[index] = descriptors[index] + place
    quiet = replace(
        pool, descriptors=descriptors, fixed_descriptors=[0.05 * d for d in pool.fixed_descriptors]
    )
    picked = choose(quiet, 3, SelectSettings(method="fps"), np.random.default_rng(0))
    found = {clusters.get(c.index) for c in picked}
    assert found == {3.0, -4.0, 9.0}


def test_farthest_points_compare_atoms_of_one_element_only() -> None:
    """Sodium where chlorine is known is new; sodium where sodium is known is not."""
    pool = planted(steps=2, fixed=1).sorted()
    sodium, chlorine = np.zeros(FEATURES), np.ones(FEATURES)
    as_known = np.array([sodium, sodium, chlorine, chlorine])
    descriptors = [as_known for _ in pool.frames]
    descriptors[4] = as_known[::-1]
    same = replace(pool, descriptors=descriptors, fixed_descriptors=[as_known])
    (choice,) = choose(same, 1, SelectSettings(method="fps"), np.random.default_rng(0))
    assert choice.index == 4
    assert choice.score == pytest.approx(np.sqrt(FEATURES))


def test_farthest_points_start_from_the_middle_where_nothing_is_known() -> None:
    pool = planted(fixed=0).sorted()
    descriptors = [d + 5.0 for d in pool.descriptors or []]
    descriptors[11] = np.mean(descriptors, axis=(0, 1))[None] + np.zeros((ATOMS, 1))
    picked = choose(
        replace(pool, descriptors=descriptors),
        2,
        SelectSettings(method="fps"),
        np.random.default_rng(0),
    )
    assert picked[0].index == 11
    assert "nearest to the mean" in picked[0].reason


@pytest.mark.parametrize("method", [m for m, (_, needs) in METHODS.items() if needs])
def test_a_method_without_its_features_is_refused(method: str) -> None:
    bare = replace(planted(), descriptors=None, features=None)
    with pytest.raises(
        FramesError, match=f"{method!r} needs the .* Give SelectMaker.make the model"
    ):
        chosen_by(method, bare)


def test_frames_without_energy_and_empty_input_are_refused() -> None:
    frames = planted().frames
    with pytest.raises(FramesError, match="'b' has energy None"):
        select(
            Pool([*frames, Frame(frames[0].structure, group="b")]),
            SelectSettings(),
            np.random.default_rng(0),
        )
    with pytest.raises(FramesError, match="No relaxation"):
        select(Pool([]), SelectSettings(), np.random.default_rng(0))


def test_a_budget_that_leaves_nothing_to_choose_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"budget of 6 .* 4 validate and 2 .* Raise budget"):
        chosen_by("energy", planted(), budget=6)


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'doptimal'"):
        SelectSettings(method="d-optimal")
