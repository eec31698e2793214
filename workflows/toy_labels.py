"""CHGNet labels for the toy pair: energies in eV, forces in eV/Å, stress (ASE's sign) in eV/Å^3.

One file a crystal and reference (`labels/<model>/<crystal>.npz`), written with an atomic rename, so
that labelling can be killed and started again. Two processes of one thread are the fastest way on
two cores; one structure at a time is faster than batches (see docs/toy_models.md).
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from prototype_crystals import (
    CRYSTALS,
    EMPHASISED,
    HELD_OUT_CRYSTALS,
    Crystal,
    frame_plan,
    polar_frame_plan,
    unit_cell,
)

CHGNET_NAMES = {"mini": "0.3.0", "teacher": "r2scan"}
HELD_OUT_SHARE = 0.06
FIRST_EXTRA = 200
FIRST_POLAR = 1000
"""Frames numbered from here on are polar distortions of a perovskite, not random rattles."""


@dataclass(frozen=True)
class Labelled:
    """One labelled frame; energy eV (total), forces (n_atoms, 3) eV/Å, stress (3, 3) eV/Å^3."""

    crystal: str
    number: int
    rattle: float
    atoms: Atoms
    energy: float
    forces: np.ndarray
    stress: np.ndarray

    @property
    def polar(self) -> bool:
        """Whether the frame is a polar distortion of a perovskite (with a small rattle)."""
        return self.number >= FIRST_POLAR

    @property
    def split(self) -> str:
        """`train`, `held_out` (frames) or `held_out_crystal`; by hash, never by position in a list."""
        if self.crystal in HELD_OUT_CRYSTALS:
            return "held_out_crystal"
        digest = hashlib.sha256(f"split/{self.crystal}/{self.number}".encode()).digest()
        share = int.from_bytes(digest[:4], "little") / 2**32
        return "held_out" if share < HELD_OUT_SHARE else "train"


class ChgnetReference:
    """CHGNet as a function of an ASE structure."""

    def __init__(self, model: str) -> None:
        import torch
        from chgnet.model import CHGNet
        from pymatgen.io.ase import AseAtomsAdaptor

        torch.set_num_threads(1)
        self._net = CHGNet.load(model_name=CHGNET_NAMES[model], use_device="cpu", verbose=False)
        self._convert = AseAtomsAdaptor.get_structure

    def __call__(self, atoms: Atoms, task: str = "efs") -> dict[str, Any]:
        """Total energy in eV, forces in eV/Å, stress (3, 3) in eV/Å^3 with ASE's sign."""
        answer = self._net.predict_structure(self._convert(atoms), task=task)
        energy = float(answer["e"]) * len(atoms)
        if task == "e":
            return {"energy": energy}
        return {"energy": energy, "forces": answer["f"], "stress": answer["s"] * GPa}


def volume_relaxed(crystal: Crystal, reference: ChgnetReference) -> Atoms:
    """The crystal's primitive cell at the reference's own equilibrium volume (shape kept).

    A scan of the lattice scale in steps of 1 %, then a parabola through the lowest three points.
    """
    start = unit_cell(crystal)

    def energy(scale: float) -> float:
        atoms = start.copy()
        atoms.set_cell(start.cell.array * scale, scale_atoms=True)
        return float(reference(atoms, task="e")["energy"])

    scales = [0.97, 0.98, 0.99, 1.00, 1.01, 1.02, 1.03]
    energies = [energy(s) for s in scales]
    while (low := int(np.argmin(energies))) in (0, len(scales) - 1) and 0.86 < scales[low] < 1.14:
        new = scales[low] + (0.01 if low else -0.01)
        position = len(scales) if low else 0
        scales.insert(position, new)
        energies.insert(position, energy(new))
    low = min(max(low, 1), len(scales) - 2)
    a, b, _ = np.polyfit(scales[low - 1 : low + 2], energies[low - 1 : low + 2], 2)
    best = -b / (2 * a) if a > 0 else scales[low]
    start.set_cell(start.cell.array * float(np.clip(best, 0.86, 1.14)), scale_atoms=True)
    return start


def frame_numbers(crystal: Crystal) -> list[int]:
    """Numbers of a crystal's rattled frames: 60 for the demo crystals, 36 for perovskites, else 26."""
    if crystal.name in EMPHASISED:
        return list(range(60))
    return list(range(36 if crystal.prototype == "perovskite" else 26))


def polar_numbers(crystal: Crystal) -> list[int]:
    """Numbers (from `FIRST_POLAR`) of the polar frames: perovskites only, 40 for the demo ones."""
    count = 0 if crystal.prototype != "perovskite" else 40 if crystal.name in EMPHASISED else 12
    return list(range(FIRST_POLAR, FIRST_POLAR + count))


def frame_sets(model: str, crystal: Crystal) -> dict[str, list[int]]:
    """Frame numbers of a crystal by kind; the larger model gets twice the rattled frames.

    Rutiles (free internal coordinate, stiff, few crystals) have three times as many.
    """
    sets = {"rattled": frame_numbers(crystal), "polar": polar_numbers(crystal)}
    if model == "teacher":
        factor = 2 if crystal.prototype == "rutile" else 1
        first = FIRST_EXTRA
        sets["extra"] = list(range(first, first + factor * len(sets["rattled"])))
    return {kind: numbers for kind, numbers in sets.items() if numbers}


def _save_atomically(path: Path, arrays: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(path)


def label_frames(
    crystal: Crystal, relaxed: Atoms, numbers: list[int], reference: ChgnetReference, path: Path
) -> None:
    """Label the frames `numbers` of one crystal into `path`."""
    arrays: dict[str, Any] = {"relaxed_cell": relaxed.cell.array, "numbers": numbers}
    for number in numbers:
        plan = polar_frame_plan if number >= FIRST_POLAR else frame_plan
        atoms, rattle = plan(crystal, relaxed, number)
        label = reference(atoms)
        arrays |= {
            f"{number}/numbers": atoms.numbers,
            f"{number}/positions": atoms.positions,
            f"{number}/cell": atoms.cell.array,
            f"{number}/rattle": rattle,
            f"{number}/energy": label["energy"],
            f"{number}/forces": label["forces"],
            f"{number}/stress": label["stress"],
        }
    _save_atomically(path, arrays)


def _path(model: str, crystal: Crystal, kind: str, work: Path) -> Path:
    return work / "labels" / model / f"{crystal.name}.{kind}.npz"


def label_all(model: str, work: Path) -> None:
    """Label every crystal that has no file yet."""
    reference = ChgnetReference(model)
    (work / "labels" / model).mkdir(parents=True, exist_ok=True)
    start, done = time.time(), 0
    for crystal in CRYSTALS:
        for kind, numbers in frame_sets(model, crystal).items():
            path = _path(model, crystal, kind, work)
            if path.exists():
                continue
            relaxed = volume_relaxed(crystal, reference)
            label_frames(crystal, relaxed, numbers, reference, path)
            done += len(numbers)
        print(f"{model}: {crystal.name}, {done} frames in {time.time() - start:.0f} s", flush=True)


def relaxed_cell(model: str, crystal: Crystal, work: Path) -> Atoms:
    """The primitive cell at the reference's equilibrium volume, from the label file."""
    with np.load(_path(model, crystal, "rattled", work)) as arrays:
        atoms = unit_cell(crystal)
        atoms.set_cell(arrays["relaxed_cell"], scale_atoms=True)
    return atoms


def read_labels(model: str, work: Path) -> list[Labelled]:
    """All labelled frames of a model, in the order of `CRYSTALS`."""
    frames: list[Labelled] = []
    for crystal in CRYSTALS:
        for kind in frame_sets(model, crystal):
            with np.load(_path(model, crystal, kind, work)) as a:
                for i in a["numbers"].tolist():
                    cell, positions = a[f"{i}/cell"], a[f"{i}/positions"]
                    atoms = Atoms(a[f"{i}/numbers"], positions=positions, cell=cell, pbc=True)
                    label = (float(a[f"{i}/energy"]), a[f"{i}/forces"], a[f"{i}/stress"])
                    frames.append(Labelled(crystal.name, i, float(a[f"{i}/rattle"]), atoms, *label))
    return frames
