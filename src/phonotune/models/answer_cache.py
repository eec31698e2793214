"""Answers on disk while work runs: nothing is evaluated twice, not even after ``kill -9``."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from phonotune.chunks import chunked
from phonotune.errors import InputError, WalltimeError
from phonotune.models.committee import CommitteeEvaluator
from phonotune.ports import Evaluation, Evaluator, FloatArray, Source
from phonotune.schemas.base import hash_json, package_versions, structure_hash
from phonotune.settings import get_settings

if TYPE_CHECKING:
    from pymatgen.core import Structure

logger = logging.getLogger(__name__)

ATOMS_AT_ONCE: Final = 4096
"""Atoms that are evaluated before answers are written and the time is looked at: a batch of a GPU.

An engine that answers one by one has fewer, its ``atoms_at_once``."""

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS answers "
    "(key TEXT PRIMARY KEY, energy REAL, forces BLOB, stress BLOB)"
)


class AnswerCache:
    """A context in which an evaluator keeps its answers in files, one per model, in ``checkpoint_dir``.

    A pure plan that is made again asks for the same structures; those that were answered before are
    read from the file, bit by bit. The files are removed when the block ends without an error.

    Parameters
    ----------
    evaluator
        A model or a committee, of any engine.
    ended
        Whether the walltime is nearly over, asked between two batches: then the evaluator raises
        :class:`phonotune.errors.WalltimeError`, and all answers are on disk.
    work
        Names the work; None names it by the structures that are evaluated first.
    interval
        Seconds of work that a kill may cost; None takes the setting ``checkpoint_seconds``. 0: every
        answer is on disk before it is given. Else nothing is written for work that is shorter, and
        if the file cannot be written the work goes on without it.
    folder
        Where the files lie; None takes the setting ``checkpoint_dir``.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        ended: Callable[[], bool] = lambda: False,
        work: str | None = None,
        interval: float | None = None,
        folder: Path | None = None,
    ) -> None:
        interval = get_settings().checkpoint_seconds if interval is None else interval
        folder = folder or get_settings().checkpoint_dir.expanduser()
        models = evaluator.members or (evaluator,)
        self._models = [CachedEvaluator(model, interval, ended, work, folder) for model in models]
        self.evaluator: Evaluator = (
            CommitteeEvaluator(self._models) if evaluator.members else self._models[0]
        )
        """Answers as the evaluator does."""
        self.keep = False
        """Whether the files stay when the block ends without an error."""

    def __enter__(self) -> Self:
        """Return the cache."""
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        """Write what is not written at the end of a walltime; remove or close the files."""
        try:
            if isinstance(error, WalltimeError):
                for model in self._models:
                    model.write()
                error.progress = sum(model.saved for model in self._models)
        finally:
            for model in self._models:
                model.close(remove=error is None and not self.keep)


class CachedEvaluator:
    """One model whose answers are kept in an SQLite file; made by :class:`AnswerCache`.

    Only one process has the file at a time: SQLite locks it by the kernel, so no lock outlives a process.
    """

    members = ()

    def __init__(
        self,
        evaluator: Evaluator,
        interval: float,
        ended: Callable[[], bool],
        work: str | None,
        folder: Path,
    ) -> None:
        self.reused = 0
        """Answers taken from the file."""
        self.saved = 0
        """Answers of the evaluator that are in the file."""
        self._evaluator, self._ended, self._work, self._folder = evaluator, ended, work, folder
        self._interval, self._written = interval, monotonic()
        self._answers: dict[str, Evaluation] = {}
        self._unwritten: list[str] = []
        self._file: sqlite3.Connection | None = None
        self._path: Path | None = None

    @property
    def elements(self) -> tuple[str, ...] | None:
        """Chemical symbols that the model knows."""
        return self._evaluator.elements

    @property
    def source(self) -> Source:
        """Who answers."""
        return self._evaluator.source

    @property
    def identity(self) -> str:
        """All that determines an answer but the structure."""
        return self._evaluator.identity

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Answer structures, in order; raises what the evaluator raises.

        Raises
        ------
        WalltimeError
            The end of the walltime came between two batches; what was answered is on disk.
        InputError
            ``interval`` is 0, and another process has the file or it cannot be written.
        """
        keys = [structure_hash(structure) for structure in structures]
        if keys and self._path is None:
            name = hash_json(["answers", self.identity, package_versions(), self._work or keys])
            self._path = self._folder / f"{name[:32]}.sqlite"
            if self._interval == 0.0 or self._path.exists():
                self._open(self._path)
        new = {k: s for k, s in zip(keys, structures, strict=True) if k not in self._answers}
        self.reused += len(structures) - len(new)
        limit = min(ATOMS_AT_ONCE, getattr(self._evaluator, "atoms_at_once", ATOMS_AT_ONCE))
        for some in chunked(new.items(), size=lambda item: len(item[1]), limit=limit):
            if self._ended():
                self._stop(len(structures))
            answers = self._evaluator([structure for _, structure in some])
            for (key, _), answer in zip(some, answers, strict=True):
                self._answers[key] = Evaluation(float(answer.energy), answer.forces, answer.stress)
                self._unwritten.append(key)
            if monotonic() - self._written >= self._interval:
                self.write()
        return [self._answers[key] for key in keys]

    def write(self) -> None:
        """Bring every answer so far to the disk."""
        if self._file is None and self._path is not None:
            self._open(self._path)
        if self._file is None:
            return
        rows = [
            (key, a.energy, _to_bytes(a.forces), None if a.stress is None else _to_bytes(a.stress))
            for key, a in ((key, self._answers[key]) for key in self._unwritten)
        ]
        try:
            with self._file:
                self._file.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)
            return
        self.saved += len(rows)
        self._unwritten, self._written = [], monotonic()

    def close(self, remove: bool) -> None:
        """Close the file, and remove it if its answers are kept elsewhere, as a result."""
        if self._file is None:
            return
        with suppress(sqlite3.Error):
            self._file.close()
        if remove and self._path is not None:
            self._path.unlink(missing_ok=True)

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = sqlite3.connect(path, timeout=0.0)
            self._file = file
            # exclusive: one process at a time, and no shared memory, which network folders lack
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
                file.execute(f"PRAGMA {pragma}")
            with file:
                file.execute(_TABLE)
                file.execute("DELETE FROM answers WHERE key = ''")  # takes the lock
            for key, energy, forces, stress in file.execute("SELECT * FROM answers"):
                stressed = None if stress is None else _from_bytes(stress)
                self._answers[key] = Evaluation(energy, _from_bytes(forces), stressed)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Go on without the file where answers need not be kept, else say so."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(sqlite3.Error):
                file.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            said = (
                f"Another process computes the same and writes to {self._path}. Wait for it, or set"
            )
        else:
            said = f"{self._path} cannot be written ({error}). Set"
        said += " PHONOTUNE_CHECKPOINT_DIR to another folder."
        if self._interval == 0.0:
            raise InputError(said) from error
        logger.warning("%s Until then a kill loses the answers.", said)
        self._interval = math.inf

    def _stop(self, asked: int) -> None:
        self.write()
        if self._file is None:
            raise WalltimeError(
                f"An evaluation of {asked} structures stopped: the job's walltime is nearly over, "
                f"and {self._path} cannot be written. Set PHONOTUNE_CHECKPOINT_DIR to another "
                "folder, or ask for more walltime.",
                0,
            )
        raise WalltimeError(
            f"An evaluation of {asked} structures stopped: the job's walltime is nearly over. "
            f"{len(self._answers)} answers are in {self._path}; the same call goes on from there.",
            self.saved,
        )


def _to_bytes(array: FloatArray) -> bytes:
    return np.ascontiguousarray(array, dtype="<f8").tobytes()


def _from_bytes(content: bytes) -> FloatArray:
    return np.frombuffer(content, dtype="<f8").reshape(-1, 3).copy()
