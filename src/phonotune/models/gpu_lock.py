"""A GPU for one job: jobs on a node never share one by accident.

Each GPU has a lock file in a folder of the node that all jobs see; the kernel frees the lock when the
process dies (:func:`phonotune.files.try_lock`). What is written in the file is for people only.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import torch

from phonotune.errors import InputError, PhonotuneError
from phonotune.files import try_lock, unlock
from phonotune.settings import get_settings

logger = logging.getLogger(__name__)

_PAUSE: Final = 0.5
"""Seconds between two looks for a free GPU."""


@dataclass(frozen=True)
class Gpu:
    """A GPU of this node.

    Attributes
    ----------
    index
        How torch counts it in this process.
    name
        What every process of the node calls it.
    """

    index: int
    name: str


_held: ContextVar[Gpu | None] = ContextVar("held", default=None)


@contextmanager
def hold_gpu(job: str, gpus: Sequence[Gpu] | None = None) -> Iterator[Gpu | None]:
    """Hold a GPU that no other job has, and make it torch's current one; wait if all are taken.

    With the setting ``jobs_per_gpu`` above 1 that many jobs share a GPU, and the one with fewest jobs
    is taken; a job that wants a GPU to itself never shares one. Without a GPU, or with the setting ``device``
    on the CPU, nothing is done. A call within another gives the same GPU.

    Parameters
    ----------
    job
        Name of the job, for those who wait.
    gpus
        To choose from; None takes those that this process may use.

    Raises
    ------
    PhonotuneError
        No GPU came free within ``lease_seconds``.
    InputError
        The folder ``lease_dir`` cannot be written, or belongs to somebody else.
    """
    settings = get_settings()
    held = _held.get()
    if held is None and gpus is None:
        gpus = find_gpus() if settings.device in ("auto", "cuda") else []
    if held is not None or not gpus:
        yield held
        return
    with ExitStack() as locks:
        gpu = _wait(locks, _folder(settings.lease_dir), gpus, job)
        token = _held.set(gpu)
        try:
            with torch.cuda.device(gpu.index) if torch.cuda.is_available() else nullcontext():
                yield gpu
        finally:
            _held.reset(token)


def held_gpu() -> Gpu | None:
    """Return the GPU that :func:`hold_gpu` holds for the running job, if any."""
    return _held.get()


def find_gpus() -> list[Gpu]:
    """Return the GPUs that this process may use; none where there is no CUDA."""
    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return allowed_gpus(os.environ, [str(getattr(gpu, "uuid", "")) for gpu in found])


def allowed_gpus(environment: Mapping[str, str], uuids: Sequence[str]) -> list[Gpu]:
    """Return which of the visible GPUs a scheduler gave this job, each named alike in every process.

    Slurm may renumber the GPUs of a job from 0 on, so an index alone names nothing: the name is the
    GPU's uuid, else what ``SLURM_STEP_GPUS`` or ``SLURM_JOB_GPUS`` call it, else its entry in
    ``CUDA_VISIBLE_DEVICES``, else its index. Where Slurm names fewer GPUs than are visible and
    nobody set ``CUDA_VISIBLE_DEVICES``, only those that it names are allowed.

    Parameters
    ----------
    environment
        Environment variables.
    uuids
        One per visible GPU, as torch counts them; empty where it is unknown.
    """
    listed = _entries(environment.get("CUDA_VISIBLE_DEVICES"))
    given = _entries(environment.get("SLURM_STEP_GPUS") or environment.get("SLURM_JOB_GPUS"))
    visible = range(len(uuids))
    indices: Sequence[int] = visible
    if not listed and 0 < len(given) < len(uuids):
        indices = [i for i in visible if str(i) in given] or visible
    given, listed = (names if len(names) == len(uuids) else [] for names in (given, listed))

    def name(index: int) -> str:
        if listed and listed[index].startswith("MIG-"):
            return listed[index]
        fallback = given or listed or [str(i) for i in visible]
        return uuids[index] or fallback[index].removeprefix("GPU-")

    return [Gpu(index, name(index)) for index in indices]


def _entries(text: str | None) -> list[str]:
    return [entry.strip() for entry in (text or "").split(",") if entry.strip()]


def _folder(path: Path) -> Path:
    folder = path.expanduser()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = folder.lstat().st_uid == os.getuid()
        writable = own and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        raise InputError(
            f"The folder {folder} for the locks of the GPUs cannot be written, or belongs to another user. Set "
            "PHONOTUNE_LEASE_DIR to a folder of this node that all its jobs can write."
        )
    return folder


def _wait(locks: ExitStack, folder: Path, gpus: Sequence[Gpu], job: str) -> Gpu:
    limit = get_settings().lease_seconds
    deadline, told = monotonic() + limit, False
    while (gpu := _take(locks, folder, gpus, job)) is None:
        left = deadline - monotonic()
        if left <= 0:
            raise PhonotuneError(
                f"No GPU came free within {limit:g} s for {job}; found {_holders(folder, gpus)}. Start "
                "fewer jobs at once on this node, let them share (PHONOTUNE_JOBS_PER_GPU) or wait "
                "longer (PHONOTUNE_LEASE_SECONDS)."
            )
        if not told:
            logger.info("%s waits for a GPU; found %s", job, _holders(folder, gpus))
            told = True
        sleep(min(_PAUSE, left))
    return gpu


def _take(locks: ExitStack, folder: Path, gpus: Sequence[Gpu], job: str) -> Gpu | None:
    """Lock a GPU and return it, or None: alone, or the first free slot, the emptiest GPU first.

    Who shares a GPU holds its own file shared and that of a slot exclusively.
    """
    slots = get_settings().jobs_per_gpu
    for slot in range(slots):
        for gpu in gpus:
            with ExitStack() as mine:
                if slots == 1:
                    taken = _lock(mine, _file(folder, gpu), job)
                else:
                    taken = _lock(mine, _file(folder, gpu), shared=True) and _lock(
                        mine, _file(folder, gpu, slot), job
                    )
                if taken:
                    locks.enter_context(mine.pop_all())
                    return gpu
    return None


def _file(folder: Path, gpu: Gpu, slot: int | None = None) -> Path:
    safe = re.sub(r"[^\w.-]", "_", gpu.name)
    return folder / (f"gpu-{safe}.lock" if slot is None else f"gpu-{safe}.slot{slot}.lock")


def _lock(stack: ExitStack, path: Path, job: str | None = None, *, shared: bool = False) -> bool:
    """Lock a file until the stack closes, and sign it with a job; return whether it was free."""
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InputError(
            f"The lock {path} cannot be opened ({error.strerror}). Set PHONOTUNE_LEASE_DIR to a "
            "folder of this node that all its jobs can write."
        ) from error
    file = stack.enter_context(os.fdopen(number, "r+"))
    if not try_lock(file, shared=shared):
        return False
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        return False  # somebody cleaned the folder up: the lock of a file without a name is none
    stack.callback(unlock, file)  # children may still have the file open
    if job is not None:
        file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        who = {"pid": os.getpid(), "host": socket.gethostname(), "job": job, "since": since}
        json.dump(who, file)
        file.flush()
    return True


def _holders(folder: Path, gpus: Sequence[Gpu]) -> str:
    """Say who holds the GPUs, as far as the lock files name them."""
    signed = [
        f"{gpu.name} held by {who}"
        for gpu in gpus
        for path in sorted(folder.glob(f"{_file(folder, gpu).stem}.*"))
        if (who := _holder(path)) is not None
    ]
    return ", ".join(signed) or f"all of {len(gpus)} held"


def _holder(path: Path) -> str | None:
    """Return who holds a file exclusively; None if nobody does."""
    try:
        with path.open() as file:
            if not try_lock(file, shared=True):
                who = json.loads(file.read())
                return f"pid {who['pid']} on {who['host']} ({who['job']}, since {who['since']})"
    except (OSError, ValueError, KeyError):
        return None
    return None
