"""What a toy pair from real surfaces is worth: errors on SevenNet's labels, phonons, smoothness, NaCl.

Phonons are compared in each crystal as 7net-l3i5 relaxed it, without the non-analytic term. SevenNet answers in
its own environment, a process for a crystal; its forces are kept below ``phonons/``.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols
from pair_frames import HELD_OUT, formula_of
from pair_training import SURFACES, Labelled, start
from pymatgen.core import Lattice, Structure

from phonotune.data.structures import read_structure
from phonotune.models.architecture import load_shipped
from phonotune.models.evaluate import ModelEvaluator
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.phonon.displacements import PhononPlan, analyse_forces, plan_displacements
from phonotune.physics.phonon.files import read_phonopy
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.ports import Answers, Evaluation, Source
from phonotune.schemas.phonon import PhononDocument

TRAINED = (
    "rocksalt-NaCl", "rocksalt-MgO", "diamond-Si", "zincblende-GaAs", "fluorite-CaF2", "fcc-Al",
    "D0_3-K3Sb", "perovskite-BaTiO3", "perovskite-SrTiO3", "wurtzite-ZnO",
)  # fmt: skip
"""Ten crystals that frames of are trained on; the ten that are kept out join them."""
STEPS = (0.002, 0.005, 0.01, 0.03, 0.05, 0.1)
PHONONS = PhononSettings(min_length=8.0, max_atoms=130)
NACL = PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table; numbers with three digits."""
    shown = [[f"{x:.3g}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in [list(header), ["---"] * len(header), *shown]]
    return "\n".join(lines)


def relaxed(work: Path, name: str) -> Structure:
    """A crystal as it was relaxed for its labels."""
    with np.load(work / "labels" / f"{name}.npz") as a:
        cell, numbers, positions = (a[f"relaxed_{k}"] for k in ("cell", "numbers", "positions"))
    return Structure(Lattice(cell), numbers.tolist(), positions, coords_are_cartesian=True)


# --- errors on frames ------------------------------------------------------------------------------


def error_tables(model: str, evaluator: ModelEvaluator, frames: list[Labelled]) -> str:
    """Errors by kind of frame, by kept-out crystal and by element."""
    answers = evaluator([f.structure for f in frames])
    groups: dict[str, list[tuple[Labelled, Evaluation]]] = defaultdict(list)
    by_element: dict[int, list[np.ndarray]] = defaultdict(list)
    for frame, found in zip(frames, answers, strict=True):
        kept = frame.split == "held_out"
        groups[f"kept out: {frame.crystal}" if kept else f"trained: {frame.kind}"].append(
            (frame, found)
        )
        for z, row in zip(frame.structure.atomic_numbers, found.forces - frame.forces, strict=True):
            if not kept:
                by_element[z].append(np.abs(row))
    rows = []
    for name, pairs in sorted(groups.items(), reverse=True):
        wrong = np.concatenate([(a.forces - f.forces).ravel() for f, a in pairs])
        size = np.concatenate([f.forces.ravel() for f, _ in pairs])
        energy = np.array([(a.energy - f.energy) / len(f.structure) for f, a in pairs])
        stress = np.concatenate([(a.stress - f.stress).ravel() for f, a in pairs])
        parts = [
            1e3 * np.abs(wrong).mean(),
            1e3 * np.sqrt((wrong**2).mean()),
            1e3 * np.abs(size).mean(),
        ]
        parts += [1e3 * np.abs(energy).mean(), 160.21766 * np.abs(stress).mean()]
        rows.append([model, name, len(pairs), *map(float, parts)])
    header = [
        "model",
        "frames",
        "n",
        "force MAE meV/Å",
        "RMSE",
        "mean force",
        "energy MAE meV/atom",
        "stress MAE GPa",
    ]
    elements = [
        [chemical_symbols[z], len(parts), float(1e3 * np.mean(parts))]
        for z, parts in sorted(by_element.items())
    ]
    return (
        table(header, rows)
        + "\n\n"
        + table(["element", "atoms", f"{model} force MAE meV/Å"], elements)
    )


# --- phonons ---------------------------------------------------------------------------------------


def sevennet_answers(
    plan: PhononPlan, surface: str, name: str, work: Path, python: Path
) -> list[Evaluation]:
    """Forces of a SevenNet surface on displaced supercells; computed once, kept in ``phonons/``."""
    folder = work / "phonons"
    folder.mkdir(exist_ok=True)
    path, asked = folder / f"{name}.{surface}.npz", folder / f"{name}.asked.npz"
    cells = plan.structures
    if not path.exists():
        np.savez(
            asked,
            numbers=[s.atomic_numbers for s in cells],
            positions=[s.cart_coords for s in cells],
            cells=[s.lattice.matrix for s in cells],
        )
        script = Path(__file__).with_name("toy_pair.py")
        command = [
            python,
            script,
            "answer",
            "--asked",
            asked,
            "--answers",
            path,
            "--surface",
            surface,
        ]
        subprocess.run([str(word) for word in command], check=True, env={"OMP_NUM_THREADS": "1"})
    with np.load(path) as a:
        if not np.allclose(a["positions"], [s.cart_coords for s in cells], atol=1e-6):
            raise SystemExit(
                f"{path} holds other displacements; delete it and run this step again."
            )
        return [
            Evaluation(float(e), f.astype(float))
            for e, f in zip(a["energies"], a["forces"], strict=True)
        ]


def deviations(plan: PhononPlan, reference: Answers, model: Answers) -> list[float]:
    """Zone MAE, and the lowest and highest frequency of reference and model, THz."""
    documents = [
        analyse_forces(plan, answers, Source(role=role, evaluator=role))
        for role, answers in (("reference", reference), ("untuned", model))
    ]
    first, second = (PropertySet.of([d]) for d in documents)
    (row,) = compare(first, [second]).rows
    ends = [_ends(d) for d in documents]
    return [row.deviations.frequency_mae, ends[0][0], ends[1][0], ends[0][1], ends[1][1]]


def _ends(document: PhononDocument) -> tuple[float, float]:
    frequencies = document.data.arrays()["band_frequencies"]
    return float(frequencies.min()), float(frequencies.max())


def phonon_table(work: Path, python: Path, evaluators: dict[str, ModelEvaluator]) -> str:
    """Each model against its own surface, and the two surfaces against each other."""
    labelled = {path.stem for path in (work / "labels").glob("*.npz")}
    kept = sorted(name for name in labelled if formula_of(name) in HELD_OUT)
    rows: list[list[object]] = []
    for name in [*(n for n in TRAINED if n in labelled), *kept]:
        plan = plan_displacements(relaxed(work, name), PHONONS)
        surfaces = {s: sevennet_answers(plan, s, name, work, python) for s in SURFACES.values()}
        where = "kept out" if name in kept else "trained"
        gap = deviations(plan, surfaces["7net-l3i5"], surfaces["7net-0"])
        rows.append([name, where, "7net-0 against 7net-l3i5", *gap])
        for model, evaluator in evaluators.items():
            found = deviations(plan, surfaces[SURFACES[model]], evaluator(plan.structures))
            rows.append([name, where, f"{model} against {SURFACES[model]}", *found])
        print(*rows[-len(evaluators) - 1 :], sep="\n", flush=True)
    for where in ("trained", "kept out"):
        for what in dict.fromkeys(str(row[2]) for row in rows):
            chosen = [row[3] for row in rows if row[1] == where and row[2] == what]
            if chosen:
                mean = float(np.mean(np.array(chosen, dtype=float)))
                rows.append([f"**mean of {len(chosen)}**", where, what, mean, "", "", "", ""])
    header = [
        "crystal",
        "frames of it",
        "which",
        "zone MAE THz",
        "lowest THz, of the first",
        "of the second",
    ]
    return table([*header[:4], "lowest THz, model", "reference", "highest THz, model", "reference"],
                 [[*r[:4], r[5], r[4], r[7], r[6]] for r in rows])  # fmt: skip


def nacl_table(data: Path, evaluators: dict[str, ModelEvaluator]) -> str:
    """Untuned models against force constants of VASP for NaCl (PBE), eight atoms repeated 2x2x2, no NAC."""
    source = Source(role="reference", evaluator="vasp")
    path = data / "phonopy_params_NaCl-fd.yaml.xz"
    reference = read_phonopy(path, NACL, source, with_nac=False)
    plan = plan_displacements(read_structure(data / "POSCAR-unitcell"), NACL)
    sets = []
    for model, evaluator in evaluators.items():
        source = Source(role="untuned", evaluator=model)
        document = analyse_forces(plan, evaluator(plan.structures), source)
        sets.append(PropertySet.of([document]))
    rows = compare(PropertySet.of([reference]), sets).rows
    return table(
        ["model", "zone MAE THz", "largest THz"],
        [
            [r.source.evaluator, r.deviations.frequency_mae, r.deviations.frequency_max]
            for r in rows
        ],
    )


# --- smoothness ------------------------------------------------------------------------------------


def stiffness_table(work: Path, evaluators: dict[str, ModelEvaluator]) -> str:
    """``-ΔF/Δx`` of the first atom along x between ± a step, eV/Å^2, and how much it changes."""
    rows: list[list[object]] = []
    for name in TRAINED:
        if not (work / "labels" / f"{name}.npz").exists():
            continue
        cell = relaxed(work, name) * (2, 2, 2)
        moved = [(sign * step, cell.copy()) for step in STEPS for sign in (1, -1)]
        for by, structure in moved:
            structure.translate_sites([0], [by, 0, 0], frac_coords=False)
        for model, evaluator in evaluators.items():
            forces = [a.forces[0, 0] for a in evaluator([s for _, s in moved])]
            stiff = [
                (forces[2 * i + 1] - forces[2 * i]) / (2 * step) for i, step in enumerate(STEPS)
            ]
            change = 100 * abs(stiff[3] / stiff[0] - 1)
            rows.append([name, model, *(f"{k:.4f}" for k in stiff), f"{change:.2f} %"])
    return table(["crystal", "model", *(f"{s} Å" for s in STEPS), "0.002 to 0.03 Å"], rows)


def evaluate(models: Sequence[str], work: Path, python: Path, vasp: Path | None) -> None:
    """Print all tables and write them to ``evaluation.md``."""
    torch.set_num_threads(1)
    evaluators = {m: ModelEvaluator(load_shipped(m, directory=work / "export")) for m in models}
    parts = []
    for model, evaluator in evaluators.items():
        _, frames = start(model, work)
        judged = [f for f in frames if f.split != "train"]
        parts.append(
            f"### Frames that {model} was not trained on\n\n{error_tables(model, evaluator, judged)}"
        )
    parts.append(f"### Stiffness against step size\n\n{stiffness_table(work, evaluators)}")
    if vasp is not None:
        parts.append(f"### NaCl against VASP\n\n{nacl_table(vasp, evaluators)}")
    parts.append(f"### Phonons\n\n{phonon_table(work, python, evaluators)}")
    text = "\n\n".join(parts) + "\n"
    (work / "evaluation.md").write_text(text, encoding="utf-8")
    print(text)
