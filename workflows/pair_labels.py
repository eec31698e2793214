"""SevenNet's labels for the toy pair: both surfaces on the same frames. numpy, ase and sevenn only.

Energies are total, in eV; forces eV/Å; stress eV/Å^3 with ASE's sign. Runs in an environment of its own
(sevenn and mace-torch need different versions of e3nn). One file per crystal, written by an atomic rename
under a lock that the operating system takes back when a process dies, so that it can be killed, continued
and shared by several processes at any time.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import covalent_radii
from ase.filters import FrechetCellFilter
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from pair_frames import frames

SURFACES = {"mini": "7net-0", "teacher": "7net-l3i5"}
FORMAT = 1
"""Raised when the frames or the relaxation change, so that old and new labels do not mix."""
RELAXATION_STEPS = {"7net-0": 60, "7net-l3i5": 25}
CLOSEST = 0.6
"""A crystal is left out if two atoms come closer than this share of the sum of their covalent radii."""


def load_surfaces(names: Sequence[str] = tuple(SURFACES.values())) -> dict[str, Calculator]:
    """SevenNet potentials as ASE calculators, on one thread."""
    import torch
    from sevenn.calculator import SevenNetCalculator

    torch.set_num_threads(1)
    return {name: SevenNetCalculator(name, device="cpu") for name in names}


class Symmetrised(Calculator):
    """A calculator whose forces and stress are averaged over a crystal's space group.

    Without it the noise of single precision grows along unstable modes while a crystal is relaxed.

    Parameters
    ----------
    inner
        The calculator.
    atoms
        The crystal.
    rotations, translations
        Its operations on fractional coordinates: (n, 3, 3) and (n, 3).
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(
        self, inner: Calculator, atoms: Atoms, rotations: np.ndarray, translations: np.ndarray
    ) -> None:
        super().__init__()
        self.inner, self.rotations = inner, rotations
        x = atoms.get_scaled_positions()
        images = np.einsum("gij,aj->gai", rotations, x) + translations[:, None]
        gaps = images[:, :, None] - x[None, None]
        gaps = np.linalg.norm((gaps - np.round(gaps)) @ atoms.cell.array, axis=-1)
        self.images = gaps.argmin(axis=-1)  # atom a goes to atom images[g, a]
        if gaps.min(axis=-1).max() > 0.1:
            raise ValueError("These operations do not map the crystal on itself.")

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), changes: Any = all_changes
    ) -> None:
        """Energy, and the averages of forces and stress."""
        super().calculate(atoms, properties, changes)
        self.inner.calculate(self.atoms, ["energy", "forces", "stress"], all_changes)
        found, cell = self.inner.results, self.atoms.cell.array
        turns = cell.T @ self.rotations @ np.linalg.inv(cell.T)
        forces = np.zeros_like(found["forces"], dtype=float)
        for turn, image in zip(turns, self.images, strict=True):
            forces[image] += found["forces"] @ turn.T
        stress = voigt_6_to_full_3x3_stress(found["stress"])
        stress = np.mean(turns @ stress @ turns.transpose(0, 2, 1), axis=0)
        self.results = {
            "energy": float(found["energy"]),
            "forces": forces / len(turns),
            "stress": full_3x3_to_voigt_6_stress(stress),
        }


def scanned_volume(atoms: Atoms, calculator: Calculator) -> Atoms:
    """A copy at the lowest energy of a scan of the lattice scale, in steps of 2 %, at most 15 either way."""

    def energy(step: int) -> float:
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell.array * 1.02**step, scale_atoms=True)
        scaled.calc = calculator
        return float(scaled.get_potential_energy())

    energies = {step: energy(step) for step in (-1, 0, 1)}
    while abs(low := min(energies, key=energies.__getitem__)) < 15:
        missing = [step for step in (low - 1, low + 1) if step not in energies]
        if not missing:
            break
        energies |= {step: energy(step) for step in missing}
    best = atoms.copy()
    best.set_cell(atoms.cell.array * 1.02**low, scale_atoms=True)
    return best


def relaxed_crystal(entry: dict[str, Any], surfaces: dict[str, Calculator]) -> Atoms:
    """The crystal, its cell and positions relaxed within its space group: by 7net-0, then by 7net-l3i5.

    Raises
    ------
    ValueError
        Atoms came too close, or forces above 0.2 eV/Å are left.
    """
    atoms = Atoms(
        entry["symbols"], scaled_positions=entry["positions"], cell=entry["cell"], pbc=True
    )
    group = np.array(entry["rotations"]), np.array(entry["translations"])
    atoms = scanned_volume(atoms, surfaces["7net-0"])
    for name, steps in RELAXATION_STEPS.items():
        atoms.calc = Symmetrised(surfaces[name], atoms, *group)
        BFGS(FrechetCellFilter(atoms), logfile=None, maxstep=0.1).run(fmax=0.005, steps=steps)
    largest = float(np.abs(atoms.get_forces()).max())
    if not largest < 0.2:
        raise ValueError(f"forces of {largest:.2f} eV/Å are left")
    first, second, distance = neighbor_list("ijd", atoms, 6.0)
    radii = covalent_radii[atoms.numbers]
    if len(distance) and np.min(distance / (radii[first] + radii[second])) < CLOSEST:
        raise ValueError("two atoms came too close")
    atoms.calc = None
    return atoms


def labelled(name: str, relaxed: Atoms, surfaces: dict[str, Calculator]) -> dict[str, Any]:
    """Every frame of a crystal with the labels of both surfaces, as arrays for one file."""
    drawn = list(frames(name, relaxed))
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "relaxed_numbers": relaxed.numbers,
        "relaxed_positions": relaxed.positions,
        "relaxed_cell": relaxed.cell.array,
        "kinds": [f.kind for f in drawn],
        "frame_numbers": [f.number for f in drawn],
        "rattles": [f.rattle for f in drawn],
        "n_atoms": [len(f.atoms) for f in drawn],
        "numbers": np.concatenate([f.atoms.numbers for f in drawn]),
        "positions": np.concatenate([f.atoms.positions for f in drawn]),
        "cells": np.array([f.atoms.cell.array for f in drawn]),
    }
    for surface, calculator in surfaces.items():
        answers = [answer(f.atoms, calculator) for f in drawn]
        arrays[f"{surface}/energies"] = np.array([a["energy"] for a in answers])
        arrays[f"{surface}/forces"] = np.concatenate([a["forces"] for a in answers])
        arrays[f"{surface}/stresses"] = np.array([a["stress"] for a in answers])
    return arrays


def answer(atoms: Atoms, calculator: Calculator) -> dict[str, Any]:
    """Energy (eV), forces (n_atoms, 3) eV/Å and stress (3, 3) eV/Å^3; ValueError if one is not finite."""
    calculator.calculate(atoms, ["energy", "forces", "stress"], all_changes)
    found = calculator.results
    result = {
        "energy": float(found["energy"]),
        "forces": np.array(found["forces"], dtype=np.float32),
        "stress": voigt_6_to_full_3x3_stress(np.array(found["stress"], dtype=np.float64)),
    }
    if not all(np.isfinite(value).all() for value in result.values()):
        raise ValueError("a label is not finite")
    return result


def answer_file(asked: Path, answers: Path, surface: str) -> None:
    """Answer the structures of a file: arrays numbers, positions and cells, all of one number of atoms."""
    calculator = load_surfaces((surface,))[surface]
    with np.load(asked) as a:
        given = {key: a[key] for key in ("numbers", "positions", "cells")}
    rows = zip(given["numbers"], given["positions"], given["cells"], strict=True)
    found = [answer(Atoms(n, p, cell=c, pbc=True), calculator) for n, p, c in rows]
    labels = {"energies": [a["energy"] for a in found], "forces": [a["forces"] for a in found]}
    save_arrays(answers, given | labels)


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write a compressed npz file by an atomic rename."""
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(path)


def label_isolated(work: Path, elements: list[str], surfaces: dict[str, Calculator]) -> None:
    """Energies of isolated atoms, eV, into ``isolated.json``: not trained on, but of one kind for both."""
    path = work / "isolated.json"
    if not path.exists():
        found: dict[str, dict[str, float]] = {}
        for surface, calculator in surfaces.items():
            boxes = {symbol: Atoms(symbol, cell=[20.0] * 3, pbc=True) for symbol in elements}
            found[surface] = {s: answer(box, calculator)["energy"] for s, box in boxes.items()}
        path.with_suffix(".partial").write_text(json.dumps(found, indent=1), encoding="utf-8")
        path.with_suffix(".partial").replace(path)


def label_all(work: Path) -> None:
    """Relax and label every crystal of ``structures.json`` that no other process has, in its order."""
    entries = json.loads((work / "structures.json").read_text(encoding="utf-8"))
    folder = work / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    surfaces = load_surfaces()
    start, n_frames, n_atoms = time.time(), 0, 0
    for position, entry in enumerate(entries, 1):
        name = entry["name"]
        path, rejected = folder / f"{name}.npz", folder / f"{name}.rejected"
        with (folder / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if path.exists() or rejected.exists():
                continue
            try:
                arrays = labelled(name, relaxed_crystal(entry, surfaces), surfaces)
            except ValueError as error:
                rejected.write_text(f"{error}\n", encoding="utf-8")
                print(f"{name}: left out, {error}", flush=True)
                continue
            save_arrays(path, arrays)
        n_frames, n_atoms = n_frames + len(arrays["n_atoms"]), n_atoms + sum(arrays["n_atoms"])
        spent = time.time() - start
        print(
            f"{position}/{len(entries)} {name}: {n_frames} frames, {n_atoms} atoms, {spent:.0f} s, "
            f"{1e3 * spent / n_atoms:.0f} ms an atom",
            flush=True,
        )
    label_isolated(work, sorted({s for e in entries for s in e["symbols"]}), surfaces)
