"""Real VASP phonons against real potentials, and `mini` tuned on real VASP frames: docs/validation.md.

    make potentials
    python benchmarks/validation.py untuned [--models mini 7net-0 7net-l3i5] [--out runs/validation]
    python benchmarks/validation.py tuned [--seeds 0 1 2] [--jobs 2]

`untuned`: NaCl, MgO, SrTiO3 and CaTiO3 of phonopy's examples, with Born charges on both sides where the
files hold them; for NaCl also with residual force constants (ΔΦ) of its first 1, 2 and 4 frames of 0.03 Å.
`tuned`: every strategy by its default and by its recipes on 8 + 2 frames of NaCl, drawn by the seed. What is
done already is not done again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common import CASES, NACL, ROOT, markdown, middle
from experiments import Experiment, run_experiment
from resumable import Result, run_all, values

from phonotune.data.importers import import_frames
from phonotune.jobs.phonon import PhononMaker
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.phonon.calculation import read_calculation
from phonotune.physics.phonon.cells import resolve_primitive
from phonotune.physics.phonon.files import document_of_calculation
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.training.strategies import STRATEGIES

REFERENCES: Final = {
    "NaCl": NACL / "phonopy_params_NaCl-fd.yaml.xz",
    "MgO": NACL.parent / "mgo-vasp",
    "SrTiO3": NACL.parent / "srtio3-vasp" / "phonopy_SrTiO3.yaml.xz",
    "CaTiO3": NACL.parent / "catio3-vasp",
}
FRAMES: Final = {"NaCl": (0, 1, 2, 4)}
"""Frames of ΔΦ, 0 for the model alone; the other crystals have none of all atoms displaced."""


@dataclass(frozen=True)
class Untuned:
    """Phonons of one crystal by one model, with residual force constants of a number of frames."""

    crystal: str
    model: str
    frames: int

    @property
    def key(self) -> str:
        """Crystal, content of the model, frames."""
        return f"{self.crystal} {load_evaluator(self.model, 'cpu').identity} {self.frames}"

    @property
    def name(self) -> str:
        """The three in words."""
        return f"{self.crystal} {self.model} + ΔΦ of {self.frames}"


def compute_untuned(trial: Untuned) -> Result:
    """Compute phonons in the reference's own cell and supercell, and compare."""
    found, evaluator = (
        read_calculation(REFERENCES[trial.crystal]),
        load_evaluator(trial.model, "cpu"),
    )
    settings = PhononSettings(supercell_matrix=found.matrix)
    primitive = resolve_primitive(found.structure, settings.primitive_matrix, settings.symprec)
    maker = PhononMaker(settings=settings, born=found.born(primitive, settings.symprec))
    files = sorted(NACL.glob("disp-0*/vasprun.xml"))[: trial.frames]
    frames = {"frames": import_frames(files)} if files else {}
    phonons = maker.compute(found.structure, evaluator, **frames)
    against = document_of_calculation(
        found,
        PhononSettings.model_validate(phonons.settings),
        Source(role="reference", evaluator="vasp"),
    )
    rows = compare(PropertySet.of([against]), [PropertySet.of([phonons])]).rows
    row = rows[1] if trial.frames else rows[0]  # the model alone, + ΔΦ, plain symfc
    return {
        "key": trial.key,
        "crystal": trial.crystal,
        "model": trial.model,
        "frames": trial.frames,
        "potential": evaluator.source.evaluator,
        "nac": phonons.has_nac,
        "zone_mae": row.deviations.frequency_mae,
        "bias": row.deviations.highest_frequency_bias,
        "lowest": row.properties.lowest_frequency,
        "lowest_reference": against.lowest_frequency,
        "imaginary": [not against.is_stable, not phonons.is_stable],
        "symfc": rows[2].deviations.frequency_mae if trial.frames else None,
        "stated": phonons.residual.frequency_uncertainty if phonons.residual else None,
    }


def untuned_table(results: list[Result]) -> str:
    """Return one row per crystal, model and number of frames."""
    rows = []
    for r in results:
        verdict = "agrees" if r["imaginary"][0] == r["imaginary"][1] else "**differs**"
        fit = ["" if r[key] is None else f"{r[key]:.4f}" for key in ("stated", "symfc")]
        lowest = f"{r['lowest']:.2f} ({r['lowest_reference']:.2f})"
        numbers = (f"{r['zone_mae']:.4f}", *fit, f"{r['bias']:+.1f}", lowest, verdict)
        model = f"{r['model']} + ΔΦ, {r['frames']} frames" if r["frames"] else r["model"]
        rows.append([r["crystal"], "yes" if r["nac"] else "no", model, *numbers])
    header = (
        "crystal",
        "NAC",
        "model",
        "zone MAE (THz)",
        "stated",
        "plain symfc",
        "ω_max bias (%)",
    )
    return markdown((*header, "lowest (VASP), THz", "imaginary?"), rows)


def trainings(seeds: list[int]) -> list[Experiment]:
    """Return every strategy by its default and by each of its recipes."""
    return [
        Experiment("nacl", name, *CASES["nacl"], seed, (f"recipe={recipe}",) if recipe else ())
        for seed in seeds
        for name, strategy in STRATEGIES.items()
        for recipe in ("", *strategy.options.RECIPES)
    ]


def tuned_table(results: list[Result]) -> str:
    """Return one row per strategy and recipe, the one with the lowest validation loss first."""
    rows = []
    for name, recipe in dict.fromkeys((r["strategy"], tuple(r["overrides"])) for r in results):
        own = [r for r in results if (r["strategy"], tuple(r["overrides"])) == (name, recipe)]
        columns = [values(own, key) for key in ("valid_forces", "zone_mae", "epochs", "seconds")]
        words = recipe[0].removeprefix("recipe=") if recipe else "default"
        texts = [middle(column, n) for column, n in zip(columns, (2, 4, 0, 0), strict=True)]
        rows.append((columns[0][len(columns[0]) // 2], [f"`{name}`", words, *texts]))
    header = ("strategy", "recipe", "validation force MAE (meV/Å)", "zone MAE (THz)")
    return markdown((*header, "epochs", "seconds"), [row for _, row in sorted(rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["untuned", "tuned"])
    parser.add_argument("--models", nargs="+", default=["mini", "7net-0", "7net-l3i5"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "validation")
    given = parser.parse_args()
    file = given.out / f"{given.part}.jsonl"
    if given.part == "tuned":
        print(tuned_table(run_all(run_experiment, trainings(given.seeds), file, given.jobs)))
        return
    trials = [
        Untuned(crystal, model, frames)
        for crystal in REFERENCES
        for model in given.models
        for frames in FRAMES.get(crystal, (0,))
    ]
    results = {r["key"]: r for r in run_all(compute_untuned, trials, file, 1)}
    print(untuned_table([results[trial.key] for trial in trials]))


if __name__ == "__main__":
    main()
