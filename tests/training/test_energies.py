import numpy as np
import pytest

from phonotune.training.energies import refit_energies


def test_planted_shifts_are_found_from_independent_compositions():
    composition = np.array([[4.0, 4.0], [1.0, 3.0], [16.0, 8.0]])
    refit = refit_energies([11, 17], composition, composition @ [0.3, -1.2])
    assert refit.shifts == pytest.approx({11: 0.3, 17: -1.2})
    assert refit.transferable


def test_one_composition_gets_the_smallest_shifts_and_says_so():
    composition = np.array([[4.0, 4.0], [32.0, 32.0]])
    refit = refit_energies([11, 17], composition, composition @ [0.3, -1.2])
    assert refit.shifts == pytest.approx({11: -0.45, 17: -0.45})
    assert not refit.transferable
    assert "not transferable" in refit.text


def test_large_and_small_cells_weigh_alike():
    composition = np.array([[2.0], [200.0]])
    refit = refit_energies([14], composition, np.array([2.0, 0.0]))
    assert refit.shifts == pytest.approx({14: 0.5})


def test_without_energy_labels_nothing_shifts():
    refit = refit_energies([11, 17], np.zeros((0, 2)), np.zeros(0))
    assert set(refit.shifts.values()) == {0.0}
    assert "no energy label" in refit.text
