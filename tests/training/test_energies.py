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


MIXED = np.array([[4.0, 4.0, 0.0], [1.0, 3.0, 2.0], [16.0, 8.0, 1.0]])


def test_isolated_atoms_give_their_shifts_as_they_are_and_the_others_are_fitted():
    residual = MIXED @ [0.3, -1.2, 2.0]
    refit = refit_energies([11, 17, 56], MIXED, residual, {11: 0.3, 56: 2.0})
    assert refit.shifts == pytest.approx({11: 0.3, 17: -1.2, 56: 2.0})
    assert refit.left == pytest.approx(0.0, abs=1e-12)
    assert "from isolated atoms: Z=11, Z=56, the others fitted" in refit.text
    assert refit.transferable


def test_an_isolated_atom_makes_one_composition_determine_the_other_element():
    composition = np.array([[4.0, 4.0], [32.0, 32.0]])
    refit = refit_energies([11, 17], composition, composition @ [0.3, -1.2], {17: -1.2})
    assert refit.shifts == pytest.approx({11: 0.3, 17: -1.2})
    assert refit.transferable


def test_what_isolated_atoms_leave_between_labels_and_foundation_is_told_not_fitted():
    composition = np.array([[4.0, 4.0], [1.0, 3.0]])
    residual = composition @ [0.3, -1.2] + 0.5 * composition.sum(axis=1)
    refit = refit_energies([11, 17], composition, residual, {11: 0.3, 17: -1.2})
    assert refit.shifts == {11: 0.3, 17: -1.2}
    assert refit.left == pytest.approx(0.5)
    assert "this leaves +0.500 eV/atom between the labels and the foundation" in refit.text


def test_isolated_atoms_count_without_energies_of_frames():
    refit = refit_energies([11, 17], np.zeros((0, 2)), np.zeros(0), {17: -1.2, 99: 1.0})
    assert refit.shifts == {11: 0.0, 17: -1.2}
    assert not refit.transferable
