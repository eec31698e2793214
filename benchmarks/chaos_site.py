"""A cluster of one machine for chaos.py: database, Slurm, the files of a manager, and who can be killed."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from pymatgen.core import Lattice, Structure

from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.flows.profile_files import Site, write_profile
from phonotune.physics.elastic import ElasticSettings
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.physics.wells.double_well import WellSettings
from phonotune.sampling.settings import RattleSettings, SelectSettings

TESTS = Path(__file__).resolve().parents[1] / "tests"
WORKERS = ("light", "cpu", "gpu")
MARKS = {"fireworks": ("rlaunch",), "jobflow-remote": ("execution run",)}
"""What stands in the command of a worker's process."""
FW_CONFIG = """\
QUEUE_UPDATE_INTERVAL: 1
PING_TIME_SECS: 10
WFLOCK_EXPIRATION_SECS: 15
WFLOCK_EXPIRATION_KILL: true
"""
RUNNER = """\
runner:
  delay_checkout: 1
  delay_check_run_status: 1
  delay_advance_status: 1
  delay_update_batch: 1
  delta_retry: [2, 4, 8]
"""
MAKER = PhonotuneMaker(
    foundation="mini",
    labeller="emt",
    strategies=["lora"],
    options={"lora": {"max_epochs": 2}},
    rattle=RattleSettings(n_cells=2, volumes=(0.0, 2.5), min_length=4.0, small=()),
    relaxation=RelaxSettings(max_steps=5),
    select=SelectSettings(budget=3, n_valid=1),
    phonon=PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2))),
    elastic=ElasticSettings(strains=(-0.005, 0.005)),
    well=WellSettings(n_amplitudes=5),
)
"""The whole DAG in its smallest size, as in tests/cluster."""


def crystals() -> dict[str, Structure]:
    """Return four cells of aluminium, the one metal that EMT and ``mini`` both know."""
    fcc = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    bcc = Structure.from_spacegroup("Im-3m", Lattice.cubic(3.25), ["Al"], [[0, 0, 0]])
    hcp = Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(2.85, 4.65), ["Al"], [[1 / 3, 2 / 3, 0.25]]
    )
    return {
        "fcc": fcc.get_primitive_structure(),
        "fcc4": fcc,
        "bcc": bcc.get_primitive_structure(),
        "hcp": hcp,
    }


def load(name: str) -> ModuleType:
    """Import a file of tests/servers."""
    path = TESTS / "servers" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"server_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ClusterSite:
    """Everything that runs beside the jobs; the block ends all of it, the folder stays.

    Parameters
    ----------
    manager
        ``fireworks`` or ``jobflow-remote``.
    folder
        Where all of it lies; one that is there goes on.
    """

    def __init__(self, manager: str, folder: Path) -> None:
        self.manager, self.folder = manager, folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.slurm, self.mongo = load("slurm"), load("mongo")
        program = self.mongo.find_program()
        if program is None:
            raise SystemExit(self.mongo.NONE_HERE)
        if reason := self.slurm.missing():
            raise SystemExit(reason)
        self.server = self.mongo.MongoServer(folder / "database", program, durable=True)
        port = folder / "port"
        if port.is_file():
            self.server.port = int(port.read_text())
        port.write_text(str(self.server.port))
        self.launchers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Start the servers and write what is missing."""
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        new = not (self.folder / "profile.yaml").is_file()
        if new:
            site = Site(host="127.0.0.1", port=self.server.port, database="chaos")
            write_profile(self.manager, self.folder, site)
            (self.folder / "FW_config.yaml").write_text(FW_CONFIG)
            if self.manager == "jobflow-remote":
                quicken(self.folder)
            else:
                for file in self.folder.glob("*/my_qadapter.yaml"):
                    file.write_text(file.read_text().replace("--sleep 60", "--sleep 2"))
        self._environment()
        self.server.start()
        (self.folder / "slurm").mkdir(exist_ok=True)
        self.slurm.up(self.folder / "slurm")
        if new:
            reset = ["lpad", "-l", str(self.folder / "my_launchpad.yaml"), "reset", "--password"]
            today = time.strftime("%Y-%m-%d")
            remote = ["jf", "admin", "reset", "-y"]
            self._run(*([*reset, today] if self.manager == "fireworks" else remote))

    def __exit__(self, *_: object) -> None:
        """End everything that was started."""
        for process in self.launchers.values():
            end(process)
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)
        self.slurm.down(self.folder / "slurm")
        self.server.stop()

    def _environment(self) -> None:
        bin_ = Path(sys.executable).parent
        os.environ |= {
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "SLURM_CONF": str(self.folder / "slurm" / "slurm.conf"),
            "FW_CONFIG_FILE": str(self.folder / "FW_config.yaml"),
            "JFREMOTE_PROJECTS_FOLDER": str(self.folder / "projects"),
            "JFREMOTE_PROJECT": "phonotune",
            **{
                f"PHONOTUNE_{name}": str(self.folder / name.lower())
                for name in ("DATA_DIR", "CACHE_DIR", "CHECKPOINT_DIR", "LEASE_DIR")
            },
        }

    def workers(self) -> list[int]:
        """Return the processes that run jobs of this site: its folder stands in their commands."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            ours = str(self.folder) in command and "python" in command.split(" ")[0]
            if ours and any(mark in command for mark in MARKS[self.manager]):
                found.append(int(entry.parent.name))
        return sorted(found)

    def kill(self, target: str, chance: random.Random) -> str | None:
        """Kill one process of a kind with signal 9; return its name, or None if none lives."""
        if target == "database":
            self.server.kill()
            seconds = chance.uniform(0.0, 4.0)
            time.sleep(seconds)
            self.server.start()
            return f"the database, {seconds:.1f} s"
        if target == "launcher":
            alive = [name for name, process in self.launchers.items() if process.poll() is None]
            if not alive:
                return None
            name = chance.choice(sorted(alive))
            os.killpg(self.launchers[name].pid, signal.SIGKILL)
            self.launchers[name].wait()
            return f"launcher {name}"
        alive_workers = self.workers()
        if not alive_workers:
            return None
        pid = chance.choice(alive_workers)
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        os.kill(pid, signal.SIGKILL)
        return f"process {pid}: {command.replace(str(self.folder), '')[:100]}"

    def revive(self) -> None:
        """Start launchers that do not live."""
        for name, command in self._commands().items():
            process = self.launchers.get(name)
            if process is not None and process.poll() is None:
                continue
            if self.manager == "jobflow-remote":
                self._unlock()
            with (self.folder / f"{name}.log").open("ab") as log:
                cwd = self.folder / name if (self.folder / name).is_dir() else self.folder
                self.launchers[name] = subprocess.Popen(
                    command, stdout=log, stderr=log, cwd=cwd, start_new_session=True
                )

    def _commands(self) -> dict[str, list[str]]:
        if self.manager == "jobflow-remote":
            return {"runner": ["jf", "runner", "run"]}
        always = ["rapidfire", "-m", "4", "--nlaunches", "infinite", "--sleep", "2"]
        return {name: ["qlaunch", "-c", str(self.folder / name), *always] for name in WORKERS}

    def _unlock(self) -> None:
        """Take off what a runner that is dead has locked."""
        for what in ("unlock", "unlock-flow"):
            self._run("jf", "admin", what, "-y", check=False)

    def _run(self, *command: str, check: bool = True) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode:
            raise SystemExit(f"{command}: {done.stdout}{done.stderr}")


def quicken(folder: Path) -> None:
    """Give the runner short delays, and let one process of the queue run many short jobs."""
    project = folder / "projects" / "phonotune.yaml"
    text = project.read_text() + RUNNER
    for worker in ("light", "cpu"):
        place = f"    work_dir: {folder}/jobs/{worker}\n"
        assert place in text
        batch = (
            f"    batch: {{jobs_handle_dir: {folder}/batch/{worker}, work_dir: "
            f"{folder}/batch-jobs/{worker}, max_wait: 5, sleep_time: 0.5}}\n    max_jobs: 1\n"
        )
        text = text.replace(place, place + batch)
    project.write_text(text.replace("    max_jobs: 2\n", ""))


def end(process: subprocess.Popen[Any]) -> None:
    """End a process with its group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
