"""Phonons and elastic constants against atomate2 and matcalc: seconds, documents, bytes; alternating runs.

    python benchmarks/properties.py [--rounds 5] [--threads 1] [--peers-python PATH] [--only phonon elastic]
        [--batches [--atoms 5000] [--device cpu] [--figure FILE.svg]] [--out FILE.json]

Every program is a process of its own that has imported everything and run each task once (warm); then the
programs take turns. Same model (``mini``, float64), same crystal (NaCl, 8 atoms in the unit cell, 64 in the
supercell, the POSCAR of the VASP data), same displacement. From structure to result: relaxation, forces, bands,
DOS and thermal properties; matcalc makes neither bands nor a DOS. A `job` runs through jobflow into
a store in memory and loads its model itself, as atomate2's do; the functions, like matcalc, have it loaded.

The peers' Python has torch, mace-torch==0.3.16, matcalc==0.7.0 and atomate2==0.1.5 (constraints.txt fits).
With --batches: a low-symmetry crystal, its displaced cells in batches against one by one; seconds and memory
by number of atoms in a call, as benchmarks/scaling.py measures and draws them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

from common import FOUNDATION, NACL, ROOT, markdown, middle
from scaling import FIGURE, displaced_cells, draw_scaling, measure_scaling, scaling_table

from phonotune.data.structures import read_structure
from phonotune.models.export import export_model

TASKS: Final = {
    "phonotune job": ("phonotune", " job"),
    "phonotune function": ("phonotune", ""),
    "atomate2": ("atomate2", ""),
    "matcalc": ("matcalc", ""),
}
"""Contestants: their program, and what is added to the name of a task."""
RATIOS: Final = (("phonotune job", "atomate2"), ("phonotune function", "matcalc"))


@dataclass
class Program:
    """A process that waits for tasks."""

    process: subprocess.Popen[str]
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def ask(self, task: str, keep: bool = True) -> None:
        """Run one task and keep its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("answer "):
                if keep:
                    self.answers.setdefault(task, []).append(json.loads(line[len("answer ") :]))
                return
        raise SystemExit(f"{self.process.args} ended during {task}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["phonon", "elastic"])
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--atoms", type=int, default=5000, help="most atoms in a call of --batches")
    parser.add_argument("--device", default="cpu", help="of --batches")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="of --batches")
    parser.add_argument(
        "--peers-python", default=str(ROOT / ".venv-peers" / "bin" / "python"), metavar="PATH"
    )
    parser.add_argument("--out", type=Path, help="every answer as JSON")
    return parser.parse_args()


def start(program: str, python: str, folder: Path, threads: int, model: str) -> Program:
    script = Path(__file__).parent / "peers" / f"properties_{program}.py"
    process = subprocess.Popen(
        [python, str(script), model, str(folder / "crystal.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"},
    )
    return Program(process)


def compete(given: argparse.Namespace, folder: Path) -> dict[str, Program]:
    """Let every program run every task, once to warm up and then round after round."""
    read_structure(NACL / "POSCAR-unitcell").to(filename=str(folder / "crystal.json"))
    export_model(FOUNDATION, folder / "model.model", "float64")
    os.environ["PHONOTUNE_CACHE_DIR"] = str(folder / "cache")
    trust(folder / "model.model")
    pythons = {"phonotune": sys.executable}
    if shutil.which(given.peers_python):
        pythons |= {"atomate2": given.peers_python, "matcalc": given.peers_python}
    else:
        print(f"{given.peers_python} is not there: peers are left out", file=sys.stderr)
    model = str(folder / "model.model")
    return take_turns(given, folder, pythons, model)


def take_turns(
    given: argparse.Namespace, folder: Path, pythons: dict[str, str], model: str
) -> dict[str, Program]:
    """Start a program per Python with a model and the crystal in the folder, and let them take turns."""
    programs = {name: start(name, p, folder, given.threads, model) for name, p in pythons.items()}
    for number in range(given.rounds + 1):
        for task in given.only:
            for program, suffix in TASKS.values():
                if program in programs:
                    programs[program].ask(task + suffix, keep=number > 0)
    for program in programs.values():
        program.process.terminate()
    return programs


def trust(path: Path) -> None:
    """Allow the exported model by name, as `phonotune models trust` does."""
    from phonotune.models.trust import sha256_of
    from phonotune.models.trust import trust as allow

    allow(path.name, path, sha256_of(path))


def table(task: str, programs: dict[str, Program]) -> str:
    """Return a row a contestant, and the ratios that matter."""
    rows, seconds = [], {}
    for name, (program, suffix) in TASKS.items():
        if program not in programs:
            continue
        answers = programs[program].answers[task + suffix]
        seconds[name] = [a["seconds"] for a in answers]
        last = answers[-1]
        value = last.get("highest_frequency", last.get("bulk_modulus"))
        documents, size = last.get("documents"), last.get("bytes")
        rows.append(
            [
                name,
                middle(sorted(seconds[name]), 3),
                f"{value:.4f}",
                "" if documents is None else str(documents),
                "" if size is None else f"{size / 1000:.0f}",
            ]
        )
    unit = "highest frequency (THz)" if task == "phonon" else "bulk modulus (GPa)"
    shown = markdown([task, "s", unit, "documents", "kB"], rows)
    for ours, theirs in RATIOS:
        if theirs in seconds:
            pairs = zip(seconds[ours], seconds[theirs], strict=True)
            ratio = median(a / b for a, b in pairs)
            shown += f"\n\n{ours} / {theirs}: {ratio:.2f} (median over the rounds)"
    return shown


def batches(given: argparse.Namespace) -> str:
    """Return the comparison with one by one and the table of the cost by atoms; write the figure."""
    import torch

    from phonotune.models.evaluators import load_evaluator

    torch.set_num_threads(given.threads)
    cells = displaced_cells()
    evaluator = load_evaluator(FOUNDATION, given.device)
    evaluator(cells[:2])
    rows = []
    for _ in range(given.rounds):
        begun = perf_counter()
        evaluator(cells)
        together = perf_counter() - begun
        begun = perf_counter()
        for structure in cells:
            evaluator([structure])
        rows.append((together, perf_counter() - begun))
    shown = f"{len(cells)} displaced cells of {len(cells[0])} atoms, P1: in batches "
    shown += f"{median(a for a, _ in rows):.2f} s, one by one {median(b for _, b in rows):.2f} s, "
    shown += f"ratio {median(a / b for a, b in rows):.2f}\n\n"
    found = measure_scaling(given.atoms, given.rounds, given.threads, given.device)
    draw_scaling(found, given.figure)
    return shown + scaling_table(found)


def main() -> None:
    given = arguments()
    if given.batches:
        print(batches(given))
        return
    with tempfile.TemporaryDirectory() as folder:
        programs = compete(given, Path(folder))
    for task in given.only:
        print(table(task, programs) + "\n")
    if given.out:
        content = {name: program.answers for name, program in programs.items()}
        given.out.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
