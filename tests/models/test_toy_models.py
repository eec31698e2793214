"""What the shipped toy pair promises: small, no pickle, smooth at phonon displacements."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from pymatgen.io.ase import AseAtomsAdaptor

import phonotune.models
from phonotune.models.architecture import load_shipped
from phonotune.models.graphs import GraphSpec, build_graph, collate
from phonotune.models.shipped import SHIPPED, WEIGHTS, load_card

MEGABYTE = 1e6
PICKLES = {".pt", ".pth", ".model", ".pkl", ".pickle", ".ckpt", ".bin"}
both = pytest.mark.parametrize("name", ["mini", "teacher"])


@cache
def model(name: str) -> torch.nn.Module:
    """The shipped model, float64."""
    return load_shipped(name)


def answers(name: str, frames: list[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Energies (n_frames,), eV, and forces (n_frames, n_atoms, 3), eV/Å, in one batch."""
    net = model(name)
    structures = [AseAtomsAdaptor.get_structure(frame) for frame in frames]
    batch = collate([build_graph(structure, GraphSpec.of(net)) for structure in structures])
    answer = net(batch)
    energies, forces = (answer[key].detach().numpy() for key in ("energy", "forces"))
    return energies, forces.reshape(len(frames), -1, 3)


def crystal(symbol: str) -> Atoms:
    """Ideal cells: Si and NaCl of 16 atoms, cubic BaTiO3 of 5."""
    if symbol == "Si":
        return bulk("Si").repeat(2)
    if symbol == "NaCl":
        return bulk("NaCl", "rocksalt", a=5.64).repeat(2)
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms("BaTiO3", scaled_positions=sites, cell=[4.01] * 3, pbc=True)


def displaced(atoms: Atoms, index: int, axis: int, steps: tuple[float, ...]) -> list[Atoms]:
    """Copies of the cell with one atom moved by each of the steps, Å."""
    frames = [atoms.copy() for _ in steps]
    for frame, step in zip(frames, steps, strict=True):
        frame.positions[index, axis] += step
    return frames


def test_the_pair_ships_in_at_most_four_megabytes() -> None:
    assert tuple(sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))) == SHIPPED
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 4 * MEGABYTE


def test_no_pickle_lies_in_the_package() -> None:
    package = Path(phonotune.models.__file__).parents[1]
    assert not [path for path in package.rglob("*") if path.suffix in PICKLES]


@both
def test_the_pair_knows_at_least_32_elements(name: str) -> None:
    card = load_card(name)
    assert len(card.elements) == len(card.atomic_energies) >= 32
    assert {11, 17, 14, 56, 22, 8} <= set(card.elements)
    assert card.r_max == 5.0


def test_mini_is_small_and_the_teacher_larger() -> None:
    sizes = {n: sum(p.numel() for p in model(n).parameters()) for n in SHIPPED}
    assert 80_000 <= sizes["mini"] <= 150_000
    assert sizes["teacher"] >= 2 * sizes["mini"]


@both
@pytest.mark.parametrize("symbol", ["Si", "NaCl"])
def test_stiffness_does_not_depend_on_the_step(name: str, symbol: str) -> None:
    steps = (0.0, 0.002, 0.01, 0.03)
    _, forces = answers(name, displaced(crystal(symbol), 0, 0, steps))
    values = -(forces[1:, 0, 0] - forces[0, 0, 0]) / np.array(steps[1:])
    assert min(values) > 0.5
    assert max(values) / min(values) < 1.02


@both
def test_forces_are_minus_the_gradient_of_the_energy(name: str) -> None:
    atoms = crystal("BaTiO3")
    atoms.rattle(0.05, seed=2)
    energies, forces = answers(name, displaced(atoms, 1, 2, (-1e-4, 0.0, 1e-4)))
    assert -(energies[2] - energies[0]) / 2e-4 == pytest.approx(forces[1, 1, 2], abs=1e-5)


@both
def test_cubic_barium_titanate_is_unstable(name: str) -> None:
    cubic = crystal("BaTiO3")
    polar = cubic.copy()
    axis = np.ones(3) / np.sqrt(3)
    polar.positions[1] += 0.10 * axis
    polar.positions[2:] -= 0.04 * axis
    energies, _ = answers(name, [cubic, polar])
    assert energies[1] < energies[0] - 0.003
