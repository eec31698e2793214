"""Residual force constants: zone errors of model, model + ΔΦ and the plain symfc fit of the same frames.

    python benchmarks/residual.py [--cases nacl untuned mirrored tuned] [--crystals NAME ...]
        [--seeds 0 1 2] [--frames 1 2 4 10] [--out runs/residual.jsonl]

``nacl``: real VASP frames of 64 atoms against VASP's finite displacements, the first N of ten, ``mini``
untuned. ``untuned``: one and two small rattles (0.025 Å) labelled by ``teacher``, ``mini`` untuned.
``mirrored``: two that mirror each other. ``tuned``: ``mini`` tuned (lora, defaults) on 16 frames that the
pipeline chooses by energy, two mirrored small rattles among them, four frames validating. Every result is a
line of OUT, and a second call goes on from there. One thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pools
import torch
from common import ROOT, SUPERCELL, frames_of, markdown, middle, unit_cell
from common import reference_phonons as vasp_phonons
from pymatgen.core import Structure
from resumable import Result, run_all

from phonotune.data.assemble import assemble_given
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.phonon.displacements import plan_displacements
from phonotune.physics.phonon.residual import CORRECTED, SYMFC, analyse_residual, plan_residual
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import make_supercell
from phonotune.sampling.rattle import small_rattles
from phonotune.sampling.settings import RattleSettings
from phonotune.schemas.dataset import Frame
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.training import ModelRecord
from phonotune.training.config import parse_overrides
from phonotune.training.finetune import finetune

CRYSTALS: Final = ("BaTiO3", "KNbO3", "NaCl", "MgO", "Si", "K3Sb")
LENGTHS: Final = (0.025, 0.025)
"""Small rattles, Å."""


@dataclass(frozen=True)
class Run:
    """One fit."""

    case: str
    crystal: str
    frames: int
    seed: int
    folder: str

    @property
    def name(self) -> str:
        """The run in words."""
        return f"{self.case} {self.crystal} {self.frames} frames seed {self.seed}"

    @property
    def key(self) -> str:
        """Name of its result in the file."""
        return self.name


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cases", nargs="+", default=["nacl", "untuned", "mirrored"], choices=tuple(CASES)
    )
    parser.add_argument("--crystals", nargs="+", default=list(CRYSTALS), choices=CRYSTALS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 2, 4, 10], help="of NaCl")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "residual.jsonl")
    return parser.parse_args()


def runs(given: argparse.Namespace) -> list[Run]:
    folder = str(given.out.parent / f"{given.out.stem}-pools")
    found = [Run("nacl", "NaCl", n, 0, folder) for n in given.frames if "nacl" in given.cases]
    for case, frames in (("untuned", (1, 2)), ("mirrored", (2,)), ("tuned", (2,))):
        if case in given.cases:
            found += [
                Run(case, crystal, n, seed, folder)
                for crystal in given.crystals
                for seed in given.seeds
                for n in frames
            ]
    return found


def nacl(run: Run) -> Result:
    frames = list(frames_of("nacl"))[: run.frames]
    settings = PhononSettings(supercell_matrix=SUPERCELL)
    return errors(pools.FOUNDATION, unit_cell("nacl"), settings, frames, vasp_phonons("nacl"))


def untuned(run: Run) -> Result:
    mirrored = run.case == "mirrored"
    frames = rattles(run.crystal, run.seed, Path(run.folder), mirrored)[: run.frames]
    return of_crystal(pools.FOUNDATION, run.crystal, frames)


def tuned(run: Run) -> Result:
    sides = pools.chosen_frames(
        run.crystal, "energy", pools.LARGEST, run.seed, True, Path(run.folder)
    )
    train, valid = (pools.labelled(run.crystal, frames, Path(run.folder)) for frames in sides)
    options = parse_overrides("lora", [f"seed={run.seed}"])
    dataset = assemble_given(train, valid, labeller=pools.labeller(run.crystal))
    document = finetune(dataset, pools.FOUNDATION, options, "cpu")
    return of_crystal(document.model, run.crystal, train) | {"seconds": document.seconds}


CASES: Final[dict[str, Callable[[Run], Result]]] = {
    "nacl": nacl,
    "untuned": untuned,
    "mirrored": untuned,
    "tuned": tuned,
}


def fit(run: Run) -> Result:
    """Run one case; one thread."""
    torch.set_num_threads(1)
    found = CASES[run.case](run)
    seconds = found.pop("seconds", None)
    return asdict(run) | {"key": run.key, "zone_mae": found["residual"], "seconds": seconds} | found


def rattles(crystal: str, seed: int, folder: Path, mirrored: bool) -> list[Frame]:
    cell = pools.crystal(crystal)
    plan = plan_displacements(cell, pools.phonon_settings(crystal))
    candidates = small_rattles(
        make_supercell(cell, plan.matrix),
        RattleSettings(small=LENGTHS),
        np.random.default_rng(seed),
        mirrored,
    )
    frames = [Frame(c.structure, group=c.group) for c in candidates]
    return pools.labelled(crystal, frames, folder)


def of_crystal(model: ModelRecord | str, crystal: str, frames: Sequence[Frame]) -> Result:
    reference = pools.reference_phonons(crystal)
    return errors(model, pools.crystal(crystal), pools.phonon_settings(crystal), frames, reference)


def errors(
    model: ModelRecord | str,
    crystal: Structure,
    settings: PhononSettings,
    frames: Sequence[Frame],
    reference: PhononDocument,
) -> Result:
    """Return the zone errors of the three, THz, and what the fit says of itself."""
    plan = plan_residual(plan_displacements(crystal, settings), list(frames), required=True)
    evaluator = load_evaluator(model, "cpu")
    source = evaluator.source.model_copy(update={"role": "tuned"})
    document = analyse_residual(plan, evaluator(plan.structures), source)
    assert document.residual is not None
    sides = (PropertySet.of([d]) for d in (reference, document))
    rows = compare(next(sides), list(sides)).rows
    names = {"tuned": "model", "tuned" + CORRECTED: "residual", SYMFC: "symfc"}
    found = {names[row.source.role]: row.deviations.frequency_mae for row in rows}
    return found | {"fit": document.residual.model_dump(mode="json")}


def table(results: Sequence[Result]) -> str:
    """Return cases and crystals by method, median (range) over the seeds, THz."""
    rows = []
    for key in dict.fromkeys((r["case"], r["crystal"], r["frames"]) for r in results):
        own = [r for r in results if (r["case"], r["crystal"], r["frames"]) == key]
        values = [middle([r[name] for r in own], 4) for name in ("model", "symfc", "residual")]
        stated = middle([r["fit"]["frequency_uncertainty"] for r in own], 4)
        rows.append([key[0], key[1], str(key[2]), *values, stated])
    header = ["case", "crystal", "frames", "model", "plain symfc", "model + ΔΦ", "stated deviation"]
    return markdown([*header[:3], *(f"{name} (THz)" for name in header[3:])], rows)


def main() -> None:
    given = arguments()
    print(table(run_all(fit, runs(given), given.out, given.jobs)))


if __name__ == "__main__":
    main()
