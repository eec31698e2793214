"""A potential of another environment against its own loop; its properties against atomate2 and matcalc.

    python benchmarks/potentials.py [--rounds 5] [--loop 7net-0] [--model 7net-l3i5] [--cells 4]
        [--peers-python PATH] [--only phonon elastic]

`make potentials` must have been run. The loop: displaced cells of NaCl (64 atoms) by the engine `process`,
and by the ASE calculator in a plain loop in its own environment, in turns; seconds on the clock, and of
CPU, which other work on the machine does not lengthen. The properties are those of
benchmarks/properties.py, with the same potential everywhere; the peers' Python has sevenn==0.13.0,
atomate2==0.1.5 and matcalc==0.7.0.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from ase.io import write
from common import NACL, SUPERCELL, markdown, middle
from properties import Program, table, take_turns

from phonotune.data.structures import read_structure
from phonotune.models.evaluators import load_evaluator
from phonotune.models.potentials import find_potential
from phonotune.models.process_engine import running
from phonotune.physics.supercell import make_supercell


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--loop", default="7net-0", help="potential of the loop; empty: none")
    parser.add_argument("--cells", type=int, default=4, help="cells of the loop")
    parser.add_argument(
        "--model", default="7net-l3i5", help="potential of the properties; empty: none"
    )
    parser.add_argument("--only", nargs="+", default=["phonon", "elastic"])
    parser.add_argument("--peers-python", default="", metavar="PATH")
    return parser.parse_args()


def race(given: argparse.Namespace, folder: Path) -> str:
    """Return seconds of the engine and of the plain loop, round after round, and their ratio."""
    supercell = make_supercell(read_structure(NACL / "POSCAR-unitcell"), SUPERCELL)
    cells = [supercell.copy() for _ in range(given.cells)]
    for seed, cell in enumerate(cells):
        cell.perturb(0.02, seed=seed)
    path = folder / "cells.extxyz"
    write(path, [cell.to_ase_atoms(msonable=False) for cell in cells], format="extxyz")
    potential = find_potential(given.loop).potential
    python = potential.python or sys.executable
    script = Path(__file__).parent / "peers" / "potential_loop.py"
    process = subprocess.Popen(
        [python, str(script), given.loop, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(given.threads), "PYTHONWARNINGS": "ignore"},
    )
    plain, evaluator = Program(process), load_evaluator(given.loop)
    evaluator(cells)
    plain.ask("loop", keep=False)
    ours, cpu, energy = [], [], 0.0
    worker = running(find_potential(given.loop)).pid
    for _ in range(given.rounds):
        begun, used = perf_counter(), process_time() + cpu_seconds(worker)
        energy = sum(answer.energy for answer in evaluator(cells))
        ours.append(perf_counter() - begun)
        cpu.append(process_time() + cpu_seconds(worker) - used)
        plain.ask("loop")
    process.terminate()
    theirs = [answer["loop"] for answer in plain.answers["loop"]]
    their_cpu = [answer["cpu"] for answer in plain.answers["loop"]]
    other = plain.answers["loop"][-1]["energy"]
    rows = [
        ["engine `process`", middle(ours), middle(cpu), f"{energy:.4f}"],
        ["the calculator's own loop", middle(theirs), middle(their_cpu), f"{other:.4f}"],
    ]
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    ratio_cpu = median(a / b for a, b in zip(cpu, their_cpu, strict=True))
    heading = f"{given.loop} ({potential}): {given.cells} cells of {len(supercell)} atoms"
    shown = markdown([heading, "s", "s of CPU", "sum of energies (eV)"], rows)
    return (
        f"{shown}\n\nratio {ratio:.3f}, of CPU {ratio_cpu:.3f} (medians over {given.rounds} rounds)"
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def properties(given: argparse.Namespace, folder: Path) -> str:
    """Return the tables of the properties."""
    read_structure(NACL / "POSCAR-unitcell").to(filename=str(folder / "crystal.json"))
    pythons = {"phonotune": sys.executable}
    if shutil.which(given.peers_python):
        pythons |= {"atomate2": given.peers_python, "matcalc": given.peers_python}
    programs = take_turns(given, folder, pythons, given.model)
    heading = f"{given.model}: {find_potential(given.model).potential}"
    return "\n\n".join([heading, *(table(task, programs) for task in given.only)])


def main() -> None:
    given = arguments()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        if given.loop:
            print(race(given, Path(folder)) + "\n", flush=True)
        if given.model:
            print(properties(given, Path(folder)))


if __name__ == "__main__":
    main()
