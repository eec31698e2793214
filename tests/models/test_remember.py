from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError, WalltimeError
from phonotune.models import remember
from phonotune.models.remember import RememberingEvaluator
from phonotune.ports import Evaluation

CELLS = [Structure(Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]) for a in (3.0, 3.1, 3.2)]


class Counting:
    """Answers with numbers of the volume, and remembers how many structures it was asked for."""

    def __init__(self, with_stress: bool = True) -> None:
        self.asked: list[int] = []
        self.with_stress = with_stress

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        self.asked.append(len(structures))
        return [
            Evaluation(
                s.volume / 3,
                np.full((len(s), 3), np.sqrt(s.volume)),
                np.eye(3) / s.volume if self.with_stress else None,
            )
            for s in structures
        ]


def assert_same(a: Evaluation, b: Evaluation) -> None:
    assert a.energy == b.energy
    np.testing.assert_array_equal(a.forces, b.forces)
    np.testing.assert_array_equal(a.stress, b.stress)


def test_what_was_answered_is_not_asked_again_and_comes_back_bit_by_bit(tmp_path: Path) -> None:
    counting, path = Counting(), tmp_path / "deep" / "a.answers"
    with RememberingEvaluator(counting, path) as evaluator:
        first = evaluator(CELLS[:2])
    with RememberingEvaluator(counting, path) as evaluator:
        again = evaluator([CELLS[1], CELLS[2], CELLS[0]])
        assert evaluator.reused == 2
    assert counting.asked == [2, 1]
    assert_same(again[0], first[1])
    assert_same(again[2], first[0])
    assert_same(again[1], Counting()([CELLS[2]])[0])


def test_a_structure_twice_in_one_call_is_asked_once(tmp_path: Path) -> None:
    counting = Counting()
    with RememberingEvaluator(counting, tmp_path / "a") as evaluator:
        answers = evaluator([CELLS[0], CELLS[1], CELLS[0]])
    assert counting.asked == [2]
    assert_same(answers[0], answers[2])


def test_a_missing_stress_stays_missing(tmp_path: Path) -> None:
    for _ in range(2):
        with RememberingEvaluator(Counting(with_stress=False), tmp_path / "a") as evaluator:
            assert evaluator(CELLS[:1])[0].stress is None


@pytest.mark.parametrize("cut", [1, 40])
def test_a_line_that_was_cut_off_is_asked_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a"
    with RememberingEvaluator(Counting(), path) as evaluator:
        evaluator(CELLS[:2])
    path.write_bytes(path.read_bytes()[:-cut])
    counting = Counting()
    for _ in range(2):
        with RememberingEvaluator(counting, path) as evaluator:
            evaluator(CELLS[:2])
    assert counting.asked == [1]


def test_many_structures_are_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    cells = [CELLS[0].copy().scale_lattice(30 + n) for n in range(150)]
    monkeypatch.setattr(remember, "ATOMS_AT_ONCE", 100)
    with RememberingEvaluator(counting, tmp_path / "a") as evaluator:
        answers = evaluator(cells)
    assert counting.asked == [50, 50, 50]
    assert answers[149].energy == pytest.approx((30 + 149) / 3)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with (
        RememberingEvaluator(Counting(), tmp_path / "a"),
        pytest.raises(InputError, match="Another process"),
    ):
        RememberingEvaluator(Counting(), tmp_path / "a")


def test_a_folder_that_cannot_be_written_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="PHONOTUNE_CHECKPOINT_DIR"):
        RememberingEvaluator(Counting(), tmp_path / "file" / "a")


def test_forgetting_removes_the_file(tmp_path: Path) -> None:
    with RememberingEvaluator(Counting(), tmp_path / "a") as evaluator:
        evaluator(CELLS)
        evaluator.forget()
    assert not (tmp_path / "a").exists()


def test_short_work_writes_nothing(tmp_path: Path) -> None:
    with RememberingEvaluator(Counting(), tmp_path / "a", interval=60.0) as evaluator:
        evaluator(CELLS)
        evaluator.forget()
    assert list(tmp_path.iterdir()) == []


def test_long_work_is_written_between_its_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remember, "ATOMS_AT_ONCE", 2)
    times = iter([0.0, 10.0, 40.0, 40.0, 50.0])
    monkeypatch.setattr(remember, "monotonic", lambda: next(times))
    with RememberingEvaluator(Counting(), tmp_path / "a", interval=30.0) as evaluator:
        evaluator(CELLS)
    assert len((tmp_path / "a").read_bytes().splitlines()) == 2


def test_short_work_finds_what_long_work_left(tmp_path: Path) -> None:
    with RememberingEvaluator(Counting(), tmp_path / "a") as evaluator:
        evaluator(CELLS[:2])
    counting = Counting()
    with RememberingEvaluator(counting, tmp_path / "a", interval=60.0) as evaluator:
        evaluator(CELLS)
    assert counting.asked == [1]


def test_work_goes_on_without_a_file_that_another_process_writes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RememberingEvaluator(Counting(), tmp_path / "a") as other:
        other(CELLS[:1])
        counting = Counting()
        with RememberingEvaluator(counting, tmp_path / "a", interval=60.0) as evaluator:
            assert len(evaluator(CELLS)) == 3
            evaluator.forget()
    assert counting.asked == [3]
    assert "Another process" in caplog.text
    assert (tmp_path / "a").exists()


def test_the_end_of_the_walltime_stops_between_batches_and_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remember, "ATOMS_AT_ONCE", 2)
    counting = Counting()
    path = tmp_path / "a"
    with (
        RememberingEvaluator(counting, path, 60.0, lambda: len(counting.asked) == 2) as evaluator,
        pytest.raises(WalltimeError, match="of 3 structures stopped") as stopped,
    ):
        evaluator(CELLS)
    assert stopped.value.progress == 2
    with RememberingEvaluator(counting, path, 60.0) as evaluator:
        evaluator(CELLS)
    assert counting.asked == [1, 1, 1]


def test_a_walltime_without_a_file_says_that_nothing_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remember, "ATOMS_AT_ONCE", 2)
    (tmp_path / "taken").write_text("a file, no folder")
    counting = Counting()
    path = tmp_path / "taken" / "a"
    with (
        RememberingEvaluator(counting, path, 60.0, lambda: len(counting.asked) == 2) as evaluator,
        pytest.raises(WalltimeError, match="cannot be written") as stopped,
    ):
        evaluator(CELLS)
    assert stopped.value.progress == 0


def test_a_file_system_without_locks_does_not_stop_long_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(remember.fcntl, "flock", no_locks)
    (tmp_path / "a").touch()
    with RememberingEvaluator(Counting(), tmp_path / "a", interval=60.0) as evaluator:
        assert len(evaluator(CELLS)) == 3
    assert "cannot be locked" in caplog.text
    with pytest.raises(InputError, match="cannot be locked"):
        RememberingEvaluator(Counting(), tmp_path / "a")


def test_a_full_disk_does_not_lose_the_answers_of_long_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remember.os, "fsync", full)
    with RememberingEvaluator(Counting(), tmp_path / "a", interval=1e-9) as evaluator:
        assert len(evaluator(CELLS)) == 3
    assert "cannot be written" in caplog.text
