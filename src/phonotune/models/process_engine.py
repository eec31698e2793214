"""Potentials that run in processes of their own: another environment, started once and kept.

:mod:`phonotune.models.potential_worker` is what runs there.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase.data import chemical_symbols

from phonotune.errors import FoundationError, PhonotuneError, StructureError
from phonotune.models import potential_worker
from phonotune.models.ase_engine import no_answer, not_finite
from phonotune.models.potential_worker import pack_frame, read_frame
from phonotune.models.potentials import added_potentials, record_of
from phonotune.ports import Evaluation, Source
from phonotune.schemas.potential import Potential, Weights
from phonotune.schemas.training import FoundationRecord, ModelRecord
from phonotune.settings import get_settings

if TYPE_CHECKING:
    from pymatgen.core import Structure

logger = logging.getLogger(__name__)

MOST_DEATHS: Final = 3
"""How often in a row a process may die at the same structure."""
_KEPT_PROCESSES: Final = 4
_KEPT: Final = 4096
"""Bytes that are kept of what a process wrote last."""
_SAID: Final = 300
"""Characters of that in a message."""


class ProcessEvaluator:
    """Answers structures by a potential in a process; implements :class:`phonotune.ports.Evaluator`.

    The process starts with the first structure and serves every evaluator of that potential.

    Parameters
    ----------
    record
        Names the potential.
    """

    members = ()
    atoms_at_once = 64
    """Atoms between two looks at the clock (:class:`phonotune.models.answer_cache.AnswerCache`)."""

    def __init__(self, record: ModelRecord) -> None:
        self._record = record

    @property
    def elements(self) -> tuple[str, ...] | None:
        """Chemical symbols that the potential knows; None if nobody says."""
        return potential_elements(self._record.foundation)

    @property
    def source(self) -> Source:
        """Who answers, as Documents name it."""
        return self._record.source()

    @property
    def identity(self) -> str:
        """Weights, package, version and arguments, hashed."""
        return self._record.model_id

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Evaluate structures, in order; a process that dies is started again and goes on.

        Raises
        ------
        StructureError
            An element is unknown to the potential.
        FoundationError
            It cannot be started here, or is another version than that of the record.
        PhonotuneError
            It failed, gave NaN or infinity, took too long, or died at the same structure again and again.
        """
        name, answers = self._record.foundation.name, list[Evaluation]()
        known = self._record.foundation.potential
        for structure in structures if known and known.elements else ():
            assert known is not None
            symbols = {chemical_symbols[z] for z in structure.atomic_numbers}
            if new := symbols - set(known.elements or ()):
                raise StructureError(
                    f"{name} does not know {', '.join(sorted(new))} of {structure.composition.formula}. "
                    "Choose another potential."
                )
        deaths, died_at = 0, -1
        while len(answers) < len(structures):
            process, rest = running(self._record.foundation), structures[len(answers) :]
            head: dict[str, Any] = {}
            try:
                with process.lock:
                    process.send(_request(rest))
                    for _ in rest:
                        head, arrays = process.receive()
                        if head:
                            break
                        answers.append(
                            Evaluation(
                                float(arrays["energy"]), arrays["forces"], arrays.get("stress")
                            )
                        )
            except _DiedError as death:
                deaths = deaths + 1 if died_at == len(answers) else 1
                died_at = len(answers)
                if deaths == MOST_DEATHS:
                    raise PhonotuneError(
                        f"The process of {name} died {deaths} times at "
                        f"{structures[died_at].composition.formula}: {death}. Look whether the memory "
                        "suffices, or evaluate that structure in the potential's own environment."
                    ) from death
                logger.warning("The process of %s died (%s); it starts again.", name, death)
            except BaseException:
                process.stop()  # answers to this request may still be on their way
                raise
            if "not_finite" in head:
                raise not_finite(name, structures[len(answers)])
            if head:
                raise no_answer(name, structures[len(answers)], head["failed"])
        return answers


def evaluate_in_process(record: ModelRecord, _device: str, _dtype: str) -> ProcessEvaluator:
    """Return the evaluator of a record; device and precision are among the potential's own arguments."""
    return ProcessEvaluator(record)


def potential_elements(foundation: FoundationRecord) -> tuple[str, ...] | None:
    """Return the chemical symbols of the record, else what the calculator says it knows, else None."""
    assert foundation.potential is not None
    if foundation.potential.elements is not None:
        return foundation.potential.elements
    said = running(foundation).about["elements"]
    return None if said is None else tuple(said)


def local_potential(foundation: FoundationRecord) -> Potential:
    """Return how this machine makes the potential of a record.

    The setting ``potentials`` names its Python, else the potential of the same identity that was added here,
    else the record.
    """
    assert foundation.potential is not None
    here = added_potentials().get(foundation.name)
    potential = foundation.potential
    if here is not None and record_of(foundation.name, here).sha256 == foundation.sha256:
        potential = here
    python = get_settings().potentials.get(foundation.name)
    if python is None:
        return potential
    return potential.model_copy(update={"python": str(python.expanduser().absolute())})


def start(name: str, potential: Potential) -> FoundationRecord:
    """Start the process of a potential that has no record yet, keep it, and return its record.

    Raises
    ------
    FoundationError
        It cannot be made.
    """
    devices = visible_devices()
    process = PotentialProcess(name, potential, devices)
    record = record_of(name, process.found)
    old = _processes.pop((os.getpid(), record.sha256, devices), None)
    if old is not None:
        old.stop()
    _processes[os.getpid(), record.sha256, devices] = process
    return record


_processes: dict[tuple[Any, ...], PotentialProcess] = {}


def running(foundation: FoundationRecord) -> PotentialProcess:
    """Return the process of a potential; it is started once, and again if it has died.

    Raises
    ------
    FoundationError
        It cannot be started here, or is another version than that of the record.
    """
    devices = visible_devices()
    key = (os.getpid(), foundation.sha256, devices)
    process = _processes.pop(key, None)
    if process is None or not process.alive:
        process = PotentialProcess(foundation.name, local_potential(foundation), devices)
        found = record_of(foundation.name, process.found)
        if found.sha256 != foundation.sha256:
            process.stop()
            raise FoundationError(
                f"{foundation.name} is another potential here than where it was added: found "
                f"{found.potential}, expected {foundation.potential}. Install the same version, or add "
                "it under a name of its own."
            )
    _processes[key] = process
    for old in list(_processes)[:-_KEPT_PROCESSES]:
        _processes.pop(old).stop()
    return process


@atexit.register
def stop_processes() -> None:
    """Stop every process that this one has started."""
    for key in list(_processes):
        process = _processes.pop(key)
        if key[0] == os.getpid():
            process.stop()


def visible_devices() -> str | None:
    """Return ``CUDA_VISIBLE_DEVICES`` of a process: the GPU that the job holds, none on a CPU, else as here."""
    if get_settings().device == "cpu":
        return ""
    lock = sys.modules.get("phonotune.models.gpu_lock")  # who has not loaded it holds no GPU
    held = None if lock is None else lock.held_gpu()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if held is None:
        return listed
    return listed.split(",")[held.index] if listed else str(held.index)


class PotentialProcess:
    """A process that makes a calculator and answers structures with it.

    Parameters
    ----------
    name
        Of the potential, for messages.
    potential
        What to make, and the Python to make it with.
    devices
        ``CUDA_VISIBLE_DEVICES``; None as here.

    Raises
    ------
    FoundationError
        There is no such Python, or the calculator cannot be made with it.
    """

    def __init__(self, name: str, potential: Potential, devices: str | None = None) -> None:
        self.lock = threading.Lock()
        self._name, self._limit = name, get_settings().potential_seconds
        python = Path(potential.python or sys.executable)
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(1)
        environment = {"OMP_NUM_THREADS": str(len(cores)), **os.environ, "PYTHONSAFEPATH": "1"}
        environment.pop("PYTHONHOME", None)
        if devices is not None:
            environment["CUDA_VISIBLE_DEVICES"] = devices
        try:
            self._process = subprocess.Popen(
                [python, potential_worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C is for this process, which then ends the other
            )
        except OSError as error:
            raise FoundationError(
                f"The Python of {name}, {python}, cannot be started here ({error.strerror}). Run `phonotune "
                f"models add {name}` on this machine with --python, or set PHONOTUNE_POTENTIALS="
                f'\'{{"{name}": "/path/to/python"}}\'.'
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        self._said = b""
        self._reader = threading.Thread(target=self._keep_stderr, daemon=True)
        self._reader.start()
        order = {
            "calculator": potential.calculator,
            "arguments": potential.arguments,
            "weights": potential.weights and potential.weights.path,
        }
        try:
            self.send(pack_frame(order))
            self.about, _ = self.receive()
            why = self.about.get("failed")
        except _DiedError as death:
            why = str(death)
        except BaseException:
            self.stop()
            raise
        if why:
            self.stop()
            raise FoundationError(
                f"{name} cannot be made from {potential.calculator} by {python}: "
                f"{' '.join(why.split()).rstrip('.')}. Make it work in that Python first."
            )
        weights = self.about["weights"] or None
        self.found = potential.model_copy(
            update={
                "versions": self.about["versions"],
                "weights": weights and Weights.model_validate(weights),
            }
        )
        """The potential as it is here."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def send(self, content: bytes) -> None:
        """Write a frame; raises as :meth:`receive`."""
        if not self.alive:
            raise self._death()
        end, rest = monotonic() + self._limit, memoryview(content)
        while rest:
            self._wait(end, [], [self._in])
            try:
                rest = rest[os.write(self._in, rest) :]
            except BrokenPipeError:
                raise self._death() from None

    def receive(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return header and arrays of the next frame.

        Raises
        ------
        PhonotuneError
            Nothing came for the setting ``potential_seconds``; the process is stopped.
        """
        end = monotonic() + self._limit

        def read(length: int) -> bytes:
            content = bytearray()
            while len(content) < length:
                self._wait(end, [self._out], [])
                part = os.read(self._out, length - len(content))
                if not part:
                    raise self._death()
                content += part
            return bytes(content)

        return read_frame(read)

    def stop(self) -> None:
        """End the process, and those that it started, and close its pipes."""
        if self.alive:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=1.0)  # a child of the process may still have stderr open
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _wait(self, end: float, reading: list[int], writing: list[int]) -> None:
        if not any(select.select(reading, writing, [], max(0.0, end - monotonic()))):
            self.stop()
            raise PhonotuneError(
                f"{self._name} gave no answer for {self._limit:g} s, and its process was stopped. "
                f"{self._last_words()}Look whether it hangs, or set PHONOTUNE_POTENTIAL_SECONDS higher."
            )

    def _death(self) -> _DiedError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        self.stop()
        code = self._process.returncode
        how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        return _DiedError(f"{how}. {self._last_words()}".rstrip(" ."))

    def _last_words(self) -> str:
        lines = self._said.decode(errors="replace").replace("\r", "\n").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"It wrote last: {last[-_SAID:].rstrip('.')}. " if last else ""

    def _keep_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while part := os.read(pipe.fileno(), _KEPT):
                self._said = (self._said + part)[-_KEPT:]


class _DiedError(Exception):
    """The process ended; says how, and what it wrote last."""


def _request(structures: Sequence[Structure]) -> bytes:
    return pack_frame(
        {"counts": [len(structure) for structure in structures]},
        cells=np.array([structure.lattice.matrix for structure in structures]),
        numbers=np.concatenate([np.array(s.atomic_numbers, dtype=np.int64) for s in structures]),
        positions=np.concatenate([structure.cart_coords for structure in structures]),
    )
