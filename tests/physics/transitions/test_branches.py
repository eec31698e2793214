from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from phonotune.errors import LabelError
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.transitions import branches
from phonotune.physics.transitions.branches import (
    Start,
    TransitionSettings,
    distinct_modes,
    find_starts,
    interpolate,
    path_energies,
    plan_modes,
    well_minima,
)
from phonotune.physics.wells import directions
from phonotune.ports import Evaluation
from phonotune.schemas.phonon import PhononDocument
from tests.physics.conftest import DOUBLE

SETTINGS = TransitionSettings(max_displacement=0.5)
SYMPREC = 1e-3
GAMMA, X = (0.0, 0.0, 0.0), (0.0, 0.5, 0.5)


def only_at(phonons: PhononDocument, *points: tuple[float, ...]) -> PhononDocument:
    """The planted well has no dispersion: keep the imaginary modes of these q alone."""
    kept = [m for m in phonons.imaginary_modes if tuple(np.abs(m.q)) in points]
    assert kept
    return phonons.model_copy(update={"imaginary_modes": kept})


@pytest.fixture(scope="module")
def gamma_starts(double_well_phonons: PhononDocument) -> list[Start]:
    plans, refused = plan_modes(0, only_at(double_well_phonons, GAMMA), SETTINGS)
    assert refused == []
    return [s for plan in plans for s in find_starts(plan, DOUBLE(plan.structures), SYMPREC)]


def test_degenerate_modes_are_one_mode(double_well_phonons: PhononDocument) -> None:
    modes = distinct_modes(double_well_phonons, 0.01)
    at_gamma = [mode for mode in modes if mode.q == (0, 0, 0)]
    assert len(at_gamma) == 1
    assert sum(mode.q == (0, 0, 0) for mode in double_well_phonons.imaginary_modes) == 3
    assert [m.frequency for m in modes] == sorted(m.frequency for m in modes)


def test_three_directions_of_a_planted_cubic_mode_have_one_two_and_three_times_its_depth(
    gamma_starts: list[Start],
) -> None:
    """The planted energy is a sum over the axes: each component gains K²/16b on its own."""
    single = 1000 * DOUBLE.total_curvature**2 / (16 * DOUBLE.quartic)
    found = {start.plan.mode.direction: start for start in gamma_starts}
    assert {direction: s.space_group for direction, s in found.items()} == {
        "a00": "I4mm",
        "aa0": "Imm2",
        "aaa": "R3m",
    }
    for direction, times in (("a00", 1), ("aa0", 2), ("aaa", 3)):
        assert found[direction].depth == pytest.approx(times * single, rel=0.01)
        assert found[direction].q0 == pytest.approx(np.sqrt(times) * found["a00"].q0, rel=0.01)


def test_a_start_is_the_supercell_displaced_by_q0(gamma_starts: list[Start]) -> None:
    for start in gamma_starts:
        moved = start.structure.cart_coords - start.plan.supercell.cart_coords
        np.testing.assert_allclose(moved, start.q0 * start.plan.pattern, atol=1e-9)
        assert start.structure.species == start.plan.supercell.species


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        ({"max_atoms": 2}, "atom limit"),
        ({"max_cells": 1}, "cell limit"),
        ({"max_branches": 1}, "branch limit"),
    ],
)
def test_what_a_limit_forbids_is_recorded(
    limit: dict[str, int], outcome: str, double_well_phonons: PhononDocument
) -> None:
    phonons = only_at(double_well_phonons, GAMMA, X)
    whole, none = plan_modes(0, phonons, SETTINGS)
    plans, refused = plan_modes(0, phonons, SETTINGS.model_copy(update=limit))
    assert none == []
    assert {branch.outcome for branch in refused} == {outcome}
    assert len(plans) + len(refused) == len(whole)
    assert all(branch.child is None for branch in refused)


def test_directions_beyond_the_most_that_are_followed_are_recorded(
    double_well_phonons: PhononDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    phonons = only_at(double_well_phonons, GAMMA)
    whole, _ = plan_modes(0, phonons, SETTINGS)
    monkeypatch.setattr(branches, "MOST_DIRECTIONS", 1)
    plans, refused = plan_modes(0, phonons, SETTINGS)
    assert [plan.mode.direction for plan in plans] == ["a00"]
    assert {branch.direction for branch in refused} == {"aa0", "aaa"}
    assert {branch.outcome for branch in refused} == {"branch limit"}
    assert len(plans) + len(refused) == len(whole)


def test_a_search_for_directions_that_stopped_at_its_limit_is_recorded(
    double_well_phonons: PhononDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directions, "_MOST_SUBSPACES", 1)
    plans, (refused,) = plan_modes(0, only_at(double_well_phonons, GAMMA), SETTINGS)
    assert plans
    assert (refused.outcome, refused.direction) == ("direction limit", None)


def test_a_stable_crystal_has_nothing_to_follow(harmonic_phonons: PhononDocument) -> None:
    assert plan_modes(0, harmonic_phonons, SETTINGS) == ([], [])


def polynomial(q: np.ndarray, *c: float) -> tuple[np.ndarray, np.ndarray]:
    p = np.polynomial.Polynomial([0.0, 0.0, *c])
    return p(q), p.deriv()(q)


def test_the_minimum_of_a_quartic_is_found_between_the_amplitudes() -> None:
    q = np.linspace(0, 3, 9)
    (q0, depth), *rest = well_minima(q, *polynomial(q, -8.0, 0.0, 2.0))
    assert rest == []
    assert q0 == pytest.approx(np.sqrt(2), rel=3e-3)
    assert depth == pytest.approx(8.0, rel=3e-3)


def test_an_energy_that_is_not_even_has_a_minimum_on_each_side() -> None:
    q = np.linspace(-3, 3, 25)
    minima = well_minima(q, *polynomial(q, -8.0, 1.0, 2.0))
    exact = [(-3 + np.sqrt(9 + 512)) / 16, (-3 - np.sqrt(9 + 512)) / 16]
    assert [q0 for q0, _ in minima] == pytest.approx(exact, rel=3e-3)
    assert minima[1][1] > minima[0][1]


def test_a_single_well_has_no_minimum_but_the_parent() -> None:
    q = np.linspace(0, 3, 9)
    assert well_minima(q, *polynomial(q, 1.0, 0.0, 1.0)) == []


def test_an_energy_that_falls_to_the_end_starts_from_the_end() -> None:
    q = np.linspace(0, 3, 9)
    assert well_minima(q, *polynomial(q, -1.0)) == [(3.0, pytest.approx(9.0))]


def test_a_missing_answer_is_refused(double_well_phonons: PhononDocument) -> None:
    plan = plan_modes(0, only_at(double_well_phonons, GAMMA), SETTINGS)[0][0]
    with pytest.raises(LabelError, match="no answer for frames: 0"):
        find_starts(plan, [None] * len(plan.structures), SYMPREC)


def test_the_pathway_runs_straight_from_cell_to_cell(rocksalt: Structure) -> None:
    end = Structure(
        Lattice(rocksalt.lattice.matrix * 1.1), rocksalt.species, rocksalt.frac_coords + 0.02
    )
    path = interpolate(rocksalt, end, 5)
    np.testing.assert_allclose(path[0].lattice.matrix, rocksalt.lattice.matrix)
    np.testing.assert_allclose(path[4].frac_coords, end.frac_coords)
    np.testing.assert_allclose(path[2].lattice.matrix, rocksalt.lattice.matrix * 1.05)
    np.testing.assert_allclose(path[1].frac_coords, rocksalt.frac_coords + 0.005)


def test_path_energies_are_relative_to_the_parent_and_per_formula_unit(rocksalt: Structure) -> None:
    path = interpolate(rocksalt, rocksalt, 3)
    answers = [Evaluation(e, np.zeros((8, 3))) for e in (-40.0, -40.2, -40.4)]
    assert path_energies(rocksalt, answers, path) == pytest.approx([0, -50, -100])


def test_one_supercell_for_all_phases_is_refused() -> None:
    fixed = PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)))
    with pytest.raises(ValidationError, match="min_length"):
        TransitionSettings(phonon=fixed)
