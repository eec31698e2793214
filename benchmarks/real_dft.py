"""Real DFT through the whole path of VASP: six cells of NaCl by GPAW, and `mini` tuned on them.

    apt-get install -y --no-install-recommends gpaw gpaw-data
    python benchmarks/real_dft.py [--folder runs/real_dft] [--python /usr/bin/python3] [--strategy lora]

Nothing of the path is special but the program that ATOMATE2_VASP_CMD names: the emulator of the tests with
GPAW behind it (gpaw_as_vasp.py), under the Python that has GPAW. Input set, custodian, atomate2's parser and
the comparison with the label protocol are those of any run. A second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from common import ROOT, markdown
from pymatgen.core import Lattice, Structure

from phonotune.data.extxyz import write_frames
from phonotune.schemas.dataset import Frame

EMULATORS: Final = ROOT / "tests" / "emulators"
VALID: Final = 2
"""The last frames validate."""
CONFIG: Final = """\
vasp: {kspacing: 0.6, potcars: {Na: Na}}
monitoring: {polling_seconds: 1.0}
"""
"""A mesh of 2x2x2 and one electron on Na: half a minute a label instead of half an hour."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "real_dft")
    parser.add_argument("--python", default="/usr/bin/python3", help="a Python with GPAW")
    parser.add_argument("--strategy", default="lora")
    return parser.parse_args()


def rattled() -> list[Frame]:
    """Return six conventional cells, each a group: two of each volume, atoms displaced by 0.05 Å."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(6):
        lattice = Lattice.cubic(5.69 * (1 + 0.01 * (number % 3 - 1)))
        cell = Structure.from_spacegroup("Fm-3m", lattice, ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
        positions = cell.cart_coords + rng.normal(scale=0.05, size=(8, 3))
        moved = Structure(lattice, cell.species, positions, coords_are_cartesian=True)
        frames.append(Frame(moved, group=f"cell {number}", origin=f"rattled {number}"))
    return frames


def phonotune(*words: object, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a command and return what it prints as JSON; its progress goes to stderr."""
    line = [sys.executable, "-c", "from phonotune.cli.app import main; main()", *map(str, words)]
    done = subprocess.run(
        [*line, "--json"],
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"phonotune {words[0]} failed: {done.stdout}")
    return dict(json.loads(done.stdout))


def vasp_by_gpaw(python: str, folder: Path) -> dict[str, str]:
    """Return the environment in which atomate2's VASP is GPAW; writes POTCAR headers to ``folder``."""
    potcars = folder / "potcars"
    subprocess.run([sys.executable, EMULATORS / "potcars.py", potcars], check=True)
    command = f"{python} {EMULATORS / 'vasp.py'}"
    return {
        "ATOMATE2_VASP_CMD": command,
        "ATOMATE2_VASP_GAMMA_CMD": command,
        "PMG_VASP_PSP_DIR": str(potcars),
        "VASP_EMULATOR_CALCULATOR": "gpaw_as_vasp:calculator",
        "PYTHONPATH": str(Path(__file__).resolve().parent),
        "OMP_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }


def label_seconds(jobs: Path) -> list[float]:
    """Return the elapsed time that each OUTCAR below a folder states, s."""
    texts = (gzip.decompress(path.read_bytes()).decode() for path in jobs.rglob("OUTCAR.gz"))
    found = (re.search(r"Elapsed time \(sec\):\s*([\d.]+)", text) for text in texts)
    return sorted(float(match[1]) for match in found if match)


def main() -> None:
    given = arguments()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    config, frames = folder / "config.yaml", folder / "frames.extxyz"
    labelled, dataset, model = (folder / n for n in ("labelled.extxyz", "dataset", "model"))
    config.write_text(CONFIG)
    asked = rattled()
    write_frames(frames, asked)
    environment = vasp_by_gpaw(given.python, folder)
    words = ("--labeller", "vasp", "--config", config, "-o", labelled)
    labels = phonotune("label", frames, *words, environment=environment)
    print(f"labelled {labels['labelled']}, kept {labels['already']}, {labels['protocol']}")
    seconds = label_seconds(folder / "labelled-jobs")
    print(f"{median(seconds):.0f} s a label ({seconds[0]:.0f} to {seconds[-1]:.0f}), one core")
    valid = [word for frame in asked[-VALID:] for word in ("--valid-group", frame.group)]
    shutil.rmtree(dataset, ignore_errors=True)
    phonotune("dataset", "split", labelled, *valid, "-o", dataset)
    sides = ("--train", dataset / "train.extxyz", "--valid", dataset / "valid.extxyz")
    phonotune("finetune", *sides, "--foundation", "mini", "--strategy", given.strategy, "-o", model)
    print(errors(json.loads((model / "metrics.json").read_text())))


def errors(metrics: dict[str, Any]) -> str:
    """Return force and stress errors of both sides before and after as a table."""
    rows = []
    for side in ("train", "valid"):
        before, after = metrics[f"{side}_before"], metrics[f"{side}_after"]
        pairs = [f"{before[k]:.2f} -> {after[k]:.2f}" for k in ("forces_mae", "stress_mae")]
        rows.append([side, str(after["n_frames"]), *pairs])
    return markdown(["", "frames", "force MAE (meV/Å)", "stress MAE (meV/Å³)"], rows)


if __name__ == "__main__":
    main()
