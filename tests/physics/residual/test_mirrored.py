"""Mirrored frames: found in any order and folded exactly."""

from __future__ import annotations

import numpy as np
import pytest

from phonotune.physics.residual.mirrored import OddParts


@pytest.fixture
def moves() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.02, size=(3, 8, 3))


def test_pairs_are_found_in_any_order_and_up_to_a_shift(moves: np.ndarray) -> None:
    a, b, c = moves
    parts = OddParts.find(np.array([a, b, -c, -a + 0.1, c]))
    assert parts.first.tolist() == [0, 1, 2]
    assert parts.second.tolist() == [3, 1, 4]
    assert parts.is_pair.tolist() == [True, False, True]


def test_frames_that_are_nearly_opposite_are_no_pair(moves: np.ndarray) -> None:
    parts = OddParts.find(np.array([moves[0], -moves[0] * 1.05]))
    assert not parts.is_pair.any()


def test_a_frame_that_comes_twice_pairs_once(moves: np.ndarray) -> None:
    parts = OddParts.find(np.array([moves[0], -moves[0], -moves[0]]))
    assert parts.second.tolist() == [1, 2]


def test_folding_leaves_no_even_order(moves: np.ndarray) -> None:
    """F = f - 3 u + 7 u² + 2 u³, component by component."""

    def forces(u: np.ndarray) -> np.ndarray:
        return 0.3 - 3.0 * u + 7.0 * u**2 + 2.0 * u**3

    u = moves[0]
    (odd,) = OddParts.find(np.array([u, -u])).fold(np.array([forces(u), forces(-u)]))
    np.testing.assert_allclose(odd, -3.0 * u + 2.0 * u**3, atol=1e-12)


def test_what_is_alone_is_not_folded(moves: np.ndarray) -> None:
    np.testing.assert_array_equal(OddParts.find(moves).fold(moves**2), moves**2)


def equal_moves(length: float) -> np.ndarray:
    drawn = np.random.default_rng(1).normal(size=(64, 3))
    drawn -= drawn.mean(axis=0)
    return drawn * length / np.sqrt(np.mean(np.sum(drawn**2, axis=1)))


def weights(*moves: np.ndarray, harmonic: float = 0.01) -> np.ndarray:
    return OddParts.find(np.array(moves)).weights(np.array(moves), harmonic)


def test_weights_of_single_frames_fall_with_the_fourth_power_of_large_amplitudes() -> None:
    small, half, large = (weights(equal_moves(length))[0] for length in (0.0005, 0.05, 0.1))
    assert small == pytest.approx(1.0, abs=1e-3)
    assert half / large == pytest.approx(16.0, rel=0.05)


def test_a_shift_of_the_whole_crystal_is_no_amplitude() -> None:
    own, shifted = weights(equal_moves(0.01)), weights(equal_moves(0.01) + 0.1)
    assert shifted == pytest.approx(own)
    assert own == pytest.approx([0.5])


def test_a_pair_counts_as_two_labels_where_noise_dominates_and_more_beyond() -> None:
    tiny, usual = (equal_moves(length) for length in (0.0005, 0.025))
    assert weights(tiny, -tiny) / weights(tiny) == pytest.approx([2.0], rel=1e-3)
    assert (weights(usual, -usual) > 10 * weights(usual)).all()
