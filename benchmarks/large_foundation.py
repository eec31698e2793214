"""One epoch on a foundation of the size of MACE-MP-0b3: seconds and memory, against mace_run_train.

    python benchmarks/large_foundation.py [--rounds N] [--strategy NAME] [--out FILE.json]

The foundation has the architecture of MACE-MP-0b3 (89 elements, 128x0e + 128x1o, Agnesi transform, ZBL;
9.06 million parameters) and random weights, so nothing is downloaded. It is tuned on 8 frames of NaCl
with 64 atoms, 2 more validate, batches of 2, float32, one thread; every run is a process of its own.
phonotune runs twice in each round: with an empty cache, and with what the first run kept there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, sleep

import mace.modules  # before e3nn
import numpy as np
import torch
from common import markdown, middle, split
from e3nn import o3
from peers.contestants import CONTESTANTS, Job

from phonotune.data.extxyz import write_frames

HERE = Path(__file__).resolve().parent
ELEMENTS = range(1, 90)


@dataclass(frozen=True)
class Run:
    """One process: seconds of the clock and of the processor, largest resident memory in MiB."""

    program: str
    seconds: float
    cpu: float
    memory: float


def random_foundation() -> torch.nn.Module:
    """Build the architecture of MACE-MP-0b3 (medium) with random weights."""
    torch.manual_seed(0)
    blocks = mace.modules.interaction_classes
    return mace.modules.ScaleShiftMACE(
        r_max=6.0,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=blocks["RealAgnosticDensityResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticDensityInteractionBlock"],
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps("128x0e+128x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.linspace(-1.0, -8.0, len(ELEMENTS)),
        avg_num_neighbors=60.0,
        atomic_numbers=list(ELEMENTS),
        correlation=3,
        gate=torch.nn.functional.silu,
        pair_repulsion=True,
        distance_transform="Agnesi",
        radial_MLP=[64, 64, 64],
        heads=["Default"],
        atomic_inter_scale=0.8,
        atomic_inter_shift=0.2,
        use_reduced_cg=False,
    )


def measure(program: str, command: list[str], environment: dict[str, str]) -> Run:
    """Run a command to its end; its memory is looked up twenty times a second."""
    memory, started = 0.0, perf_counter()
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    process = subprocess.Popen(
        command,
        env=os.environ | threads | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    status = Path(f"/proc/{process.pid}/status")
    before = os.times()
    while process.poll() is None:
        if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii")):
            memory = max(memory, int(found[1]) / 1024)
        sleep(0.05)
    after = os.times()
    if process.returncode:
        raise SystemExit(f"{program} failed ({process.returncode}): {' '.join(command)}")
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return Run(program, perf_counter() - started, cpu, memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strategy", default="lora")
    parser.add_argument("--out", type=Path, help="every run as JSON")
    given = parser.parse_args()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), "cpu", 1, sys.executable)
        torch.save(random_foundation(), job.foundation)
        for path, frames in zip(job.frames, split("nacl", 8, 2), strict=True):
            write_frames(path, frames)
        options = ["max_epochs=1", "batch_size=2", "dtype=float32"]
        ours = [sys.executable, str(HERE / "peers" / "run_phonotune.py"), *job.frames]
        ours += [given.strategy, "cpu", f"foundation={job.foundation}", *options]
        mace_naive = next(who for who in CONTESTANTS if who.engine == "mace" and who.group == "all")
        for place in range(given.rounds):
            cache = {"PHONOTUNE_CACHE_DIR": f"{folder}/cache-{place}"}
            for program in ("phonotune, empty cache", "phonotune, probe kept"):
                runs.append(measure(program, ours, cache))
                print(runs[-1], flush=True)
            out = Path(tempfile.mkdtemp(dir=folder))
            runs.append(measure("mace_run_train", mace_naive.command(job, out), {}))
            print(runs[-1], flush=True)
    rows = []
    for program in dict.fromkeys(run.program for run in runs):
        own = [run for run in runs if run.program == program]
        columns = [[getattr(run, key) for run in own] for key in ("seconds", "cpu", "memory")]
        rows.append([program, *(middle(values, 0) for values in columns)])
    print(markdown(("program", "s", "CPU s", "MiB"), rows))
    if given.out:
        given.out.write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")


if __name__ == "__main__":
    main()
