"""When ΔΦ helps: its error by crystal, model, amplitude and number of frames, and the deviation it states.

    python benchmarks/residual_study.py [--crystals NAME ...] [--models untuned lora ...]
        [--amplitudes 0.02 0.05 ...] [--frames 1 2 4 8] [--seeds 0 1 2] [--out runs/residual_study.jsonl]
        [--before OTHER.jsonl] [--figure FILE.svg]

``teacher`` labels. Every atom of the phonons' supercell is displaced by the amplitude in a direction of its
own; ``mini`` untuned, and tuned (defaults) on 16 frames that the pipeline chooses by energy, corrects the
labels' frames: with N frames, the first N of a seed. Crystals, frames, forces and tuned models are kept
beside OUT, so that another fit costs only its own time; results are lines of OUT, and a second call goes on
from there. ``--before`` adds a column: the results of another fit, lines with the same ``key`` and its
``zone_mae``. One thread. Errors are those of the frequencies over the zone, THz.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pools
import torch
from common import ROOT, markdown
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Structure
from resumable import Result, read_results, run_all

from phonotune.data.assemble import assemble_given
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.cells import to_structure
from phonotune.physics.phonon.displacements import (
    PhononPlan,
    fit_force_constants,
    plan_displacements,
)
from phonotune.physics.phonon.residual_fit import fit_residual, frequency_deviations
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.residual.matching import MatchedFrames, ResidualSettings
from phonotune.physics.supercell import displaced
from phonotune.ports import FloatArray
from phonotune.sampling.displace import equal_lengths
from phonotune.schemas.training import ModelRecord
from phonotune.training.config import parse_overrides
from phonotune.training.finetune import finetune

CRYSTALS: Final = ("BaTiO3", "KNbO3", "NaCl", "MgO", "Si", "K3Sb", "SnSe", "ZnO")
UNSEEN: Final = ("SrF2", "GaAs", "TiO2", "LiTiS2", "AlN")
"""On which no constant of the fit was chosen; run with ``--crystals``."""
AMPLITUDES: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Å."""
MODELS: Final = ("untuned", "lora", "equitrain")
SEEDS: Final = (0, 1, 2)
FRAMES: Final = (1, 2, 4, 8)
MESH: Final = 20.0
"""Mesh points per 1/Å: a few dozen irreducible q-points tell one fit from another."""


@dataclass(frozen=True)
class Run:
    """One fit."""

    crystal: str
    model: str
    amplitude: float
    frames: int
    seed: int
    folder: str

    @property
    def name(self) -> str:
        """The run in words."""
        return (
            f"{self.crystal} {self.model} {self.frames} frames of {self.amplitude} Å "
            f"seed {self.seed}"
        )

    @property
    def key(self) -> str:
        """Name of its result in the file."""
        return self.name


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crystals", nargs="+", default=list(CRYSTALS), choices=CRYSTALS + UNSEEN)
    parser.add_argument("--models", nargs="+", default=["untuned", "lora"], choices=MODELS)
    parser.add_argument(
        "--amplitudes", type=float, nargs="+", default=list(AMPLITUDES), choices=AMPLITUDES
    )
    parser.add_argument("--frames", type=int, nargs="+", default=list(FRAMES), choices=FRAMES)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), choices=SEEDS)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "residual_study.jsonl")
    parser.add_argument("--before", type=Path, help="results of another fit of the same frames")
    parser.add_argument("--figure", type=Path, help="error by amplitude and frames, SVG")
    return parser.parse_args()


def plan_of(crystal: str, folder: Path) -> PhononPlan:
    """Return the plan of a crystal's phonons; the crystal is kept in a file."""
    path = folder / f"{crystal}.json"
    if not path.exists():
        path.write_text(pools.crystal(crystal).to_json(), encoding="utf-8")
    cell = Structure.from_str(path.read_text(encoding="utf-8"), fmt="json")
    settings = PhononSettings(min_length=pools.LENGTH[pools.TEACHER], mesh_density=MESH)
    return plan_displacements(cell, settings)


def model_of(crystal: str, model: str, folder: Path) -> ModelRecord | str:
    """Return a model of a crystal, tuned once and kept in a file."""
    if model == "untuned":
        return pools.FOUNDATION
    path = folder / f"{crystal}-{model}.json"
    if not path.exists():
        sides = pools.chosen_frames(crystal, "energy", pools.LARGEST, 0, True, folder)
        train, valid = (pools.labelled(crystal, frames, folder) for frames in sides)
        dataset = assemble_given(train, valid, labeller=pools.TEACHER)
        found = finetune(dataset, pools.FOUNDATION, parse_overrides(model, ["seed=0"]), "cpu")
        path.write_text(json.dumps(found.model, cls=MontyEncoder), encoding="utf-8")
    record = MontyDecoder().decode(path.read_text(encoding="utf-8"))
    return record if isinstance(record, ModelRecord) else ModelRecord.model_validate(record)


def moves_of(supercell: Structure) -> FloatArray:
    """Return all displacements, shape (n_amplitudes, n_seeds, most frames, n_super, 3), Å."""
    return np.array(
        [
            [
                [equal_lengths(a)(supercell, rng) for _ in range(max(FRAMES))]
                for rng in map(np.random.default_rng, SEEDS)
            ]
            for a in AMPLITUDES
        ]
    )


def prepare(run: Run) -> str:
    """Compute forces on displaced supercells and on all frames; kept in a file per model."""
    torch.set_num_threads(1)
    folder = Path(run.folder)
    folder.mkdir(parents=True, exist_ok=True)
    plan = plan_of(run.crystal, folder)
    supercell = to_structure(plan.phonon.supercell)
    for name in (pools.TEACHER, run.model):
        path = folder / f"{run.crystal}-{name}.npz"
        if path.exists():
            continue
        model = name if name == pools.TEACHER else model_of(run.crystal, name, folder)
        moves = moves_of(supercell)
        frames = [displaced(supercell, u) for u in moves.reshape(-1, *moves.shape[-2:])]
        answers = load_evaluator(model)([*plan.structures, *frames])
        forces = np.array([a.forces for a in answers])
        plain, at_frames = np.split(forces, [len(plan.structures)])
        np.savez(path, displaced=plain, frames=at_frames.reshape(moves.shape), moves=moves)
    return f"{run.crystal} {run.model}: {len(supercell)} atoms"


@cache
def known(crystal: str, model: str, folder: str) -> dict[str, Any]:
    """Return what :func:`prepare` kept, the force constants and the reference's frequencies."""
    plan = plan_of(crystal, Path(folder))
    files = [np.load(Path(folder) / f"{crystal}-{name}.npz") for name in (pools.TEACHER, model)]
    reference = fit_force_constants(plan, files[0]["displaced"])
    reference.run_mesh(MESH)
    mesh = reference.get_mesh_dict()
    phonon = fit_force_constants(plan, files[1]["displaced"])
    return {
        "plan": plan,
        "moves": files[0]["moves"],
        "labels": files[0]["frames"],
        "forces": files[1]["frames"],
        "phonon": phonon,
        "model": np.array(phonon.force_constants),
        "q": mesh["qpoints"],
        "weights": mesh["weights"] / mesh["weights"].sum(),
        "wanted": np.sort(mesh["frequencies"], axis=1),
    }


def fit(run: Run) -> Result:
    """Fit ΔΦ once and compare."""
    torch.set_num_threads(1)
    have = known(run.crystal, run.model, run.folder)
    plan, phonon, q = have["plan"], have["phonon"], have["q"]
    chosen = (AMPLITUDES.index(run.amplitude), SEEDS.index(run.seed), slice(run.frames))
    moves = have["moves"][chosen]
    supercell = to_structure(plan.phonon.supercell)
    structures = tuple(displaced(supercell, u) for u in moves)
    matched = MatchedFrames(moves, have["labels"][chosen], structures, 0)
    settings = ResidualSettings()
    found = fit_residual(phonon, matched, have["forces"][chosen], settings)

    def frequencies(constants: FloatArray) -> FloatArray:
        phonon.force_constants = constants
        return np.sort(phonon.run_qpoints(q).frequencies, axis=1)

    def error(constants: FloatArray) -> float:
        apart = np.abs(frequencies(constants) - have["wanted"]).mean(axis=1)
        return float(apart @ have["weights"])

    correction = found.force_constants(phonon, found.ridge.coefficients)
    nu = frequencies(have["model"] + correction)
    deviations = frequency_deviations(phonon, have["model"], found, q, nu, settings)
    residual = error(have["model"] + correction)
    return asdict(run) | {
        "key": run.key,
        "zone_mae": residual,
        "model_mae": error(have["model"]),
        "symfc_mae": error(found.plain),
        "stated": float(deviations @ have["weights"]),
        "n_parameters": found.basis.n_parameters,
        "kept": found.ridge.kept,
        "advice": found.advice,
        "before": found.ridge.error_before,
        "after": found.ridge.error_after,
        "effective": found.ridge.effective_parameters,
    }


def is_good(result: Result) -> bool:
    """Return whether the error is at most 1.05 times the smaller of model alone and plain fit."""
    return bool(result["zone_mae"] <= 1.05 * min(result["model_mae"], result["symfc_mae"]))


def is_covered(result: Result) -> bool:
    """Return whether the error is within twice the stated deviation."""
    return bool(result["zone_mae"] <= 2.0 * result["stated"])


def better(result: Result) -> float:
    """Return the smaller of the errors of model alone and plain fit, THz."""
    return float(min(result["model_mae"], result["symfc_mae"]))


def row(name: str, results: Sequence[Result], before: Mapping[str, float]) -> list[str]:
    """Return one line of a table: medians in THz, shares in percent."""
    middles = [
        f"{np.median([r[key] for r in results]):.4f}"
        for key in ("model_mae", "symfc_mae", "zone_mae", "stated")
    ]
    good, covered = (100 * np.mean([f(r) for r in results]) for f in (is_good, is_covered))
    worse = 100 * np.mean([r["zone_mae"] > r["model_mae"] + r["stated"] for r in results])
    ratio = np.median([r["stated"] / max(r["zone_mae"], 1e-9) for r in results])
    shares = [f"{good:.0f}", f"{worse:.0f}", f"{covered:.0f}", f"{ratio:.1f}"]
    own = [r for r in results if r["key"] in before]
    if before:
        errors = [before[r["key"]] for r in own]
        kept = [e <= 1.05 * better(r) for e, r in zip(errors, own, strict=True)]
        shares += [f"{np.median(errors):.4f}", f"{100 * np.mean(kept):.0f}"] if own else ["", ""]
    return [name, str(len(results)), *middles, *shares]


def tables(results: Sequence[Result], before: Mapping[str, float]) -> str:
    """Return the results by model, amplitude, frames and crystal, and all together."""
    header = ["", "cases", "model", "plain symfc", "model + ΔΦ", "stated deviation"]
    header += ["≤ 1.05 × the better (%)", "worse than the model by more than stated (%)"]
    header += ["within twice stated (%)", "stated / error"]
    header += ["before", "before: ≤ 1.05 × the better (%)"] if before else []
    rows = [row("all", results, before)]
    for key in ("model", "amplitude", "frames", "crystal"):
        for value in dict.fromkeys(r[key] for r in results):
            own = [r for r in results if r[key] == value]
            rows.append(row(f"{key} {value}", own, before))
    return markdown(header, rows)


def draw(results: Sequence[Result], before: Mapping[str, float], path: Path) -> None:
    """Write the figure: error over the better of model and plain fit; bars: half of the cases."""
    from phonotune.report.style import (
        MUTED,
        TUNED,
        WIDE,
        dress,
        legend_above,
        new_figure,
        save_svg,
    )

    models = list(dict.fromkeys(r["model"] for r in results))
    counts = sorted({r["frames"] for r in results})
    figure = new_figure(WIDE, 4.0)
    axes = figure.subplots(1, len(models), squeeze=False, sharey=True).ravel()
    for axis, model in zip(axes, models, strict=True):
        dress(axis, "amplitude (Å)", f"{model}: error / better of model and plain fit")
        axis.set_xscale("log")
        axis.set_yscale("log")
        for number, (n, color) in enumerate(zip(counts, TUNED, strict=False)):
            own = [r for r in results if r["model"] == model and r["frames"] == n]
            amplitudes = sorted({r["amplitude"] for r in own})
            now = [
                [r["zone_mae"] / better(r) for r in own if r["amplitude"] == a] for a in amplitudes
            ]
            low, middle, high = np.array([np.percentile(ratios, (25, 50, 75)) for ratios in now]).T
            apart = np.array(amplitudes) * 1.04 ** (number - (len(counts) - 1) / 2)
            bars = {"yerr": [middle - low, high - middle], "marker": "o", "markersize": 4}
            axis.errorbar(
                apart, middle, **bars, color=color, label=f"{n} frames" if n > 1 else "1 frame"
            )
            old = [
                [
                    before[r["key"]] / better(r)
                    for r in own
                    if r["amplitude"] == a and r["key"] in before
                ]
                for a in amplitudes
            ]
            if all(old):
                dashed = {"linestyle": (0, (2, 2)), "linewidth": 0.8}
                axis.plot(apart, [np.median(ratios) for ratios in old], color=color, **dashed)
        axis.axhline(1.0, color=MUTED, linewidth=0.8)
        axis.set_xticks(AMPLITUDES, [f"{a:g}" for a in AMPLITUDES])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter("{x:g}")
    legend_above(figure, axes[0], columns=len(counts))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_svg(figure, path)


def main() -> None:
    given = arguments()
    folder = str(given.out.parent / "residual_study-frames")
    runs = [
        Run(crystal, model, amplitude, frames, seed, folder)
        for crystal in given.crystals
        for model in given.models
        for amplitude in given.amplitudes
        for frames in given.frames
        for seed in given.seeds
    ]
    results = run_all(fit, runs, given.out, 1, prepare, lambda run: (run.crystal, run.model))
    before = {r["key"]: r["zone_mae"] for r in read_results(given.before)} if given.before else {}
    print(tables(results, before))
    if given.figure:
        draw(results, before, given.figure)


if __name__ == "__main__":
    main()
