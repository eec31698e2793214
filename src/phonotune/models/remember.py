"""An evaluator that never answers the same question twice, not even after ``kill -9``."""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from phonotune.errors import InputError, WalltimeError
from phonotune.ports import Evaluation, Evaluator, FloatArray
from phonotune.schemas.base import structure_hash

if TYPE_CHECKING:
    from pymatgen.core import Structure

logger = logging.getLogger(__name__)

ATOMS_AT_ONCE: Final = 4096
"""Atoms that are asked for before answers are written and the time is looked at: a batch of a GPU."""


def never() -> bool:
    """Know no walltime."""
    return False


class RememberingEvaluator:
    """Keeps every answer in a file, one line each.

    A pure plan that runs again asks the same questions; the file answers those that were answered
    before, bit by bit, and the evaluator only the rest. A line that was cut off is dropped. Energy,
    forces and stress are kept, a committee's spread is not. Use it as a context manager.

    Implements :class:`phonotune.ports.Evaluator`.

    Parameters
    ----------
    evaluator
        Who answers new questions.
    path
        The file, made if missing. Its name must tell all that determines an answer but the
        structure: the model, its precision.
    interval
        Seconds of work that a kill may cost. 0: every answer is on disk before it is given. Else
        nothing is written for work that is shorter, and if the file cannot be had (another process
        computes the same), the work goes on without it.
    ended
        Whether the walltime is nearly over, asked between two batches.

    Raises
    ------
    InputError
        ``interval`` is 0 and another process writes to the file, or it cannot be written.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        path: Path,
        interval: float = 0.0,
        ended: Callable[[], bool] = never,
    ) -> None:
        self.path = path
        self.reused = 0
        """Answers taken from the file."""
        self.evaluated = 0
        """Answers that the evaluator gave."""
        self._evaluator = evaluator
        self._interval, self._ended = interval, ended
        self._answers: dict[str, Evaluation] = {}
        self._unwritten: list[str] = []
        self._written = monotonic()
        self._file: BinaryIO | None = None
        if interval == 0.0 or path.exists():
            self._open()

    def __enter__(self) -> RememberingEvaluator:
        """Return the evaluator."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the file go; it stays."""
        if self._file is not None:
            self._file.close()

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Answer structures, in order; raises what the evaluator raises.

        Raises
        ------
        WalltimeError
            The end of the walltime came between two batches; what was answered is on disk.
        """
        keys = [structure_hash(structure) for structure in structures]
        new = {
            key: structure
            for key, structure in zip(keys, structures, strict=True)
            if key not in self._answers
        }
        self.reused += len(structures) - len(new)
        for some in _batched(new.items()):
            if self._ended():
                self._stop(len(structures))
            answers = self._evaluator([structure for _, structure in some])
            self._keep({key: answer for (key, _), answer in zip(some, answers, strict=True)})
        return [self._answers[key] for key in keys]

    def forget(self) -> None:
        """Remove the file: its answers are kept elsewhere, as a result."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            self._file.close()

    @property
    def saved(self) -> int:
        """Answers of the evaluator that are in the file."""
        return 0 if self._file is None else self.evaluated - len(self._unwritten)

    def _stop(self, asked: int) -> None:
        self.write()
        if self._file is None:
            raise WalltimeError(
                f"An evaluation of {asked} structures stopped: the job's walltime is nearly over, "
                f"and {self.path} cannot be written. Set PHONOTUNE_CHECKPOINT_DIR to another "
                "folder, or ask for more walltime.",
                0,
            )
        raise WalltimeError(
            f"An evaluation of {asked} structures stopped: the job's walltime is nearly over. "
            f"{len(self._answers)} answers are in {self.path}; the same call goes on from there.",
            self.saved,
        )

    def _keep(self, answers: dict[str, Evaluation]) -> None:
        for key, answer in answers.items():
            self._answers[key] = Evaluation(answer.energy, answer.forces, answer.stress)
        self._unwritten += answers
        self.evaluated += len(answers)
        if monotonic() - self._written >= self._interval:
            self.write()

    def write(self) -> None:
        """Bring every answer so far to the disk."""
        if self._file is None:
            self._open()
        if self._file is None:
            return
        lines = [
            json.dumps(_to_json(key, self._answers[key]), separators=(",", ":"))
            for key in self._unwritten
        ]
        try:
            self._file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._give_up(_cannot("written", self.path, error))
            return
        self._unwritten, self._written = [], monotonic()

    def _give_up(self, error: InputError) -> None:
        """Go on without the file where answers need not be kept, else say so."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
        if self._interval == 0.0:
            raise error
        logger.warning("%s Until then a kill loses the answers.", error)
        self._interval = math.inf

    def _open(self) -> None:
        try:
            self._file = _open(self.path)
        except InputError as error:
            self._give_up(error)
        else:
            self._read(self._file)

    def _read(self, file: BinaryIO) -> None:
        file.seek(0)
        end = 0
        for line in file:
            try:
                key, answer = _from_json(json.loads(line))
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            self._answers[key] = answer
            end += len(line)
        file.truncate(end)
        file.seek(0, os.SEEK_END)


def _batched(
    items: Iterable[tuple[str, Structure]],
) -> Iterator[list[tuple[str, Structure]]]:
    some: list[tuple[str, Structure]] = []
    n_atoms = 0
    for key, structure in items:
        n_atoms += len(structure)
        if some and n_atoms > ATOMS_AT_ONCE:
            yield some
            some, n_atoms = [], len(structure)
        some.append((key, structure))
    if some:
        yield some


def _open(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file: BinaryIO = path.open("a+b")
    except OSError as error:
        raise _cannot("written", path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(
            f"Another process computes the same and writes to {path}. Wait for it, or set "
            "PHONOTUNE_CHECKPOINT_DIR to another folder."
        ) from error
    except OSError as error:
        file.close()
        raise _cannot("locked", path, error) from error
    return file


def _cannot(what: str, path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be {what} ({error}). Set PHONOTUNE_CHECKPOINT_DIR to another folder."
    )


def _to_json(key: str, answer: Evaluation) -> dict[str, Any]:
    return {
        "key": key,
        "energy": answer.energy,
        "forces": _encode(answer.forces),
        "stress": None if answer.stress is None else _encode(answer.stress),
    }


def _from_json(content: dict[str, Any]) -> tuple[str, Evaluation]:
    stress = content["stress"]
    return content["key"], Evaluation(
        float(content["energy"]),
        _decode(content["forces"]),
        None if stress is None else _decode(stress),
    )


def _encode(array: FloatArray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode("ascii")


def _decode(text: str) -> FloatArray:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").reshape(-1, 3).copy()
