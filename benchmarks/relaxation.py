"""Seconds to relax 20 rattled cells of 40 to 64 atoms: one batch, and one by one with ASE.

    python benchmarks/relaxation.py [--cells 20] [--fmax 1e-4] [--threads 2] [--device auto]

Half of the cells are BaTiO3 (40 atoms), half NaCl (64 atoms), rattled and strained by the recipe; the
model is ``mini``, the optimiser FIRE with a cell filter on both sides. Told are seconds, model evaluations
and cells that did not converge: the two optimisers need not take the same number of steps.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np
import torch
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from common import markdown
from evaluation import rattled_perovskites
from pymatgen.core import Lattice, Structure

from phonotune.models.calculator import EvaluatorCalculator
from phonotune.models.committee import load_evaluator
from phonotune.models.relax import RelaxSettings, relax_batch
from phonotune.sampling.rattle import RattleSettings, rattle


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

    begun = perf_counter()
    relaxations = relax_batch(evaluator, starts, RelaxSettings(fmax=given.fmax, max_steps=1000))
    batched = perf_counter() - begun

    begun = perf_counter()
    steps, late = 0, 0
    for start in starts:
        atoms = start.to_ase_atoms()
        atoms.calc = EvaluatorCalculator(evaluator)
        optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
        late += not optimizer.run(fmax=given.fmax, steps=1000)
        steps += optimizer.nsteps + 1
    alone = perf_counter() - begun

    own_steps = sum(r.n_steps + 1 for r in relaxations)
    own_late = sum(not r.converged for r in relaxations)
    rows = [
        [
            "one batch",
            f"{batched:.1f}",
            str(own_steps),
            f"{1e3 * batched / own_steps:.1f}",
            str(own_late),
        ],
        ["ASE, one by one", f"{alone:.1f}", str(steps), f"{1e3 * alone / steps:.1f}", str(late)],
    ]
    header = ["", "s", "evaluations", "ms an evaluation", "not converged"]
    print(markdown(header, rows) + f"\n\nratio {batched / alone:.2f}")


if __name__ == "__main__":
    main()
