"""SevenNet's own ASE calculator in a loop: python potential_loop.py MODEL CELLS.extxyz, by sevenn's Python."""

from __future__ import annotations

import os
import sys
from time import perf_counter, process_time

import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

from ase.io import read  # noqa: E402
from properties_common import Answer, serve  # noqa: E402
from sevenn.calculator import SevenNetCalculator  # noqa: E402


def main() -> None:
    model, path = sys.argv[1:]
    cells, calculator = read(path, ":"), SevenNetCalculator(model, device="cpu")

    def loop() -> Answer:
        begun, cpu = perf_counter(), process_time()
        energies = []
        for cell in cells:
            atoms = cell.copy()
            atoms.calc = calculator
            energies.append(float(atoms.get_potential_energy()))
            atoms.get_forces()
            atoms.get_stress(voigt=False)
        return {
            "energy": sum(energies),
            "loop": perf_counter() - begun,
            "cpu": process_time() - cpu,
        }

    serve({"loop": loop})


if __name__ == "__main__":
    main()
