"""Time and memory of `import` and `dataset` on many frames.

    python benchmarks/datasets.py FOLDER [--frames 1000 10000] [--runs VASPRUN...] [--copies 1000]

FOLDER gets the files. ``--runs`` are vasprun.xml files that are copied in turn. Each command runs in its own
process; printed are wall seconds, CPU seconds and the peak of its memory. Beside them stand the CPU seconds of
what a split does but read and write text: the hash of every frame, duplicates, the draw and the dataset's hash.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.data.assemble import Entry
from phonotune.data.duplicates import DuplicateSearch
from phonotune.data.extxyz import write_frames
from phonotune.data.identity import Snapshot, dataset_hash
from phonotune.data.split import SplitRequest
from phonotune.schemas.dataset import Frame

PHONOTUNE = "from phonotune.cli.app import main; main()"


def made_up(count: int) -> Iterator[Frame]:
    """Yield rattled NaCl cells of 64 atoms with random labels, ten a group."""
    cell = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]
    )
    cell *= (2, 2, 2)
    rng = np.random.default_rng(0)
    for number in range(count):
        positions = cell.cart_coords + rng.normal(scale=0.05, size=(64, 3))
        yield Frame(
            Structure(cell.lattice, cell.species, positions, coords_are_cartesian=True),
            energy=-200.0 + rng.normal(),
            forces=rng.normal(size=(64, 3)),
            stress=1e-3 * np.eye(3),
            group=f"g{number // 10}",
            origin=f"f{number}",
            labeller="random",
            protocol="none",
        )


def measure(*arguments: object) -> None:
    """Run a command and print what it took."""
    start = time.perf_counter()
    words = [sys.executable, "-c", PHONOTUNE, *map(str, arguments)]
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    wall = time.perf_counter() - start
    command = " ".join(str(a) for a in arguments if not str(a).startswith("/"))
    print(
        f"{command:60} {wall:7.1f} s wall {usage.ru_utime + usage.ru_stime:7.1f} s CPU "
        f"{usage.ru_maxrss / 1e3:7.0f} MB, exit {os.waitstatus_to_exitcode(status)}",
        flush=True,
    )


def hash_and_split(count: int) -> None:
    """Print the CPU seconds that hash, duplicates and split of frames in memory take."""
    frames = list(made_up(count))
    start = time.process_time()
    entries = [Entry.of(frame) for frame in frames]
    hashed = time.process_time()
    search = DuplicateSearch()
    for frame in frames:
        search.add(Snapshot.of(frame.structure))
    first = search.first_equal(lambda wanted: {i: Snapshot.of(frames[i].structure) for i in wanted})
    found = time.process_time()
    asked = SplitRequest(valid_fraction=0.2, rng=np.random.default_rng(0))
    train, valid, _ = asked.apply([entry.group for entry in entries])
    dataset_hash(*([entries[i].hash for i in side] for side in (train, valid)), "random")
    end = time.process_time()
    assert first == list(range(count))
    print(
        f"{count} frames in memory: hashes {hashed - start:.2f} s, duplicates {found - hashed:.2f} s, "
        f"split and hash of the dataset {end - found:.2f} s CPU",
        flush=True,
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--copies", type=int, default=1000)
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if given.runs:
        runs = folder / "runs"
        for number in range(given.copies):
            target = runs / f"{number:05d}"
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(given.runs[number % len(given.runs)], target / "vasprun.xml")
        print(f"{given.copies} vasprun.xml")
        measure("import", runs, "-o", folder / "runs.extxyz")
    for count in given.frames:
        path = folder / f"{count}.extxyz"
        write_frames(path, made_up(count))
        print(f"{count} frames of 64 atoms, {path.stat().st_size / 1e6:.0f} MB of extxyz")
        measure("import", path, "-o", folder / "imported.extxyz")
        measure("dataset", "info", path)
        measure("dataset", "split", path, "--valid", 0.2, "-o", folder / f"dataset-{count}")
        measure("dataset", "info", folder / f"dataset-{count}")
        measure("dataset", "export", path, "-o", folder / "exported.extxyz")
    for (
        count
    ) in given.frames:  # last: a process starts with the memory peak of the one that made it
        hash_and_split(count)


if __name__ == "__main__":
    main()
