"""What the shipped toy pair is worth: the tables of docs/toy_models.md, from the exported files.

Held-out errors against the labels, stiffness against step size, phonons of twelve crystals by
phonopy and the ferroelectric wells of the cubic perovskites beside CHGNet's own. All in float64.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mace.calculators  # before e3nn
import numpy as np
import torch
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from phonopy.structure.atoms import PhonopyAtoms
from prototype_crystals import CONVENTIONAL, CRYSTALS, FCC_LIKE, Crystal
from scipy.optimize import minimize_scalar
from toy_labels import CHGNET_NAMES, FIRST_EXTRA, FIRST_POLAR, Labelled, read_labels, relaxed_cell
from toy_training import collate, is_target, make_graph, residuals

from phonotune.models.architecture import load_shipped
from phonotune.models.shipped import load_card, shipped_sha256

MODELS = ("mini", "teacher")
DOCUMENT = Path(__file__).parents[1] / "docs" / "toy_models.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
STEPS = (0.002, 0.005, 0.01, 0.03, 0.05, 0.1)
PHONON_CRYSTALS = (
    "rocksalt-NaCl", "rocksalt-MgO", "diamond-Si", "diamond-C", "zincblende-GaAs", "fluorite-CaF2",
    "fcc-Al", "d03-K3Sb", "perovskite-BaTiO3", "perovskite-SrTiO3", "perovskite-KNbO3",
    "perovskite-CaTiO3",
)  # fmt: skip
WELL_CRYSTALS = ("perovskite-BaTiO3", "perovskite-KNbO3", "perovskite-CaTiO3", "perovskite-SrTiO3")
WELL_AXES = ((0, 0, 1), (1, 1, 1))


def named(name: str) -> Crystal:
    """The crystal of that name."""
    return next(crystal for crystal in CRYSTALS if crystal.name == name)


def model_calculator(model: str) -> Calculator:
    """The shipped model as an ASE calculator, float64."""
    shipped = load_shipped(model)
    return mace.calculators.MACECalculator(models=[shipped], device="cpu", default_dtype="float64")


def chgnet_calculator(model: str) -> Calculator:
    """The CHGNet that the model was distilled from, as an ASE calculator."""
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    net = CHGNet.load(model_name=CHGNET_NAMES[model], use_device="cpu", verbose=False)
    return CHGNetCalculator(net, use_device="cpu")


def table(header: list[str], rows: list[list[str]]) -> str:
    """A markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)


# --- held-out errors -----------------------------------------------------------------------------


def error_rows(model: str, frames: list[Labelled]) -> list[list[str]]:
    """Errors of a shipped model on groups of labelled frames."""
    net, card = load_shipped(model, torch.float32), load_card(model)
    groups: dict[str, Callable[[Labelled], bool]] = {
        "**held-out frames, rattle ≤ 0.1 Å**": is_target,
        "of these, rattle ≤ 0.05 Å": lambda f: is_target(f) and f.rattle <= 0.05,
        "of these, 0.05 < rattle ≤ 0.1 Å": lambda f: is_target(f) and f.rattle > 0.05,
        "held-out frames, rattle > 0.1 Å": lambda f: (
            f.split == "held_out" and f.rattle > 0.1 and f.number < FIRST_EXTRA
        ),
        "held-out extra frames (three times the rutiles), rattle ≤ 0.1 Å": lambda f: (
            f.split == "held_out" and f.rattle <= 0.1 and FIRST_EXTRA <= f.number < FIRST_POLAR
        ),
        "held-out polar perovskite frames": lambda f: f.split == "held_out" and f.polar,
        "crystals held out entirely, rattle ≤ 0.1 Å": lambda f: (
            f.split == "held_out_crystal" and f.rattle <= 0.1 and not f.polar
        ),
    }
    rows = []
    for label, belongs in groups.items():
        if chosen := [f for f in frames if belongs(f)]:
            rows.append([model, label, str(len(chosen)), *_errors(net, card, chosen)])
    return rows


def _errors(net: torch.nn.Module, card: Any, frames: list[Labelled]) -> list[str]:
    """Force MAE, RMSE and mean label (meV/Å), energy MAE (meV/atom), stress MAE (GPa)."""
    parts: dict[str, list[torch.Tensor]] = {"energy": [], "forces": [], "stress": []}
    for start in range(0, len(frames), 16):
        batch = collate([make_graph(f, card) for f in frames[start : start + 16]])
        for key, error in residuals(net, batch, training=False).items():
            parts[key].append(error.detach().flatten())
    error = {key: torch.cat(values) for key, values in parts.items()}
    size = np.abs(np.concatenate([f.forces.ravel() for f in frames])).mean()
    return [
        f"{1e3 * error['forces'].abs().mean():.1f}",
        f"{1e3 * error['forces'].square().mean().sqrt():.1f}",
        f"{1e3 * size:.0f}",
        f"{1e3 * error['energy'].abs().mean():.1f}",
        f"{160.21766 * error['stress'].abs().mean():.2f}",
    ]


def held_out_table(work: Path) -> str:
    """Held-out errors of both models."""
    header = ["model", "frames", "n", "force MAE meV/Å", "force RMSE meV/Å", "mean abs force meV/Å",
              "energy MAE meV/atom", "stress MAE GPa"]  # fmt: skip
    return table(header, [row for m in MODELS for row in error_rows(m, read_labels(m, work))])


def training_table(work: Path) -> str:
    """Size, data and effort of both models."""
    rows = []
    for model in MODELS:
        card = load_card(model)
        size = sum(p.numel() for p in load_shipped(model).parameters())
        frames = [f for f in read_labels(model, work) if f.split == "train"]
        with (work / "runs" / model / "history.csv").open() as stream:
            last = list(csv.DictReader(stream))[-1]
        rows.append([model, card.trained_on, card.hidden_irreps, f"{size:,}", str(len(frames)),
                     str(sum(len(f.atoms) for f in frames)), f"{int(last['step']):,}",
                     f"{float(last['seconds']) / 60:.0f}", shipped_sha256(model)[:12]])  # fmt: skip
    header = ["model", "labels", "hidden irreps", "parameters", "frames", "atoms",
              "steps of 8 frames", "minutes of one thread", "sha256"]  # fmt: skip
    return table(header, rows)


# --- stiffness -----------------------------------------------------------------------------------


def stiffness(atoms: Atoms, calculator: Calculator, index: int, step: float) -> float:
    """-ΔF_x/Δx of one atom, eV/Å^2, for a displacement of `step` Å from the ideal position."""
    forces = []
    for shift in (0.0, step):
        moved = atoms.copy()
        moved.positions[index, 0] += shift
        forces.append(calculator.get_forces(moved)[index, 0])
    return float(forces[0] - forces[1]) / step


def stiffness_table(work: Path) -> str:
    """Stiffness against step size of three atoms; CHGNet's own rows show why a MACE is needed."""
    calculators: dict[str, Calculator] = {m: model_calculator(m) for m in MODELS}
    calculators |= {f"CHGNet {CHGNET_NAMES[m]}": chgnet_calculator(m) for m in MODELS}
    rows = []
    for name, symbol in (
        ("diamond-Si", "Si"),
        ("rocksalt-NaCl", "Na"),
        ("perovskite-BaTiO3", "Ti"),
    ):
        crystal = named(name)
        for label, calculator in calculators.items():
            model = (
                label if label in MODELS else MODELS[list(CHGNET_NAMES.values()).index(label[7:])]
            )
            atoms = make_supercell(
                cubic_cell(crystal, relaxed_cell(model, crystal, work)), 2 * np.eye(3)
            )
            index = atoms.get_chemical_symbols().index(symbol)
            values = [stiffness(atoms, calculator, index, step) for step in STEPS]
            change = 100 * (max(values[:4]) / min(values[:4]) - 1)
            rows.append([f"{symbol} in {name.split('-')[1]}", label, *[f"{v:.3f}" for v in values],
                         f"{change:.2f} %" if min(values[:4]) > 0 else "sign changes"])  # fmt: skip
    header = ["atom", "surface", *[f"{s} Å" for s in STEPS], "change, 0.002 to 0.03 Å"]
    return table(header, rows)


# --- phonons -------------------------------------------------------------------------------------


def cubic_cell(crystal: Crystal, primitive: Atoms) -> Atoms:
    """The conventional cube of a cubic crystal."""
    return make_supercell(primitive, CONVENTIONAL) if crystal.prototype in FCC_LIKE else primitive


def equilibrium(crystal: Crystal, start: Atoms, calculator: Calculator) -> Atoms:
    """The crystal at the surface's own equilibrium volume (cubic crystals: fully relaxed)."""

    def energy(scale: float) -> float:
        atoms = start.copy()
        atoms.set_cell(start.cell.array * scale, scale_atoms=True)
        return float(calculator.get_potential_energy(atoms))

    best = minimize_scalar(energy, bounds=(0.97, 1.03), options={"xatol": 1e-5}).x
    relaxed = start.copy()
    relaxed.set_cell(start.cell.array * float(best), scale_atoms=True)
    return relaxed


def phonons(cell: Atoms, calculator: Calculator) -> Phonopy:
    """Finite displacements of 0.01 Å in a 2x2x2 supercell of the conventional cube."""
    unit = PhonopyAtoms(numbers=cell.numbers, cell=cell.cell.array, positions=cell.positions)
    phonon = Phonopy(unit, supercell_matrix=2 * np.eye(3, dtype=int), primitive_matrix="auto")
    phonon.generate_displacements(distance=0.01)
    forces = []
    for supercell in phonon.supercells_with_displacements:
        atoms = Atoms(
            supercell.numbers, positions=supercell.positions, cell=supercell.cell, pbc=True
        )
        forces.append(calculator.get_forces(atoms))
    phonon.forces = np.array(forces)
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    return phonon


def extremes(phonon: Phonopy) -> tuple[float, np.ndarray, float]:
    """Lowest frequency (THz) and its q (primitive basis), highest frequency; commensurate q only.

    The three translations at Γ are left out.
    """
    matrix = np.linalg.inv(phonon.primitive_matrix) @ phonon.supercell_matrix
    q_points = get_commensurate_points(np.rint(matrix).astype(int))
    phonon.run_qpoints(q_points)
    frequencies = np.array(phonon.get_qpoints_dict()["frequencies"])
    gamma = int(np.argmin(np.abs(q_points - np.rint(q_points)).sum(axis=1)))
    frequencies[gamma, np.argsort(np.abs(frequencies[gamma]))[:3]] = np.nan
    lowest = np.unravel_index(np.nanargmin(frequencies), frequencies.shape)
    return float(frequencies[lowest]), q_points[lowest[0]], float(np.nanmax(frequencies))


def phonon_rows(work: Path) -> Iterator[list[str]]:
    """One row a crystal: lattice parameter, lowest and highest frequency on both models."""
    calculators = {model: model_calculator(model) for model in MODELS}
    for name in PHONON_CRYSTALS:
        crystal, row = named(name), [name]
        for model, calculator in calculators.items():
            relaxed = equilibrium(crystal, relaxed_cell(model, crystal, work), calculator)
            cell = cubic_cell(crystal, relaxed)
            low, q, high = extremes(phonons(cell, calculator))
            q_text = " ".join(f"{x:.2f}".rstrip("0").rstrip(".") for x in q)
            row += [f"{cell.cell[0, 0]:.3f}", f"{low:.2f} ({q_text})", f"{high:.2f}"]
        yield row


def phonon_table(work: Path) -> str:
    """Phonons of both models at their own equilibrium volumes."""
    columns = [f"{m} {what}" for m in MODELS for what in ("a Å", "lowest THz (q)", "highest THz")]
    return table(["crystal", *columns], list(phonon_rows(work)))


# --- wells ---------------------------------------------------------------------------------------


def relaxed_well(cubic: Atoms, calculator: Calculator, axis: tuple[int, int, int]) -> float:
    """Energy gained in the cubic cell by an off-centre B site along `axis`, meV a formula unit."""
    direction = np.array(axis) / np.linalg.norm(axis)
    atoms = cubic.copy()
    atoms.calc = calculator
    before = atoms.get_potential_energy()
    atoms.positions[1] += 0.12 * direction
    atoms.positions[2:] -= 0.05 * direction
    BFGS(atoms, logfile=None).run(fmax=0.002, steps=100)
    return 1e3 * float(atoms.get_potential_energy() - before)


def well_table(work: Path) -> str:
    """Ferroelectric wells, cell fixed at each surface's cubic equilibrium."""
    surfaces = {m: (m, model_calculator(m)) for m in MODELS}
    surfaces |= {f"CHGNet {CHGNET_NAMES[m]}": (m, chgnet_calculator(m)) for m in MODELS}
    rows = []
    for name in WELL_CRYSTALS:
        crystal = named(name)
        for label, (model, calculator) in surfaces.items():
            cubic = relaxed_cell(model, crystal, work)
            if label in MODELS:
                cubic = equilibrium(crystal, cubic, calculator)
            depths = [f"{relaxed_well(cubic, calculator, axis):.1f}" for axis in WELL_AXES]
            rows.append([name.split("-")[1], label, f"{cubic.cell[0, 0]:.3f}", *depths])
    axes = ["[" + "".join(map(str, axis)) + "] meV/f.u." for axis in WELL_AXES]
    return table(["crystal", "surface", "a Å", *axes], rows)


def evaluate(work: Path) -> None:
    """Print all tables and write them between the markers of docs/toy_models.md."""
    sections = {
        "Training": training_table,
        "Held-out errors": held_out_table,
        "Stiffness against step size": stiffness_table,
        "Phonons": phonon_table,
        "Ferroelectric wells": well_table,
    }
    parts = []
    for title, make in sections.items():
        parts.append(f"### {title}\n\n{make(work)}\n")
        print(parts[-1], flush=True)
    text = DOCUMENT.read_text(encoding="utf-8")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(
        f"{head}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{tail}", encoding="utf-8"
    )
