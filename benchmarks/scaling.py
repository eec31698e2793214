"""Cost of a call by the number of cells and of atoms in it: seconds, and memory of a process of its own.

Three ways to so many atoms, `mini` in float64: displaced cells of 40 atoms without symmetry, cut into
batches as always; the same in one batch; and one large cell, which nothing can cut. Run by
`benchmarks/properties.py --batches`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Final

import numpy as np
from common import FOUNDATION, ROOT, markdown
from pymatgen.core import Lattice, Structure

from phonotune.physics.phonon.displacements import plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.report.style import (
    GRID,
    TUNED,
    UNTUNED,
    WIDE,
    dress,
    legend_above,
    new_figure,
    save_svg,
)

FIGURE: Final = ROOT / "docs" / "_static" / "scaling.svg"
SERIES: Final = {
    "split": "cells of 40 atoms, in batches",
    "whole": "cells of 40 atoms, one batch",
    "one": "one cell",
}
"""Ways to many atoms, in the words of the legend."""


@dataclass(frozen=True)
class Point:
    """One call: seconds (median over the rounds), and peak memory of its process so far (MiB).

    Seconds are those of the processor, which other work on the machine hardly changes; on a GPU those
    of the clock.
    """

    cells: int
    atoms: int
    seconds: float
    memory: float


def displaced_cells() -> list[Structure]:
    """Return 60 displaced cells of 40 atoms of a crystal without symmetry."""
    rng = np.random.default_rng(0)
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    cell = Structure(Lattice.cubic(4.0), ["Ba", "Ti", "O", "O", "O"], sites) * (2, 1, 1)
    cell.perturb(0.05, seed=0)
    low = Structure(cell.lattice, cell.species, cell.frac_coords + 0.002 * rng.normal(size=(10, 3)))
    settings = PhononSettings(supercell_matrix=((1, 0, 0), (0, 2, 0), (0, 0, 2)))
    return list(plan_displacements(low, settings).structures)


def measure_scaling(most: int, rounds: int, threads: int, device: str) -> dict[str, list[Point]]:
    """Return the points of each series, up to ``most`` atoms; each series in a process of its own."""
    found = {}
    context = multiprocessing.get_context("spawn")
    for name in SERIES:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found[name] = pool.submit(_measure, name, most, rounds, threads, device).result()
    return found


def _measure(name: str, most: int, rounds: int, threads: int, device: str) -> list[Point]:
    import torch

    from phonotune.models.evaluate import ModelEvaluator
    from phonotune.models.load import load_model

    torch.set_num_threads(threads)
    evaluator = ModelEvaluator(
        load_model(FOUNDATION), device, atoms_per_batch=most + 1 if name == "whole" else None
    )
    cells = displaced_cells()
    evaluator(cells[:2])
    return [_time(evaluator, chosen, rounds, device) for chosen in _calls(name, cells, most)]


def _calls(name: str, cells: Sequence[Structure], most: int) -> list[list[Structure]]:
    """Return what is evaluated: twice as many atoms each time, at last as many as allowed."""
    atoms = len(cells[0])
    counts = [n for n in (2**k for k in range(20)) if n * atoms < most] + [most // atoms]
    if name != "one":
        return [(list(cells) * (n // len(cells) + 1))[:n] for n in counts]
    return [[cells[0] * _factors(n)] for n in counts]


def _factors(n: int) -> tuple[int, int, int]:
    """Return three factors of ``n`` as near to each other as there are."""
    triples = [
        (a, b, n // a // b) for a in range(1, n + 1) for b in range(1, n + 1) if n % (a * b) == 0
    ]
    return min(triples, key=lambda t: (max(t) - min(t), t))


def _time(evaluator: object, chosen: list[Structure], rounds: int, device: str) -> Point:
    import resource

    import torch

    clock = process_time if device == "cpu" else perf_counter
    seconds = []
    for _ in range(rounds):
        begun = clock()
        evaluator(chosen)  # type: ignore[operator]
        seconds.append(clock() - begun)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device != "cpu":
        memory = torch.cuda.max_memory_allocated() / 2**20
    return Point(len(chosen), sum(map(len, chosen)), median(seconds), memory)


def scaling_table(found: dict[str, list[Point]]) -> str:
    """Return one row a number of atoms: milliseconds an atom and memory of each series."""
    heads = ["atoms", *(f"{SERIES[n]}: ms an atom" for n in found)]
    heads += [f"{SERIES[n]}: MiB" for n in found]
    rows = []
    for points in zip(*found.values(), strict=True):
        costs = [f"{1e3 * p.seconds / p.atoms:.2f}" for p in points]
        rows.append([str(points[0].atoms), *costs, *(f"{p.memory:.0f}" for p in points)])
    return markdown(heads, rows)


def draw_scaling(found: dict[str, list[Point]], path: Path) -> None:
    """Write seconds and memory against the atoms in a call as SVG."""
    figure = new_figure(WIDE, 0.38 * WIDE)
    panels = figure.subplots(1, 2)
    looks = zip((TUNED[0], UNTUNED, TUNED[1]), ("o", "s", "^"), strict=True)
    for (name, points), (color, marker) in zip(found.items(), looks, strict=True):
        atoms = [p.atoms for p in points]
        for axes, values in (
            (panels[0], [p.seconds for p in points]),
            (panels[1], [p.memory / 1024 for p in points]),
        ):
            axes.plot(atoms, values, color=color, marker=marker, markersize=4, label=SERIES[name])
    for axes, label in zip(panels, ("Time of a call (s)", "Peak memory (GiB)"), strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log" if axes is panels[0] else "linear")
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        dress(axes, "Atoms in a call", label)
        axes.xaxis.set_major_formatter("{x:g}")
    panels[0].yaxis.set_major_formatter("{x:g}")
    panels[1].set_ylim(bottom=0.0)
    legend_above(figure, panels[0], 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_svg(figure, path)
