"""Start programs, wait for them, and end them with their children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Background:
    """A process group that ends with the block."""

    def __init__(self, command: list[str], log: Path, **options: Any) -> None:
        self.command, self.log, self.options = command, log, options

    def __enter__(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, start_new_session=True, **self.options
            )
        return self.process

    def __exit__(self, *_: object) -> None:
        for stop in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, stop)
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    continue


def run(*command: str) -> str:
    """Run a program and return its stdout; a failure shows everything that it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def wait_for(condition: Callable[[], bool], seconds: float, every: float = 0.3) -> None:
    """Wait until a condition holds; fail after this many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(every)


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
