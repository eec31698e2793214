"""What the fine-tuning benchmarks share: labelled frames, splits, reference phonons, error measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from evaluation import rattled_perovskites
from pymatgen.core import Lattice, Structure

from phonotune.data.importers import import_frames
from phonotune.data.structures import read_structure
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.files import read_phonopy
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.schemas.dataset import Frame
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.training import ModelRecord
from phonotune.training.energies import refit_energies

Frames = list[Frame]

ROOT: Final = Path(__file__).resolve().parents[1]
NACL: Final = ROOT.parent / "shared" / "data" / "nacl-vasp"
FOUNDATION: Final = "mini"
CASES: Final = {"nacl": (8, 2), "perovskite": (16, 4)}
"""Frames that train and validate."""
SUPERCELL: Final = ((2, 0, 0), (0, 2, 0), (0, 0, 2))


@cache
def frames_of(case: str) -> tuple[Frame, ...]:
    """Return every labelled frame: 10 of NaCl by VASP, or 20 rattled BaTiO3 by ``teacher``."""
    if case == "nacl":
        return tuple(import_frames(sorted(NACL.glob("disp-0*/vasprun.xml"))))
    cells = rattled_perovskites(sum(CASES[case]), seed=0)
    answers = load_evaluator("teacher")(cells)
    return tuple(
        Frame(c, a.energy, a.forces, a.stress) for c, a in zip(cells, answers, strict=True)
    )


def labeller_of(case: str) -> str:
    return "vasp" if case == "nacl" else "teacher"


def split(case: str, n_train: int, n_valid: int, seed: int | None = None) -> tuple[Frames, Frames]:
    """Return training and validation frames: the first ones in order, or drawn by a seed."""
    frames = frames_of(case)
    order = np.arange(len(frames))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    chosen = [frames[i] for i in order[: n_train + n_valid]]
    return chosen[:n_train], chosen[n_train:]


def offset_corrected(train: Frames, valid: Frames) -> tuple[Frames, Frames]:
    """Take the offset of the labels against the foundation off the energies of both sides.

    Least squares on the composition of the training frames, as phonotune does before a training;
    the peers do nothing of the kind.
    """
    elements = sorted({int(z) for f in (*train, *valid) for z in f.structure.atomic_numbers})
    answers = load_evaluator(FOUNDATION)([f.structure for f in train])
    residual = [f.energy - a.energy for f, a in zip(train, answers, strict=True)]
    shifts = refit_energies(elements, _counts(train, elements), np.array(residual)).shifts

    def corrected(frames: Frames) -> Frames:
        offset = _counts(frames, elements) @ [shifts[z] for z in elements]
        return [replace(f, energy=f.energy - e) for f, e in zip(frames, offset, strict=True)]

    return corrected(train), corrected(valid)


def _counts(frames: Frames, elements: Sequence[int]) -> np.ndarray:
    numbers = [np.array(f.structure.atomic_numbers) for f in frames]
    return np.array([[np.count_nonzero(n == z) for z in elements] for n in numbers], dtype=float)


def unit_cell(case: str) -> Structure:
    if case == "nacl":
        return read_structure(NACL / "POSCAR-unitcell")
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    return Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.0), ["Ba", "Ti", "O"], sites)


def model_phonons(case: str, model: ModelRecord | str, role: str) -> PhononDocument:
    """Return the phonons of a model in the unit cell and supercell of the reference."""
    plan = plan_displacements(unit_cell(case), PhononSettings(supercell_matrix=SUPERCELL))
    evaluator = load_evaluator(model, "cpu")
    source = evaluator.source.model_copy(update={"role": role})
    return analyse_forces(plan, evaluator(plan.structures), source)


@cache
def reference_phonons(case: str) -> PhononDocument:
    """Return the reference without NAC: VASP's finite displacements, or those of ``teacher``."""
    if case != "nacl":
        return model_phonons(case, "teacher", "reference")
    settings = PhononSettings.model_validate(model_phonons(case, FOUNDATION, "untuned").settings)
    path = NACL / "phonopy_params_NaCl-fd.yaml.xz"
    return read_phonopy(path, settings, Source(role="reference", evaluator="vasp"), False)


def zone_mae(case: str, model: ModelRecord | str, role: str) -> float:
    """Return the mean absolute error of the frequencies over the whole zone, THz."""
    documents = (reference_phonons(case), model_phonons(case, model, role))
    reference, tuned = (PropertySet.of([d]) for d in documents)
    return float(compare(reference, [tuned]).rows[0].deviations.frequency_mae)


def middle(values: Sequence[float], digits: int = 3) -> str:
    """Return ``median (lowest-highest)``, or a dash."""
    if not values:
        return "-"
    text = f"{median(values):.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
