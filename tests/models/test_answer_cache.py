from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError, WalltimeError
from phonotune.models import answer_cache
from phonotune.models.answer_cache import AnswerCache
from phonotune.models.committee import CommitteeEvaluator
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.ports import Evaluation, Source
from phonotune.settings import get_settings

CELLS = [Structure(Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]) for a in (3.0, 3.1, 3.2)]
RELAX = RelaxSettings(fmax=1e-6, relax_cell=False, max_steps=60)


class KilledError(Exception):
    """Stands for kill -9: nothing is written on the way out."""


class Springs:
    """Holds each atom near its place by a spring; dies when it was asked too often."""

    elements = ("Na", "Cl")
    members = ()
    source = Source(role="untuned", evaluator="springs")

    def __init__(
        self,
        dies_after: float = np.inf,
        stiffness: float = 1.0,
        with_stress: bool = True,
        identity: str = "springs",
    ) -> None:
        self.asked: list[int] = []
        self.dies_after, self.stiffness, self.with_stress = dies_after, stiffness, with_stress
        self.identity = identity

    @property
    def total(self) -> int:
        return sum(self.asked)

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        if self.total >= self.dies_after:
            raise KilledError
        self.asked.append(len(structures))
        return [self._answer(structure) for structure in structures]

    def _answer(self, structure: Structure) -> Evaluation:
        home = structure.lattice.get_cartesian_coords([[0.02, 0.01, 0], [0.48, 0.5, 0.5]])
        away = structure.cart_coords - home
        energy = 0.5 * self.stiffness * float((away**2).sum()) + structure.volume / 3
        stress = np.eye(3) / structure.volume if self.with_stress else None
        return Evaluation(energy, -self.stiffness * away, stress)


@pytest.fixture
def folder() -> Path:
    return get_settings().checkpoint_dir


@pytest.fixture
def each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every structure is evaluated alone and its answer is written at once."""
    monkeypatch.setattr(answer_cache, "ATOMS_AT_ONCE", 2)
    monkeypatch.setenv("PHONOTUNE_CHECKPOINT_SECONDS", "1e-9")
    get_settings.cache_clear()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.sqlite")) if folder.exists() else []


def killed_after(model: Springs, structures: Sequence[Structure], interval: float = 0.0) -> None:
    """Evaluate, then end as a kill does, once all answers are given."""
    with suppress(KilledError), AnswerCache(model, work="w", interval=interval) as cache:
        cache.evaluator(structures)
        raise KilledError


def rows(file: Path) -> int:
    with sqlite3.connect(file) as connection:
        return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])


def assert_same(a: Evaluation, b: Evaluation) -> None:
    assert a.energy == b.energy
    np.testing.assert_array_equal(a.forces, b.forces)
    np.testing.assert_array_equal(a.stress, b.stress)


def test_what_was_answered_is_not_asked_again_and_comes_back_bit_by_bit(folder: Path) -> None:
    model = Springs()
    killed_after(model, CELLS[:2])
    with AnswerCache(model, work="w", interval=0.0) as cache:
        again = cache.evaluator([CELLS[1], CELLS[2], CELLS[0]])
        assert cache.evaluator.reused == 2
    assert model.asked == [2, 1]
    for found, expected in zip(again, Springs()([CELLS[1], CELLS[2], CELLS[0]]), strict=True):
        assert_same(found, expected)
    assert list(folder.iterdir()) == []


def test_a_structure_twice_in_one_call_is_asked_once() -> None:
    model = Springs()
    with AnswerCache(model) as cache:
        answers = cache.evaluator([CELLS[0], CELLS[1], CELLS[0]])
    assert model.asked == [2]
    assert_same(answers[0], answers[2])


def test_a_missing_stress_stays_missing() -> None:
    killed_after(Springs(with_stress=False), CELLS[:1])
    with AnswerCache(Springs(), work="w") as cache:
        assert cache.evaluator(CELLS[:1])[0].stress is None


def test_the_cache_says_what_the_model_says() -> None:
    with AnswerCache(Springs()) as cache:
        model = cache.evaluator
        assert (model.elements, model.identity) == (("Na", "Cl"), "springs")
        assert (model.source, model.members) == (Springs.source, ())


def test_many_structures_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Springs()
    cells = [CELLS[0].copy().scale_lattice(30 + n) for n in range(150)]
    monkeypatch.setattr(answer_cache, "ATOMS_AT_ONCE", 100)
    with AnswerCache(model) as cache:
        answers = cache.evaluator(cells)
    assert model.asked == [50, 50, 50]
    assert_same(answers[149], Springs()(cells[149:])[0])


def test_a_second_process_is_refused() -> None:
    with AnswerCache(Springs(), work="w", interval=0.0) as cache:
        cache.evaluator(CELLS[:1])
        with (
            pytest.raises(InputError, match="Another process computes the same"),
            AnswerCache(Springs(), work="w", interval=0.0) as other,
        ):
            other.evaluator(CELLS)


def test_work_goes_on_without_a_file_that_another_process_writes(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Springs()
    with AnswerCache(Springs(), work="w", interval=0.0) as other:
        other.evaluator(CELLS[:1])
        with AnswerCache(model, work="w", interval=60.0) as cache:
            assert len(cache.evaluator(CELLS)) == 3
        assert len(files(folder)) == 1
    assert model.asked == [3]
    assert "Another process" in caplog.text
    assert files(folder) == []


def test_a_folder_that_cannot_be_written_is_told_with_the_setting(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file, not a folder")
    with (
        pytest.raises(InputError, match="PHONOTUNE_CHECKPOINT_DIR"),
        AnswerCache(Springs(), interval=0.0) as cache,
    ):
        cache.evaluator(CELLS)
    with AnswerCache(Springs(), interval=1e-9) as cache:
        assert len(cache.evaluator(CELLS)) == 3
    assert "cannot be written" in caplog.text


def test_a_file_that_is_no_database_is_told(folder: Path) -> None:
    killed_after(Springs(), CELLS[:1])
    (file,) = files(folder)
    file.write_bytes(b"something else" * 100)
    with (
        pytest.raises(InputError, match="not a database"),
        AnswerCache(Springs(), work="w", interval=0.0) as cache,
    ):
        cache.evaluator(CELLS)


def test_short_work_writes_nothing(folder: Path) -> None:
    with AnswerCache(Springs(), interval=60.0) as cache:
        cache.evaluator(CELLS)
        assert not folder.exists()


def test_long_work_is_written_between_its_batches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_cache, "ATOMS_AT_ONCE", 2)
    times = iter([0.0, 10.0, 40.0, 40.0, 50.0])
    monkeypatch.setattr(answer_cache, "monotonic", lambda: next(times))
    killed_after(Springs(), CELLS, interval=30.0)
    assert rows(files(folder)[0]) == 2


def test_short_work_finds_what_long_work_left() -> None:
    killed_after(Springs(), CELLS[:2])
    model = Springs()
    with AnswerCache(model, work="w", interval=60.0) as cache:
        cache.evaluator(CELLS)
    assert model.asked == [1]


def test_files_stay_where_they_are_to_be_kept(folder: Path) -> None:
    with AnswerCache(Springs(), work="w", interval=0.0) as cache:
        cache.evaluator(CELLS)
        cache.keep = True
    assert rows(files(folder)[0]) == 3


def test_the_end_of_the_walltime_stops_between_batches_and_keeps_what_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_cache, "ATOMS_AT_ONCE", 2)
    model = Springs()
    with (
        pytest.raises(WalltimeError, match="of 3 structures stopped") as stopped,
        AnswerCache(model, lambda: model.total == 2, interval=60.0) as cache,
    ):
        cache.evaluator(CELLS)
    assert stopped.value.progress == 2
    with AnswerCache(model, interval=60.0) as cache:
        cache.evaluator(CELLS)
    assert model.asked == [1, 1, 1]


def test_a_walltime_without_a_file_says_that_nothing_was_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_cache, "ATOMS_AT_ONCE", 2)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file, not a folder")
    model = Springs()
    with (
        pytest.raises(WalltimeError, match="cannot be written") as stopped,
        AnswerCache(model, lambda: model.total == 2, interval=60.0) as cache,
    ):
        cache.evaluator(CELLS)
    assert stopped.value.progress == 0


def test_a_full_disk_does_not_lose_the_answers_of_long_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect = sqlite3.connect

    def small(path: Path, timeout: float) -> sqlite3.Connection:
        connection = connect(path, timeout=timeout)
        connection.execute("PRAGMA max_page_count=2")  # the table and its key, not one row more
        return connection

    monkeypatch.setattr(answer_cache.sqlite3, "connect", small)
    cells = [CELLS[0] * (n, 5, 5) for n in range(1, 5)]
    larger = [Evaluation(float(n), np.full((len(c), 3), n)) for n, c in enumerate(cells)]
    model = Springs()
    monkeypatch.setattr(model, "_answer", lambda s: larger[len(s) // 50 - 1])
    with AnswerCache(model, interval=1e-9) as cache:
        assert cache.evaluator(cells) == [cache.evaluator([c])[0] for c in cells]
    assert "cannot be written (database or disk is full)" in caplog.text


def relax(springs: Springs) -> list[np.ndarray]:
    with AnswerCache(springs) as cache:
        return [r.final.frac_coords for r in relax_batch(cache.evaluator, CELLS, RELAX)]


@pytest.mark.usefixtures("each_alone")
def test_a_killed_relaxation_repeats_no_step_and_ends_bit_identical(folder: Path) -> None:
    whole, killed, resumed = Springs(), Springs(dies_after=20), Springs()
    expected = relax(whole)
    assert whole.total > 40
    with pytest.raises(KilledError):
        relax(killed)
    assert len(files(folder)) == 1
    np.testing.assert_array_equal(relax(resumed), expected)
    assert killed.total + resumed.total == whole.total
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("each_alone")
def test_a_killed_committee_repeats_no_member_and_keeps_its_spread(folder: Path) -> None:
    def pair(dies_after: float = np.inf) -> list[Springs]:
        return [Springs(), Springs(dies_after, stiffness=2.0, identity="stiffer")]

    def ask(members: Sequence[Springs]) -> list[Evaluation]:
        with AnswerCache(CommitteeEvaluator(members)) as cache:
            return cache.evaluator(CELLS)

    expected = CommitteeEvaluator(pair())(CELLS)
    killed, resumed = pair(dies_after=1), pair()
    with pytest.raises(KilledError):
        ask(killed)
    assert len(files(folder)) == 2
    found = ask(resumed)
    assert [m.total for m in killed] == [3, 1]
    assert [m.total for m in resumed] == [0, 2]
    for a, b in zip(found, expected, strict=True):
        assert (a.energy, a.spread.energy) == (b.energy, b.spread.energy)
        np.testing.assert_array_equal(a.spread.forces, b.spread.forces)
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("each_alone")
def test_another_model_or_other_structures_share_nothing(folder: Path) -> None:
    for identity, cells in (("a", CELLS), ("b", CELLS), ("a", CELLS[1:])):
        killed = Springs(dies_after=1, identity=identity)
        with pytest.raises(KilledError), AnswerCache(killed) as cache:
            cache.evaluator(cells)
        assert killed.total == 1
    assert len(files(folder)) == 3


@pytest.mark.usefixtures("each_alone")
def test_the_end_of_the_walltime_counts_the_progress_of_all_members(folder: Path) -> None:
    members = [Springs(), Springs(identity="other")]
    ended: Callable[[], bool] = lambda: members[1].total > 1  # noqa: E731
    with (
        pytest.raises(WalltimeError) as stopped,
        AnswerCache(CommitteeEvaluator(members), ended) as cache,
    ):
        cache.evaluator(CELLS)
    assert stopped.value.progress == 5
    assert len(files(folder)) == 2


def test_nothing_to_evaluate_makes_no_file(folder: Path) -> None:
    with AnswerCache(Springs(dies_after=0), interval=0.0) as cache:
        assert cache.evaluator([]) == []
    assert not folder.exists()
