from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, FramesError
from phonotune.sampling.select import select_by_energy
from phonotune.schemas.dataset import Frame


def _relaxation(energies: list[float], group: str = "volume +0.0 %") -> list[Frame]:
    """Make frames whose cell length tells their step."""
    return [
        Frame(Structure(Lattice.cubic(3.0 + i), ["Cu"], [[0, 0, 0]]), energy=e, group=group)
        for i, e in enumerate(energies)
    ]


def _steps(candidates: list) -> list[int]:
    return [round(c.structure.lattice.a - 3.0) for c in candidates]


def test_frames_are_equally_spaced_in_energy_from_the_start_to_the_span() -> None:
    way_down = np.linspace(0, 1, 101)
    chosen = select_by_energy(_relaxation(list(-5.0 - 2.0 * way_down)))
    assert _steps(chosen) == [0, 30, 60, 90]
    assert chosen[1].reason == "energy 30 % of the way down (step 30)"


def test_the_reason_names_the_step_as_the_frame_does() -> None:
    frames = [
        replace(f, origin=f"step {7 * i}") for i, f in enumerate(_relaxation([1.0, 0.1, 0.0]))
    ]
    chosen = select_by_energy(frames, per_trajectory=2)
    assert chosen[1].reason == "energy 90 % of the way down (step 7)"


def test_spacing_is_in_energy_and_not_in_steps() -> None:
    energies = list(np.exp(-np.arange(40) / 3.0))
    chosen = select_by_energy(_relaxation(energies))
    found = np.array([energies[i] for i in _steps(chosen)])
    np.testing.assert_allclose(found, [1.0, 0.7, 0.4, 0.1], atol=0.05)


def test_a_trajectory_that_overshoots_is_measured_to_its_lowest_energy() -> None:
    chosen = select_by_energy(_relaxation([1.0, 0.5, 0.0, 0.1]), per_trajectory=2, span=1.0)
    assert _steps(chosen) == [0, 2]


def test_trajectories_are_kept_apart_even_when_interleaved() -> None:
    a, b = _relaxation([1.0, 0.5, 0.0], "a"), _relaxation([9.0, 8.5, 8.0], "b")
    mixed = [frame for pair in zip(a, b, strict=True) for frame in pair]
    chosen = select_by_energy(mixed, per_trajectory=2)
    assert [c.group for c in chosen] == ["a", "a", "b", "b"]
    assert _steps(chosen) == [0, 2, 0, 2]


def test_a_short_trajectory_gives_what_it_has_and_says_so() -> None:
    chosen = select_by_energy(_relaxation([1.0, 0.0]))
    assert _steps(chosen) == [0, 1]
    assert all("only 2 of 4 frames wanted" in c.reason for c in chosen)


@pytest.mark.parametrize("energies", [[1.0], [1.0, 1.0], [1.0, 2.0, 3.0]])
def test_a_relaxation_that_gains_nothing_gives_its_start_only(energies: list[float]) -> None:
    (candidate,) = select_by_energy(_relaxation(energies))
    assert _steps([candidate]) == [0]
    assert "gained no energy" in candidate.reason


@settings(max_examples=60, deadline=None)
@given(
    energies=st.lists(st.floats(-10, 10), min_size=1, max_size=12),
    wanted=st.integers(1, 6),
    span=st.floats(0.1, 1.0),
)
def test_no_frame_is_ever_taken_twice(energies: list[float], wanted: int, span: float) -> None:
    steps = _steps(select_by_energy(_relaxation(energies), per_trajectory=wanted, span=span))
    assert steps == sorted(set(steps))
    if min(energies) < energies[0]:
        assert len(steps) == min(wanted, len(energies))


def test_frames_without_energy_and_empty_input_are_refused() -> None:
    frames = _relaxation([1.0, 0.5])
    with pytest.raises(FramesError, match="'b' has energy None"):
        select_by_energy([*frames, Frame(frames[0].structure, group="b")])
    with pytest.raises(FramesError, match="No relaxation"):
        select_by_energy([])


@pytest.mark.parametrize(("per_trajectory", "span"), [(0, 0.9), (4, 0.0), (4, 1.1)])
def test_settings_out_of_range_are_refused(per_trajectory: int, span: float) -> None:
    with pytest.raises(ConfigError, match="per_trajectory is"):
        select_by_energy(_relaxation([1.0, 0.0]), per_trajectory, span)
