"""A MongoDB server for tests, as a process of its own: never an imitation in this one.

The first that is there: the server of ``PHONOTUNE_TEST_MONGO_URI``, a ``mongod`` on PATH, SecantusDB (PyPI,
a wire server on WiredTiger; GPL-2.0, so it is only ever started as a program).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gate import Gate
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

URI_VARIABLE = "PHONOTUNE_TEST_MONGO_URI"
NONE_HERE = (
    f"no MongoDB server: set {URI_VARIABLE}, put mongod on PATH, or pip install SecantusDB==0.7.0b3"
)
PATIENCE = 60.0
"""Seconds until a server that was started must answer."""


def find_program() -> str | None:
    """Return the path of mongod or of SecantusDB's server, or None."""
    beside = Path(sys.executable).with_name("secantusd-py")
    return shutil.which("mongod") or (
        str(beside) if beside.is_file() else shutil.which("secantusd-py")
    )


class MongoServer:
    """A server on a free port of this machine, with its data in a folder; SecantusDB behind a gate.

    Parameters
    ----------
    folder
        Where the data lie: a server that was killed goes on with them.
    program
        mongod or secantusd-py.
    auth
        Demand user and password.
    durable
        Write every change to disk before it is confirmed: nothing is lost with ``kill -9``, and
        everything takes longer.
    """

    def __init__(
        self, folder: Path, program: str, *, auth: bool = False, durable: bool = False
    ) -> None:
        self.folder = folder
        self.program = program
        self.auth = auth
        self.durable = durable
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._gate: Gate | None = None
        self._inner = 0

    @property
    def uri(self) -> str:
        """Address without user and database."""
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self, wait: bool = True) -> None:
        """Start the server and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._is_mongod and self._gate is None:
            self._inner = _free_port()
            self._gate = Gate(self.port, self._inner)
            self._gate.open()
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=subprocess.STDOUT, cwd=self.folder.parent
            )
        if wait:
            self._wait()

    def kill(self) -> None:
        """Kill it as a crash does; :meth:`start` brings it back with its data."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server as a user would."""
        self._end(signal.SIGTERM)
        if self._gate is not None:
            self._gate.close()
            self._gate = None

    @property
    def _is_mongod(self) -> bool:
        return Path(self.program).name == "mongod"

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _command(self) -> Sequence[str]:
        where = str(self.folder)
        if self._is_mongod:
            options = ["--bind_ip", "127.0.0.1", "--dbpath", where, "--port", str(self.port)]
        else:
            options = ["--host", "127.0.0.1", "--storage-path", where, "--port", str(self._inner)]
            options += ["--cache-size", "256M", "--log-level", "WARNING", "--standalone"]
            options += ["--sync-on-commit"] if self.durable else []
        return [self.program, *options, *(["--auth"] if self.auth else [])]

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.program} ended with code {self._process.returncode}")
            if answers(self.uri):
                return
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"{self.program} does not answer after {PATIENCE:g} s")


def answers(uri: str) -> bool:
    """Return whether a server answers there."""
    with MongoClient(uri, serverSelectionTimeoutMS=1000) as client:
        try:
            client.admin.command("ping")
        except OperationFailure:
            return True  # it wants a password first
        except PyMongoError:
            return False
    return True


def given_uri() -> str | None:
    """Return the address of a server that somebody else runs, or None."""
    return os.environ.get(URI_VARIABLE) or None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
