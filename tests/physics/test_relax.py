from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from pymatgen.core import Structure

from phonotune.errors import PhonotuneError
from phonotune.models.ase_engine import AseEvaluator
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.ports import Evaluation
from phonotune.progress import Progress

FMAX = 1e-3
"""eV/Å, of both optimisers in the comparison with ASE."""
SAME_ENERGY = 1e-5
"""eV/atom: two points of the same minimum with forces below FMAX."""


class StresslessEmt(EMT):
    implemented_properties = ("energy", "free_energy", "forces")


class EmtEvaluator(AseEvaluator):
    """ASE's EMT; remembers how many cells each call held."""

    def __init__(self, with_stress: bool = True) -> None:
        super().__init__(EMT() if with_stress else StresslessEmt())
        self.calls: list[int] = []

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        self.calls.append(len(structures))
        return super().__call__(structures)


def rattled_metal(symbol: str, repeats: tuple[int, int, int], seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk(symbol, cubic=True) * repeats
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3))), scale_atoms=True
    )
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    return atoms


@pytest.fixture(scope="module")
def metals() -> list[Atoms]:
    alloy = rattled_metal("Cu", (2, 2, 1), 2)
    alloy.numbers[:4] = 79
    return [rattled_metal("Al", (3, 2, 1), 0), rattled_metal("Cu", (2, 2, 2), 1), alloy]


@pytest.fixture(scope="module")
def crystals(metals) -> list[Structure]:
    return [Structure.from_ase_atoms(atoms) for atoms in metals]


@pytest.fixture(scope="module")
def relaxed(crystals):
    evaluator = EmtEvaluator()
    return relax_batch(evaluator, crystals, RelaxSettings(fmax=FMAX)), evaluator


@pytest.mark.slow
def test_cells_reach_the_minimum_that_ase_finds(metals, relaxed):
    for atoms, relaxation in zip(metals, relaxed[0], strict=True):
        reference = atoms.copy()
        reference.calc = EMT()
        assert FIRE(FrechetCellFilter(reference), logfile=None).run(fmax=FMAX, steps=500)
        assert relaxation.converged
        energy = reference.get_potential_energy()
        assert relaxation.energies[-1] == pytest.approx(energy, abs=SAME_ENERGY * len(atoms))
        assert relaxation.final.volume == pytest.approx(reference.get_volume(), rel=1e-3)


def test_a_converged_cell_has_small_forces_and_stress(relaxed):
    for relaxation in relaxed[0]:
        last, n = relaxation.evaluations[-1], len(relaxation.final)
        assert np.linalg.norm(last.forces, axis=1).max() < FMAX
        assert np.abs(last.stress).max() * relaxation.final.volume / n < FMAX
        assert relaxation.max_force == relaxation.max_forces[-1] < FMAX


def test_converged_cells_leave_the_batch(relaxed):
    relaxations, evaluator = relaxed
    steps = np.array([relaxation.n_steps for relaxation in relaxations])
    assert evaluator.calls == [int((steps >= step).sum()) for step in range(steps.max() + 1)]


def test_a_batch_takes_the_steps_that_one_cell_alone_takes(crystals, relaxed):
    alone = relax_batch(EmtEvaluator(), crystals[1:2], RelaxSettings(fmax=FMAX))[0]
    np.testing.assert_array_equal(alone.energies, relaxed[0][1].energies)
    assert alone.final == relaxed[0][1].final


def test_every_step_is_kept_from_the_start_on(crystals, relaxed):
    for crystal, relaxation in zip(crystals, relaxed[0], strict=True):
        n = relaxation.n_steps + 1
        assert len(relaxation.structures) == len(relaxation.evaluations) == n
        assert len(relaxation.max_forces) == len(relaxation.energies) == len(relaxation.forces) == n
        assert relaxation.structures[0] == crystal
        answer = EmtEvaluator()([relaxation.structures[n // 2]])[0]
        np.testing.assert_allclose(answer.forces, relaxation.forces[n // 2], atol=1e-10)


def test_no_atom_moves_further_than_the_longest_step(crystals):
    settings = RelaxSettings(relax_cell=False, max_step=0.02, max_steps=20)
    structures = relax_batch(EmtEvaluator(), crystals[:1], settings)[0].structures
    for before, after in pairwise(structures):
        moves = np.linalg.norm(after.cart_coords - before.cart_coords, axis=1)
        assert moves.max() <= 0.02 + 1e-12


def test_a_fixed_cell_stays_and_its_atoms_relax(crystals):
    settings = RelaxSettings(fmax=FMAX, relax_cell=False)
    relaxation = relax_batch(EmtEvaluator(with_stress=False), crystals[:1], settings)[0]
    assert relaxation.converged
    np.testing.assert_array_equal(relaxation.final.lattice.matrix, crystals[0].lattice.matrix)
    assert np.abs(relaxation.forces[-1]).max() < FMAX


def test_a_relaxing_cell_does_not_rotate(crystals, relaxed):
    deformation = np.linalg.solve(crystals[0].lattice.matrix, relaxed[0][0].final.lattice.matrix)
    np.testing.assert_allclose(deformation, deformation.T, atol=1e-10)


def test_running_out_of_steps_is_said(crystals):
    relaxation = relax_batch(EmtEvaluator(), crystals[:1], RelaxSettings(max_steps=3))[0]
    assert not relaxation.converged
    assert (relaxation.stop_reason, relaxation.n_steps) == ("step limit", 3)


def test_a_crystal_at_its_minimum_takes_no_step(relaxed):
    minimum = relaxed[0][0].final
    again = relax_batch(EmtEvaluator(), [minimum], RelaxSettings(fmax=FMAX))[0]
    assert (again.converged, again.n_steps) == (True, 0)


def test_a_cell_that_blows_up_stops_at_twice_its_volume(crystals):
    def repulsive(structures):
        return [Evaluation(0.0, np.zeros((len(s), 3)), -np.eye(3)) for s in structures]

    relaxation = relax_batch(repulsive, crystals[:1])[0]
    assert (relaxation.stop_reason, relaxation.converged) == ("volume limit", False)
    assert relaxation.final.volume < 2 * crystals[0].volume


def test_relaxing_a_cell_without_stress_is_refused(crystals):
    with pytest.raises(PhonotuneError, match="no stress"):
        relax_batch(EmtEvaluator(with_stress=False), crystals[:1])


def test_progress_tells_steps_and_converged_cells(crystals):
    seen: list[tuple[str, int, int | None]] = []

    class Seen(Progress):
        def show(self) -> None:
            seen.append((self.text, self.done, self.total))

    relaxations = relax_batch(EmtEvaluator(), crystals, RelaxSettings(fmax=0.05), Seen())
    steps = max(r.n_steps for r in relaxations)
    expected = ["relaxation", *(f"relaxation step {step}" for step in range(1, steps + 1))]
    assert [text for text, *_ in seen] == expected
    assert seen[-1][1:] == (len(crystals), len(crystals))


def test_nothing_to_relax_gives_nothing():
    assert relax_batch(EmtEvaluator(), []) == []


def test_a_kept_symmetry_holds_a_crystal_on_its_saddle_point():
    bcc = Structure.from_ase_atoms(bulk("Cu", "bcc", a=2.85, cubic=True))
    bcc = bcc.apply_strain([1e-5, 0.0, 0.0])
    settings = RelaxSettings(fmax=1e-8, max_steps=400)
    free, kept = (
        relax_batch(EmtEvaluator(), [bcc], settings.model_copy(update={"symprec": symprec}))[0]
        for symprec in (None, 1e-3)
    )
    assert np.ptp(kept.final.lattice.abc) < 1e-3
    assert free.energies[-1] < kept.energies[-1] - 1e-3


def test_a_relaxation_that_ran_out_of_steps_is_refused_where_its_end_is_needed(metals):
    (short,) = relax_batch(
        EmtEvaluator(), [Structure.from_ase_atoms(metals[0])], RelaxSettings(max_steps=1)
    )
    with pytest.raises(PhonotuneError, match=r"did not relax .step limit after 1 steps"):
        short.require_converged()
