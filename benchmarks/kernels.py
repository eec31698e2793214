"""Plain MACE against its fast forward: a training step and an evaluation, alternating in one run.

    python benchmarks/kernels.py [--repeats 7] [--threads 1] [--dtype float32] [--models mini,teacher]

Prints medians, ratios to plain MACE and the number of kernels (calls of ATen operators that compute).
A step is what one step of a force loss needs at least: forward, forces, stress and the derivatives
of the loss by all weights. Times on shared machines are noisy, ratios less so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from pymatgen.core import Lattice, Structure
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from phonotune.models.fast import accelerate
from phonotune.models.graphs import Batch, GraphSpec, build_graph, collate, fresh
from phonotune.models.load import load_model

VIEWS = (
    "view",
    "transpose",
    "aten.t.",
    "expand",
    "slice.",
    "select.",
    "squeeze",
    "permute",
    "detach",
)


def rattled(cell: Structure, n: int, seed: int = 0) -> list[Structure]:
    """Return n copies of the 2x2x2 supercell with displaced atoms."""
    rng = np.random.default_rng(seed)
    cell = cell.make_supercell(2, in_place=False)
    shape = (len(cell), 3)
    moved = [cell.cart_coords + rng.normal(scale=0.05, size=shape) for _ in range(n)]
    return [Structure(cell.lattice, cell.species, x, coords_are_cartesian=True) for x in moved]


def cases() -> dict[str, list[Structure]]:
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    titanate = Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(4.0),
        ["Ba", "Ti", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    )
    found = {"2 x NaCl (64 atoms)": rattled(salt, 2)}
    return found | {f"{n} x BaTiO3 (40 atoms)": rattled(titanate, n) for n in (1, 2, 4, 8)}


def step(model: torch.nn.Module, weights: dict[str, torch.Tensor], batch: Batch) -> object:
    """Return the derivatives of a loss of energies, forces and stress by all weights."""
    flags = {"training": True, "compute_force": True, "compute_stress": True}
    output = functional_call(model, weights, (fresh(batch),), flags)
    loss = output["forces"].pow(2).mean() + output["interaction_energy"].pow(2).mean()
    loss = loss + output["stress"].pow(2).mean()
    return torch.autograd.grad(loss, list(weights.values()))


def evaluate(model: torch.nn.Module, batch: Batch) -> object:
    """Return energies, forces and stress."""
    return model(fresh(batch), training=False, compute_force=True, compute_stress=True)


class Kernels(TorchDispatchMode):
    """Counts calls of operators that are no views."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self.count += not any(view in str(func) for view in VIEWS)
        return func(*args, **(kwargs or {}))


def kernels(action: Callable[[], object]) -> int:
    with Kernels() as counter:
        action()
    return counter.count


def alternate(repeats: int, actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Run the actions in turn, twice to warm up; return median seconds by name."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for repeat in range(repeats + 2):
        for name, action in actions.items():
            started = perf_counter()
            action()
            if repeat > 1:
                seconds[name].append(perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def compare(name: str, given: argparse.Namespace) -> None:
    plain = load_model(name, given.dtype).requires_grad_(requires_grad=False)
    models = {"plain": plain, "fast": accelerate(plain)}
    weights = {key: w.detach().clone().requires_grad_() for key, w in plain.named_parameters()}
    spec = GraphSpec.of(plain)
    for title, structures in cases().items():
        batch = collate([build_graph(s, spec) for s in structures])
        for what, run in (
            ("step", lambda m, b=batch: step(m, weights, b)),
            ("evaluation", lambda m, b=batch: evaluate(m, b)),
        ):
            actions = {kind: lambda m=m, run=run: run(m) for kind, m in models.items()}
            seconds = alternate(given.repeats, actions)
            plain_ms, fast_ms = (1000 * seconds[kind] for kind in ("plain", "fast"))
            counts = " -> ".join(str(kernels(action)) for action in actions.values())
            print(
                f"{name:8s} {given.dtype} {title:24s} {what:10s} plain {plain_ms:8.1f} ms   fast "
                f"{fast_ms:7.1f} ms   ratio {fast_ms / plain_ms:.2f}   kernels {counts}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--models", default="mini,teacher")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{given.threads} threads")
    for name in given.models.split(","):
        compare(name, given)


if __name__ == "__main__":
    main()
