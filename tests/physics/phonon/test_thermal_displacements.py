"""Thermal displacements of a harmonic crystal with known frequencies."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import LabelError, StructureError
from phonotune.physics.phonon.displacements import PhononPlan, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.thermal_displacements import ThermalDisplacements
from phonotune.ports import Evaluation

SPRING = 2.0
"""eV/Å^2, between nearest neighbours, along all directions."""
MATRIX = ((2, 0, 0), (0, 2, 0), (0, 0, 2))


@pytest.fixture(scope="module")
def plan() -> PhononPlan:
    cell = Structure(Lattice.cubic(3.0), ["Na"], [[0, 0, 0]])
    return plan_displacements(cell, PhononSettings(supercell_matrix=MATRIX))


def springs(plan: PhononPlan, spring: float) -> list[Evaluation]:
    """Answer with isotropic springs to the six neighbours (each is met twice in 2x2x2)."""
    answers = []
    for structure, site, move in zip(plan.structures, plan.sites, plan.vectors, strict=True):
        forces = np.zeros((len(structure), 3))
        forces[site] = -6.0 * spring * move
        _, neighbours, _, _ = plan.structures[0].get_neighbor_list(3.05, sites=[structure[site]])
        for neighbour in neighbours:
            forces[neighbour] += spring * move
        forces[site] -= forces.sum(axis=0)
        answers.append(Evaluation(0.0, forces))
    return answers


def draws(displacements: ThermalDisplacements, n: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([displacements(displacements.supercell, rng) for _ in range(n)])


def test_mean_square_displacements_are_those_of_the_oscillators(plan) -> None:
    """At high temperature a mode's mean energy is kT: <u^2> = sum over modes of kT / (N m w^2)."""
    temperature, boltzmann, amu = 2000.0, 8.617333e-5, 1.03642697e-4
    thermal = ThermalDisplacements(plan, springs(plan, SPRING), temperature, floor=0.01)
    angular = 2 * np.pi * thermal.frequencies[thermal.frequencies > 0]
    mass = 22.98977 * amu
    expected = np.sum(boltzmann * temperature / (mass * angular**2)) / len(thermal.supercell)
    found = np.mean(np.sum(draws(thermal) ** 2, axis=2))
    assert found == pytest.approx(expected, rel=0.05)


def test_the_crystal_as_a_whole_does_not_move(plan) -> None:
    moves = draws(ThermalDisplacements(plan, springs(plan, SPRING), 300.0, 1.0), 5)
    np.testing.assert_allclose(moves.mean(axis=1), 0.0, atol=1e-12)


def test_zero_temperature_leaves_the_zero_point_motion(plan) -> None:
    cold, warm = (
        np.mean(draws(ThermalDisplacements(plan, springs(plan, SPRING), t, 1.0), 50) ** 2)
        for t in (0.0, 300.0)
    )
    assert 0.0 < cold < warm


def test_unstable_modes_move_as_stable_ones_of_the_same_frequency(plan) -> None:
    stable, unstable = (
        ThermalDisplacements(plan, springs(plan, spring), 300.0, 0.5)
        for spring in (SPRING, -SPRING)
    )
    np.testing.assert_allclose(
        np.sort(unstable.frequencies, axis=1), np.sort(stable.frequencies, axis=1), atol=1e-6
    )


def test_soft_modes_are_held_back_by_the_floor(plan) -> None:
    soft = springs(plan, 1e-5)
    free = ThermalDisplacements(plan, soft, 300.0, floor=1e-2)
    held = ThermalDisplacements(plan, soft, 300.0, floor=1.0)
    assert (held.frequencies[held.frequencies > 0]).min() == pytest.approx(1.0)
    assert np.count_nonzero(held.frequencies == 0) == 3
    assert np.abs(draws(free, 20)).max() > 10 * np.abs(draws(held, 20)).max()


def test_the_generator_alone_decides(plan) -> None:
    thermal = ThermalDisplacements(plan, springs(plan, SPRING), 300.0, 1.0)
    first, again, other = (
        thermal(thermal.supercell, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_another_cell_is_refused(plan) -> None:
    thermal = ThermalDisplacements(plan, springs(plan, SPRING), 300.0, 1.0)
    other = thermal.supercell.copy()
    other.replace_species({"Na": "K"})
    with pytest.raises(StructureError, match="K8 is not the supercell Na8"):
        thermal(other, np.random.default_rng(0))


def test_a_missing_answer_is_named(plan) -> None:
    with pytest.raises(LabelError, match="Phonon-mode rattle"):
        ThermalDisplacements(plan, [None] * len(plan.structures), 300.0, 1.0)
