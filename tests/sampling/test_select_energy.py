import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from phonotune.sampling.pool import Pool
from phonotune.sampling.select_energy import by_energy, spread_by_energy
from phonotune.sampling.settings import SelectSettings
from phonotune.schemas.dataset import Frame


def _relaxation(energies: list[float], group: str = "a") -> list[Frame]:
    """Make frames whose cell length tells their step."""
    return [
        Frame(Structure(Lattice.cubic(3.0 + i), ["Cu"], [[0, 0, 0]]), energy=e, group=group)
        for i, e in enumerate(energies)
    ]


def _steps(energies: list[float], wanted: int = 4, span: float = 0.9) -> list[int]:
    return [c.index for c in spread_by_energy(_relaxation(energies), wanted, span)]


def test_frames_are_equally_spaced_in_energy_from_the_start_to_the_span() -> None:
    energies = list(-5.0 - 2.0 * np.linspace(0, 1, 101))
    chosen = spread_by_energy(_relaxation(energies), 4, 0.9)
    assert [c.index for c in chosen] == [0, 30, 60, 90]
    assert chosen[1].reason == "energy 30 % of the way down"
    assert [c.score for c in chosen] == pytest.approx([0.0, 0.3, 0.6, 0.9])


def test_spacing_is_in_energy_and_not_in_steps() -> None:
    energies = list(np.exp(-np.arange(40) / 3.0))
    found = np.array([energies[i] for i in _steps(energies)])
    np.testing.assert_allclose(found, [1.0, 0.7, 0.4, 0.1], atol=0.05)


def test_a_trajectory_that_overshoots_is_measured_to_its_lowest_energy() -> None:
    assert _steps([1.0, 0.5, 0.0, 0.1], wanted=2, span=1.0) == [0, 2]


def test_a_short_trajectory_gives_what_it_has_and_says_so() -> None:
    chosen = spread_by_energy(_relaxation([1.0, 0.0]), 4, 0.9)
    assert [c.index for c in chosen] == [0, 1]
    assert all("only 2 of 4 frames wanted" in c.reason for c in chosen)


@pytest.mark.parametrize("energies", [[1.0], [1.0, 1.0]])
def test_a_relaxation_that_gains_nothing_gives_one_frame(energies: list[float]) -> None:
    (choice,) = spread_by_energy(_relaxation(energies), 4, 0.9)
    assert "gained no energy" in choice.reason


def test_nothing_wanted_gives_nothing() -> None:
    assert _steps([1.0, 0.0], wanted=0) == []


@settings(max_examples=60, deadline=None)
@given(
    energies=st.lists(st.floats(-10, 10), min_size=1, max_size=12),
    wanted=st.integers(1, 6),
    span=st.floats(0.1, 1.0),
)
def test_no_frame_is_ever_taken_twice(energies: list[float], wanted: int, span: float) -> None:
    steps = _steps(energies, wanted, span)
    assert len(steps) == len(set(steps))
    if min(energies) < max(energies):
        assert len(steps) == min(wanted, len(energies))


def _counts(trajectories: dict[str, list[float]], n: int) -> dict[str, int]:
    pool = Pool([f for g, e in trajectories.items() for f in _relaxation(e, g)])
    chosen = by_energy(pool, n, SelectSettings(), np.random.default_rng(0))
    groups = [pool.frames[c.index].group for c in chosen]
    return {group: groups.count(group) for group in trajectories}


def test_the_share_that_is_left_goes_to_the_trajectories_nearest_to_their_minimum() -> None:
    fall = np.linspace(1.0, 0.0, 20)
    drops = {"-5": 4.0, "-2.5": 1.0, "+2.5": 2.0, "+5": 8.0}
    counts = _counts({g: list(d * fall) for g, d in drops.items()}, 14)
    assert counts == {"-5": 3, "-2.5": 4, "+2.5": 4, "+5": 3}


def test_a_short_trajectory_leaves_its_share_to_the_others() -> None:
    long = list(np.linspace(1.0, 0.0, 20))
    assert _counts({"a": [1.0, 0.5], "b": long, "c": [2.0, 2.0]}, 10) == {"a": 2, "b": 7, "c": 1}
