"""Ridge regression against plain linear algebra, and what it says of its own error."""

from __future__ import annotations

import numpy as np
import pytest

from phonotune.physics.residual.ridge import STRENGTHS, RidgeFit, fit_ridge, least_squares


def problem(
    n_data: int, n_parameters: int, noise: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(n_data, n_parameters))
    truth = rng.normal(size=n_parameters)
    return design, truth, design @ truth + noise * rng.normal(size=n_data)


def fit(design: np.ndarray, data: np.ndarray, n_blocks: int = 4, **changes: np.ndarray) -> RidgeFit:
    given = {
        "blocks": np.arange(len(data)) % n_blocks,
        "weights": np.ones(len(data)),
        "free": np.zeros((len(data), 0)),
    }
    return fit_ridge(design, data, **(given | changes))


def test_exact_data_are_fitted_without_a_penalty() -> None:
    design, truth, data = problem(40, 7, noise=0.0)
    found = fit(design, data)
    np.testing.assert_allclose(found.coefficients, truth, atol=1e-9)
    assert found.effective_parameters == pytest.approx(7)
    assert found.error_after < 1e-8 * found.error_before


@pytest.mark.parametrize("n_parameters", [5, 60])
def test_the_stated_error_is_that_of_fits_without_each_block(n_parameters: int) -> None:
    """With blocks larger and smaller than the number of parameters."""
    design, _, data = problem(40, n_parameters, noise=0.3)
    found = fit(design, data)
    penalty = found.strength * np.linalg.norm(design, 2) ** 2
    blocks, errors = np.arange(40) % 4, []
    for block in range(4):
        seen, left = blocks != block, blocks == block
        square = design[seen].T @ design[seen] + penalty * np.eye(n_parameters)
        own = np.linalg.solve(square, design[seen].T @ data[seen])
        errors.append(data[left] - design[left] @ own)
    assert found.error_after == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)


def test_noise_about_nothing_is_shrunk_away() -> None:
    rng = np.random.default_rng(1)
    found = fit(rng.normal(size=(40, 30)), rng.normal(size=40))
    assert found.strength >= 1.0
    assert np.linalg.norm(found.coefficients) < 0.5
    assert found.error_after < 1.1 * found.error_before


def test_free_directions_are_fitted_whatever_their_size() -> None:
    rng = np.random.default_rng(2)
    design, truth, data = problem(40, 6, noise=0.0)
    free = rng.normal(size=(40, 2))
    found = fit(design, data + free @ [300.0, -500.0], free=free)
    np.testing.assert_allclose(found.coefficients, truth, atol=1e-8)
    nothing = fit(design, free @ [300.0, -500.0], free=free)
    np.testing.assert_allclose(nothing.coefficients, 0.0, atol=1e-8)


def test_rows_of_no_weight_do_not_count() -> None:
    design, truth, data = problem(40, 6, noise=0.0)
    spoilt = data.copy()
    spoilt[10:] += 5.0
    weights = np.where(np.arange(40) < 10, 1.0, 1e-12)
    np.testing.assert_allclose(fit(design, spoilt, weights=weights).coefficients, truth, atol=1e-3)


def test_draws_spread_as_the_coefficients_of_repeated_experiments() -> None:
    design, truth, _ = problem(60, 5, noise=0.0)
    rng = np.random.default_rng(3)
    fits = [fit(design, design @ truth + 0.2 * rng.normal(size=60)) for _ in range(200)]
    measured = np.std([found.coefficients for found in fits], axis=0)
    stated = np.std([fits[0].draw(rng) for _ in range(400)], axis=0)
    np.testing.assert_allclose(stated, measured, rtol=0.35)


def test_what_the_data_do_not_say_is_as_uncertain_as_coefficients_are_large() -> None:
    design, _, data = problem(20, 200, noise=0.0)
    found = fit(design, data)
    rng = np.random.default_rng(4)
    unseen = np.linalg.svd(design)[2][20:]
    spread = np.std([unseen @ found.draw(rng) for _ in range(100)])
    assert 0.2 < spread < 5.0
    assert np.isfinite(found.coefficients).all()


def test_a_plain_fit_is_the_shortest_where_it_is_not_unique() -> None:
    design, _, data = problem(10, 30, noise=0.0)
    np.testing.assert_allclose(least_squares(design, data), np.linalg.pinv(design) @ data)


def test_strengths_are_tried_strongest_first() -> None:
    assert (np.diff(STRENGTHS) < 0).all()


def test_a_nuisance_is_fitted_beside_and_forgotten() -> None:
    rng = np.random.default_rng(5)
    design, truth, data = problem(120, 6, noise=0.01)
    nuisance = rng.normal(size=(120, 20))
    spoilt = data + nuisance @ rng.normal(size=20)
    found = fit(design, spoilt, nuisance=nuisance)
    np.testing.assert_allclose(found.coefficients, truth, atol=0.02)
    assert np.abs(fit(design, spoilt).coefficients - truth).max() > 0.1
    assert found.noise == pytest.approx(0.01, rel=0.3)


def test_a_bias_as_large_as_the_coefficients_leaves_nothing_but_uncertainty() -> None:
    design, _, data = problem(60, 5, noise=0.1)
    found = fit(design, data)
    none, most = found.shrunk(found.prior), found.shrunk(0.001 * found.prior)
    assert none.kept == 0.0
    assert not none.coefficients.any()
    rng = np.random.default_rng(6)
    spread = np.std([none.draw(rng) for _ in range(200)], axis=0)
    np.testing.assert_allclose(spread, np.sqrt(found.prior), rtol=0.2)
    np.testing.assert_allclose(most.coefficients, 0.997 * found.coefficients)


def test_blocks_that_leave_more_than_their_weight_states_are_told() -> None:
    design, _, data = problem(200, 5, noise=0.1)
    data[:50] += 0.9 * np.random.default_rng(7).normal(size=50)
    found = fit(design, data, blocks=np.repeat(np.arange(4), 50))
    assert found.block_noise[0] > 2.0
    assert (found.block_noise[1:] < 0.6).all()
