"""Run one contestant as a process of its own; its epochs are timed by when their lines arrive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import Any, Final

from peers.contestants import Contestant

MOVED: Final = re.compile(r"(?:^moved|Number of params *:) *(.*)")


@dataclass
class Run:
    """What one process told and took.

    Attributes
    ----------
    stamps, forces
        Seconds since the foundation was validated, and validation force MAE (meV/Å); entry 0 is the
        foundation.
    cpu
        Seconds of all processor cores together up to these lines: what a busy machine disturbs least.
    wall
        Seconds of the whole process, imports included.
    moved
        What is trained, in the program's words, where it says so.
    rss
        Largest resident memory up to the last line, MiB, from /proc: a child's ru_maxrss starts with
        its parent's. `device_memory` likewise on the GPU, by torch.
    """

    contestant: str
    group: str
    dtype: str
    command: list[str]
    stamps: list[float] = field(default_factory=list)
    forces: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    moved: str = ""
    wall: float = 0.0
    rss: float = 0.0
    device_memory: float | None = None
    returncode: int = 0
    tail: list[str] = field(default_factory=list)

    @property
    def epoch_seconds(self) -> list[float]:
        """Seconds of every epoch but the first."""
        return _steps(self.stamps)

    @property
    def epoch_cpu(self) -> list[float]:
        """Processor seconds of every epoch but the first."""
        return _steps(self.cpu)

    def reached(self, target: float) -> float | None:
        """Return seconds of training until the force MAE is at most `target`, or None."""
        pairs = zip(self.stamps, self.forces, strict=True)
        return next((stamp for stamp, error in pairs if error <= target), None)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return asdict(self)


def _steps(stamps: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(stamps[1:])]


def _cpu_seconds(pid: int) -> float:
    """Return user and system seconds of a process (proc(5), stat: fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_memory(pid: int) -> float:
    """Return the largest resident memory so far, MiB; 0 of a process that has ended."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def execute(who: Contestant, command: list[str], threads: int, timeout: float, cwd: Path) -> Run:
    """Run a command to its end, or kill it after `timeout` seconds."""
    run = Run(who.name, who.group, who.dtype, command)
    width = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    started = perf_counter()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | width | {"PYTHONUNBUFFERED": "1"},
    )
    alarm = Timer(timeout, process.kill)
    alarm.start()
    _listen(process, who, run)
    alarm.cancel()
    run.returncode, run.wall = process.wait(), perf_counter() - started
    run.stamps = [stamp - run.stamps[0] for stamp in run.stamps]
    if run.returncode:
        print(f"{who.name} failed ({run.returncode}):\n" + "\n".join(run.tail), file=sys.stderr)
    return run


def _listen(process: subprocess.Popen[str], who: Contestant, run: Run) -> None:
    pattern = re.compile(who.pattern)
    for line in process.stdout or ():
        now = perf_counter()
        run.rss = max(run.rss, _peak_memory(process.pid))
        run.tail = [*run.tail, line.rstrip()][-20:]
        if line.startswith("device_memory"):
            run.device_memory = float(line.split()[1])
        if told := MOVED.search(line):
            run.moved = told[1]
        if found := pattern.search(line):
            run.stamps.append(now)
            run.cpu.append(_cpu_seconds(process.pid))
            run.forces.append(who.unit * float(found["forces"]))
