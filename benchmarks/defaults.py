"""A sweep over options of one strategy, so that its defaults are chosen by measurement.

    python benchmarks/defaults.py --strategy lora --grid lr=0.003,0.01,0.02 ema=none,0.99 [--set KEY=VALUE]
        [--case nacl perovskite] [--seeds 0 1] [--jobs 2] [--out runs/defaults.jsonl]

Every point of the grid is trained on every case (8 + 2 VASP frames of NaCl; 16 + 4 frames of BaTiO3 by
``teacher``) and seed; the table is sorted by the geometric mean over the cases of the zone errors' medians.
"""

from __future__ import annotations

import argparse
from itertools import product
from math import prod
from pathlib import Path
from statistics import median

from common import CASES, ROOT, markdown, middle
from experiments import Experiment, run_experiment
from resumable import Result, run_all, values

from phonotune.training.config import parse_overrides
from phonotune.training.strategies import STRATEGIES


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategy", required=True, choices=sorted(STRATEGIES))
    parser.add_argument("--grid", nargs="*", default=[], metavar="KEY=VALUE,VALUE")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--case", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "defaults.jsonl")
    return parser.parse_args()


def points(grid: list[str]) -> list[tuple[str, ...]]:
    """Return every combination of the values, each as ``KEY=VALUE`` texts."""
    axes = []
    for text in grid:
        key, _, listed = text.partition("=")
        axes.append([f"{key}={value}" for value in listed.split(",")])
    return list(product(*axes))


def table(results: list[Result], given: argparse.Namespace) -> str:
    """Return the points of the grid, best first; points with unfinished cases are left out."""
    rows = []
    for point in points(given.grid):
        where = {"overrides": [*given.set, *point], "strategy": given.strategy}
        zone = {case: values(results, "zone_mae", case=case, **where) for case in given.case}
        if not all(zone.values()):
            continue
        score = prod(median(found) for found in zone.values()) ** (1 / len(zone))
        cells = [
            text
            for case in given.case
            for text in (
                middle(zone[case], 4),
                middle(values(results, "valid_forces", case=case, **where), 2),
                middle(values(results, "best_epoch", case=case, **where), 0),
            )
        ]
        rows.append((score, [" ".join(point) or "defaults", f"{score:.4f}", *cells]))
    header = ["options", "mean zone MAE (THz)"]
    for case in given.case:
        header += [f"{case} zone (THz)", f"{case} forces (meV/Å)", f"{case} best epoch"]
    return markdown(header, [row for _, row in sorted(rows)])


def main() -> None:
    given = arguments()
    for point in points(given.grid):
        parse_overrides(given.strategy, [*given.set, *point])
    experiments = [
        Experiment(case, given.strategy, *CASES[case], seed, (*given.set, *point))
        for seed in given.seeds
        for point in points(given.grid)
        for case in given.case
    ]
    results = run_all(run_experiment, experiments, given.out, given.jobs)
    print(f"\n`{given.strategy}` {' '.join(given.set)}\n\n{table(results, given)}")


if __name__ == "__main__":
    main()
