"""Seconds to relax 20 rattled cells of 40 to 64 atoms: one batch, and one by one with ASE.

    python benchmarks/relaxation.py [--cells 20] [--fmax 1e-4] [--threads 2] [--device auto]

Half of the cells are BaTiO3 (40 atoms), half NaCl (64 atoms), rattled and strained by the recipe; the
model is ``mini``, the optimiser FIRE with a cell filter on both sides. Told are seconds by the clock and of
the processor (which other work on the machine disturbs less), model evaluations and cells that did not
converge: the two optimisers need not take the same number of steps. The 3x3 matrices of ASE's filter
get one BLAS thread, since two take five times as long.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from time import perf_counter, process_time

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from common import markdown
from evaluation import rattled_perovskites
from pymatgen.core import Lattice, Structure

from phonotune.models.calculator import EvaluatorCalculator
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.ports import Evaluator
from phonotune.sampling.rattle import rattle
from phonotune.sampling.settings import RattleSettings

MOST_STEPS = 1000


def cells(n: int) -> list[Structure]:
    """Return n cells, half of each crystal, with the volumes of the recipe in turn."""
    perovskite = rattled_perovskites(1, seed=0)[0].lattice
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    first = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(perovskite.a / 2), ["Ba", "Ti", "O"], sites
    )
    second = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], sites[:2])
    rng = np.random.default_rng(0)
    found = []
    for crystal, share in ((first, n - n // 2), (second, n // 2)):
        settings = RattleSettings(n_cells=max(share, 1))
        found += [c.structure for c in rattle(crystal * 2, settings, rng)][:share]
    return found


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of the processor, evaluations of a cell, cells that did not converge."""

    wall: float
    cpu: float
    evaluations: int
    late: int

    def cells(self) -> list[str]:
        """Return the cells of a table's row."""
        each = f"{1e3 * self.cpu / self.evaluations:.1f}"
        return [f"{self.wall:.1f}", f"{self.cpu:.1f}", str(self.evaluations), each, str(self.late)]


def in_one_batch(evaluator: Evaluator, starts: list[Structure], fmax: float) -> Cost:
    wall, cpu = perf_counter(), process_time()
    found = relax_batch(evaluator, starts, RelaxSettings(fmax=fmax, max_steps=MOST_STEPS))
    wall, cpu = perf_counter() - wall, process_time() - cpu
    return Cost(wall, cpu, sum(r.n_steps + 1 for r in found), sum(not r.converged for r in found))


def one_by_one(evaluator: Evaluator, starts: list[Structure], fmax: float) -> Cost:
    wall, cpu = perf_counter(), process_time()
    steps, late = 0, 0
    for start in starts:
        atoms = start.to_ase_atoms()
        atoms.calc = EvaluatorCalculator(evaluator)
        optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
        late += not optimizer.run(fmax=fmax, steps=MOST_STEPS)
        steps += optimizer.nsteps + 1
    return Cost(perf_counter() - wall, process_time() - cpu, steps, late)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--fmax", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    evaluator = load_evaluator("mini", given.device)
    starts = cells(given.cells)
    evaluator(starts[:1])

    batch = in_one_batch(evaluator, starts, given.fmax)
    print(f"one batch: {batch.wall:.0f} s", flush=True)
    alone = one_by_one(evaluator, starts, given.fmax)
    rows = [["one batch", *batch.cells()], ["ASE, one by one", *alone.cells()]]
    header = ["", "s", "CPU s", "evaluations", "CPU ms an evaluation", "not converged"]
    ratios = f"ratio {batch.wall / alone.wall:.2f}, of CPU time {batch.cpu / alone.cpu:.2f}"
    print(markdown(header, rows) + f"\n\n{ratios}")


if __name__ == "__main__":
    main()
