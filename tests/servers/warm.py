"""Processes that start with everything imported: forks of one server (Python's forkserver).

A fresh interpreter imports torch, mace and atomate2 again. Only a test of the start itself needs one; a test
that kills a process, or reads all that it prints, does not.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import signal
import sys
import warnings
from pathlib import Path
from types import FunctionType
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "phonotune.cli.app",
        "phonotune.flows.pipeline",
        "phonotune.jobs.phonon",
        "phonotune.models.evaluate",
        "phonotune.report.html",
        "phonotune.training.finetune",
        "atomate2.vasp.jobs.core",
    ]
)


class WarmProcess:
    """A function in a process of its own, in a process group of its own.

    Parameters
    ----------
    function
        A function at the top level of a file, which is loaded anew there; what it prints goes to ``stdout``
        and ``stderr``.
    arguments
        What it is called with; a Connection of ``CONTEXT.Pipe()`` among them talks with it.
    folder
        Where ``stdout`` and ``stderr`` are written.
    variables
        Environment variables beside those of this process.
    cwd
        Working directory; None for that of this process.
    """

    def __init__(
        self,
        function: FunctionType,
        *arguments: Any,
        folder: Path,
        variables: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*.stdout")))
        self._files = [folder / f"{number}.{name}" for name in ("stdout", "stderr")]
        for file in self._files:
            file.touch()
        environment = {**os.environ, **(variables or {})}
        self.process = CONTEXT.Process(
            target=_run,
            args=(function.__code__.co_filename, function.__name__, arguments),
            kwargs={"environment": environment, "files": self._files, "cwd": cwd or Path.cwd()},
        )
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    @property
    def stdout(self) -> str:
        """What the process has printed so far."""
        return self._files[0].read_text()

    @property
    def stderr(self) -> str:
        """What the process has written to stderr so far."""
        return self._files[1].read_text()

    def kill(self) -> None:
        """Kill the process and its children with SIGKILL, and wait for the end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.kill()  # where it has no group yet
        self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for a signal."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode


def phonotune(*arguments: object) -> None:
    """Run the command line: a function for :class:`WarmProcess`."""
    from phonotune.cli.app import main

    sys.argv = ["phonotune", *map(str, arguments)]
    main()


def _run(
    file: str,
    name: str,
    arguments: tuple[Any, ...],
    *,
    environment: dict[str, str],
    files: list[Path],
    cwd: Path,
) -> None:
    """Set group, folder, environment and streams of this process, then call the function."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in paths if path and path not in sys.path]
    if shown := environment.get("PYTHONWARNINGS"):
        warnings.simplefilter(shown)  # type: ignore[arg-type]
    for stream, target in zip((sys.stdout, sys.stderr), files, strict=True):
        stream.flush()
        with target.open("ab") as opened:
            os.dup2(opened.fileno(), stream.fileno())
    from phonotune.settings import get_settings

    get_settings.cache_clear()
    spec = importlib.util.spec_from_file_location("warm_process", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["warm_process"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    getattr(module, name)(*arguments)
