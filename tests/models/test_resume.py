from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import WalltimeError
from phonotune.models import remember
from phonotune.models.committee import CommitteeEvaluator
from phonotune.models.resume import resuming
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.settings import get_settings

SOURCE = Source(role="untuned", evaluator="spring", model_id="ab", dtype="float64")
CELLS = [Structure(Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]) for a in (3.0, 3.1, 3.2)]
RELAX = RelaxSettings(fmax=1e-6, relax_cell=False, max_steps=60)


class KilledError(Exception):
    """Stands for kill -9: nothing is written on the way out."""


class Springs:
    """Holds each atom near its place by a spring; dies when it was asked too often."""

    elements = ("Na", "Cl")

    def __init__(self, dies_after: float = np.inf, stiffness: float = 1.0) -> None:
        self.asked = 0
        self.dies_after, self.stiffness = dies_after, stiffness

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        if self.asked >= self.dies_after:
            raise KilledError
        self.asked += len(structures)
        return [self._answer(structure) for structure in structures]

    def _answer(self, structure: Structure) -> Evaluation:
        home = structure.lattice.get_cartesian_coords([[0.02, 0.01, 0], [0.48, 0.5, 0.5]])
        away = structure.cart_coords - home
        energy = 0.5 * self.stiffness * float((away**2).sum())
        return Evaluation(energy, -self.stiffness * away, np.zeros((3, 3)))


@pytest.fixture(autouse=True)
def _every_answer_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONOTUNE_CHECKPOINT_SECONDS", "1e-9")
    monkeypatch.setattr(remember, "ATOMS_AT_ONCE", 2)
    get_settings.cache_clear()


def files() -> list[str]:
    folder = get_settings().checkpoint_dir
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


def relax(springs: Springs) -> list[np.ndarray]:
    with resuming(springs, SOURCE) as evaluator:
        return [r.final.frac_coords for r in relax_batch(evaluator, CELLS, RELAX)]


def test_a_killed_relaxation_repeats_no_step_and_ends_bit_identical() -> None:
    whole, killed, resumed = Springs(), Springs(dies_after=20), Springs()
    expected = relax(whole)
    assert whole.asked > 40
    with pytest.raises(KilledError):
        relax(killed)
    assert len(files()) == 1
    np.testing.assert_array_equal(relax(resumed), expected)
    assert killed.asked + resumed.asked == whole.asked
    assert files() == []


def test_a_killed_committee_repeats_no_member_and_keeps_its_spread() -> None:
    def ask(*members: Springs) -> list[Evaluation]:
        with resuming(CommitteeEvaluator(members), SOURCE) as evaluator:
            return evaluator(CELLS)

    expected = CommitteeEvaluator([Springs(), Springs(stiffness=2.0)])(CELLS)
    killed = [Springs(), Springs(dies_after=1, stiffness=2.0)]
    with pytest.raises(KilledError):
        ask(*killed)
    assert len(files()) == 2
    resumed = [Springs(), Springs(stiffness=2.0)]
    found = ask(*resumed)
    assert [m.asked for m in killed] == [3, 1]
    assert [m.asked for m in resumed] == [0, 2]
    for a, b in zip(found, expected, strict=True):
        assert (a.energy, a.spread.energy) == (b.energy, b.spread.energy)
        np.testing.assert_array_equal(a.spread.forces, b.spread.forces)
    assert files() == []


def test_another_model_or_other_structures_share_nothing() -> None:
    other = SOURCE.model_copy(update={"model_id": "cd"})
    for source, cells in ((SOURCE, CELLS), (other, CELLS), (SOURCE, CELLS[1:])):
        killed = Springs(dies_after=1)
        with pytest.raises(KilledError), resuming(killed, source) as evaluator:
            evaluator(cells)
        assert killed.asked == 1
    assert len(files()) == 3


def test_the_end_of_the_walltime_counts_the_progress_of_all_members() -> None:
    members = [Springs(), Springs()]
    committee = CommitteeEvaluator(members)
    stop = pytest.raises(WalltimeError)
    with stop as stopped, resuming(committee, SOURCE, lambda: members[1].asked > 1) as evaluator:
        evaluator(CELLS)
    assert stopped.value.progress == 5
    assert len(files()) == 2


def test_nothing_to_evaluate_makes_no_file() -> None:
    with pytest.raises(KilledError), resuming(Springs(dies_after=0), SOURCE) as evaluator:
        evaluator([]) or evaluator(CELLS)
    assert files() == []
