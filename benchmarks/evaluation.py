"""Seconds of batched evaluation and of a training epoch, two things alternating in one run.

    python benchmarks/evaluation.py [--repeats 5] [--threads 1]

Prints medians and ratios; times on shared machines are noisy, ratios less so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from phonotune.data.assemble import assemble_given
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.load import load_model
from phonotune.schemas.dataset import Frame
from phonotune.training.config import parse_overrides
from phonotune.training.finetune import finetune


def rattled_perovskites(n: int, seed: int) -> list[Structure]:
    """Return n rattled BaTiO3 cells of 40 atoms."""
    rng = np.random.default_rng(seed)
    cell = Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(4.0),
        ["Ba", "Ti", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    )
    cell.make_supercell(2)
    moved = [cell.cart_coords + rng.normal(scale=0.05, size=(40, 3)) for _ in range(n)]
    return [Structure(cell.lattice, cell.species, x, coords_are_cartesian=True) for x in moved]


def alternate(repeats: int, **actions: Callable[[], object]) -> dict[str, float]:
    """Run the actions in turn, once to warm up; return median seconds by name."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for repeat in range(repeats + 1):
        for name, action in actions.items():
            started = perf_counter()
            action()
            if repeat:
                seconds[name].append(perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def report(title: str, seconds: dict[str, float]) -> None:
    first = next(iter(seconds.values()))
    print(title)
    for name, value in seconds.items():
        print(f"  {name:24s} {value:8.3f} s   ratio {value / first:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cells = rattled_perovskites(16, seed=0)
    models = {name: ModelEvaluator(load_model(name)) for name in ("mini", "teacher")}
    for name, evaluator in models.items():
        seconds = alternate(
            given.repeats,
            one_by_one=lambda e=evaluator: [e([cell]) for cell in cells],
            one_batch=lambda e=evaluator: e(cells),
        )
        report(f"{name}: 16 cells of 40 atoms, float64", seconds)
    answers = models["teacher"](cells)
    frames = [Frame(c, a.energy, a.forces, a.stress) for c, a in zip(cells, answers, strict=True)]
    dataset = assemble_given(frames[:12], frames[12:], labeller="teacher")
    for dtype in ("float32", "float64"):
        config = parse_overrides("lora", [f"dtype={dtype}", f"max_epochs={given.repeats}"])
        history = finetune(dataset, "mini", config).history.arrays()
        epochs = np.diff(history["seconds"])
        print(f"lora {dtype}: {np.median(epochs):.2f} s an epoch (12 + 4 frames of 40 atoms)")


if __name__ == "__main__":
    main()
