"""Fine-tuning against Equitrain and mace_run_train: seconds an epoch, accuracy, memory; alternating runs.

    python benchmarks/finetune.py [--case nacl|perovskite|all] [--threads 1 2] [--rounds N]
        [--epochs E] [--device cpu|cuda] [--peers-python PATH] [--only TEXT ...] [--out FILE.json]

Every run is a process of its own. An epoch is what lies between two lines about validation that the
program prints, so it holds steps, validation, logging and whatever the program saves; start-up and the
first epoch do not count. The floor is forward and needed backward of the plain model for the same frames,
nothing else. Energies are corrected for the offset of VASP's against the foundation's before anybody sees
them (least squares), since only phonotune does that itself.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as ase_write
from ase.stress import full_3x3_to_voigt_6_stress
from common import CASES, FOUNDATION, ROOT, markdown, middle, offset_corrected, split
from peers.contestants import CONTESTANTS, Contestant, Job
from peers.process import Run, execute

from phonotune.data.extxyz import write_frames
from phonotune.models.export import export_model
from phonotune.schemas.dataset import Frame
from phonotune.training.strategies import STRATEGIES

GOALS = {"nacl": 0.90}
"""Force MAE, meV/Å, at which LoRA by mace_run_train is known to end."""
HEADER = (
    *("group", "program and recipe", "s/epoch", "ratio", "CPU s/epoch", "CPU ratio"),
    *("forces last", "forces best", "s to known", "s to MACE LoRA", "MiB", "GPU MiB"),
)
TIMEOUT = 1800.0
"""Seconds after which a run is killed."""
GRACE = 45.0
"""Seconds that a run may take beyond --minutes."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=[*CASES, "all"], default="all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, help="default 3; on cuda 1")
    parser.add_argument("--epochs", type=int, help="default 6; on cuda 12")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--peers-python", default=str(ROOT / ".venv-peers" / "bin" / "python"), metavar="PATH"
    )
    parser.add_argument("--only", nargs="+", default=[""], help="contestants whose name holds this")
    parser.add_argument("--minutes", type=float, help="start no run after; on cuda 7")
    parser.add_argument("--out", type=Path, help="every run as JSON")
    given = parser.parse_args()
    cuda = given.device == "cuda"
    given.rounds = given.rounds or (1 if cuda else 3)
    given.epochs = given.epochs or (12 if cuda else 6)
    given.minutes = given.minutes or (7.0 if cuda else 1e9)
    given.threads = [1] if cuda else given.threads
    found = shutil.which(given.peers_python)
    given.peers_python = str(Path(found).absolute()) if found else ""
    return given


def prepare(case: str, given: argparse.Namespace, folder: Path) -> Job:
    """Write frames and foundation for everybody, and Equitrain's HDF5."""
    folder.mkdir()
    job = Job(folder, given.device, given.epochs, given.peers_python)
    sides = offset_corrected(*split(case, *CASES[case]))
    for path, frames in zip(job.frames, sides, strict=True):
        write_frames(path, frames)
    export_model(FOUNDATION, Path(job.foundation), "float32")
    if given.peers_python:
        files = [folder / f"equitrain-{name}.xyz" for name in ("train", "valid")]
        for path, frames in zip(files, sides, strict=True):
            ase_write(path, [_with_calculator(frame) for frame in frames])
        given_files = [f"--train-file={files[0]}", f"--valid-file={files[1]}"]
        module = "equitrain.scripts.equitrain_preprocess"
        command = [given.peers_python, "-m", module, *given_files, f"--output-dir={folder}"]
        subprocess.run([*command, "--r-max=5.0"], check=True, stdout=subprocess.DEVNULL)
    return job


def _with_calculator(frame: Frame) -> Atoms:
    """Return a frame as Equitrain reads it: a Voigt stress under ASE's own keys."""
    structure = frame.structure
    atoms = Atoms(
        structure.atomic_numbers, structure.cart_coords, cell=structure.lattice.matrix, pbc=True
    )
    stress = full_3x3_to_voigt_6_stress(frame.stress)
    atoms.calc = SinglePointCalculator(
        atoms, energy=frame.energy, forces=frame.forces, stress=stress
    )
    return atoms


def contestants(given: argparse.Namespace) -> list[Contestant]:
    found = []
    for who in CONTESTANTS:
        if who.engine == "phonotune" and who.recipe not in STRATEGIES:
            print(f"{who.name}: no such strategy, left out", file=sys.stderr)
        elif (given.peers_python or not who.peer) and any(text in who.name for text in given.only):
            found.append(who)
    return found


def compete(job: Job, given: argparse.Namespace, threads: int, deadline: float) -> list[Run]:
    """Run every contestant in turn, round after round; a floor that two groups share runs once."""
    runs = []
    groups: dict[str, list[str]] = {}
    entered = {who.name: who for who in contestants(given)}
    for who in contestants(given):
        groups.setdefault(who.name, []).append(who.group)
    for _ in range(given.rounds):
        for name, who in entered.items():
            left = deadline - perf_counter()
            if left < 0:
                print(f"  no time left: {name} not run")
                continue
            out = Path(tempfile.mkdtemp(dir=job.folder))
            run = execute(who, who.command(job, out), threads, min(TIMEOUT, left + GRACE), out)
            print(f"  {name}: {middle(run.epoch_seconds)} s/epoch, {run.wall:.0f} s; {run.moved}")
            runs += [replace(run, group=group) for group in groups[name]]
    return runs


def table(runs: list[Run], job: Job) -> str:
    """Return medians over rounds and epochs, and the ratio to each peer of the group."""
    mace = [r.forces[-1] for r in runs if r.contestant == "mace_run_train LoRA" and r.forces]
    goals = [GOALS.get(job.folder.name, 0.0), median(mace) if mace else 0.0]
    rows = []
    for who in sorted(CONTESTANTS, key=lambda w: ("early", "all", "lora").index(w.group)):
        own = [r for r in runs if (r.contestant, r.group) == (who.name, who.group) and r.forces]
        if own:
            rows.append([who.group, who.name, *_row(own, goals, runs)])
    return markdown(HEADER, rows)


def _row(own: list[Run], goals: list[float], runs: list[Run]) -> list[str]:
    reached = [[t for r in own if (t := r.reached(goal)) is not None] for goal in goals]
    memory = [r.device_memory for r in own if r.device_memory is not None]
    return [
        middle(_seconds(own, "epoch_seconds")),
        _ratios(own, runs, "epoch_seconds"),
        middle(_seconds(own, "epoch_cpu")),
        _ratios(own, runs, "epoch_cpu"),
        middle([r.forces[-1] for r in own], 2),
        middle([min(r.forces) for r in own], 2),
        *(middle(times, 1) for times in reached),
        middle([r.rss for r in own], 0),
        middle(memory, 0),
    ]


def _seconds(runs: list[Run], kind: str) -> list[float]:
    return [seconds for run in runs for seconds in getattr(run, kind)]


def _ratios(own: list[Run], runs: list[Run], kind: str) -> str:
    """Return e.g. ``0.85 Equitrain, 0.92 mace``: own time over that of the peers of the group."""
    found, mine = [], _seconds(own, kind)
    for who in CONTESTANTS:
        if who.peer and who.group == own[0].group and who.name != own[0].contestant:
            theirs = _seconds([r for r in runs if r.contestant == who.name], kind)
            if mine and theirs:
                found.append(f"{median(mine) / median(theirs):.2f} {who.name.split()[0]}")
    return ", ".join(found) or "-"


def main() -> None:
    given = arguments()
    if not given.peers_python:
        print("No Python of the peers: only phonotune runs (`make bench` installs them).")
    deadline = perf_counter() + 60.0 * given.minutes
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES if given.case == "all" else [given.case]:
            job = prepare(case, given, Path(folder) / case)
            for threads in given.threads:
                title = f"{case}, {given.device}, {threads} thread(s), {given.epochs} epochs"
                print(title, flush=True)
                runs = compete(job, given, threads, deadline)
                results += [{"case": case, "threads": threads} | run.as_dict() for run in runs]
                print(f"\n{title}, {given.rounds} round(s)\n\n{table(runs, job)}\n", flush=True)
                if given.out:
                    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
