"""Errors of the phonons by number of labels, for every way to choose the frames: six toys and CaF2.

    python benchmarks/label_efficiency.py [--crystals NAME ...] [--methods NAME ...] [--frames 2 4 8 12 16]
        [--seeds 0 1 2] [--small] [--done] [--set KEY=VALUE ...] [--jobs 2] [--out runs/label_efficiency.jsonl]
        [--figure FILE.svg]

The pool is what the pipeline makes: relaxations of five rattled cells with ``mini``, of which the one of
unchanged volume validates (4 frames). A method chooses N of the other frames, ``teacher`` labels them
(GFN1-xTB those of CaF2, which wants --jobs 1), ``mini`` is tuned (lora) and its frequencies are compared
with finite displacements of the labeller. The seed
draws rattles, random frames and the training's random numbers. With --small the two small rattles are
among the N, and model + ΔΦ is told, too. Every finished training is a line of OUT, and a second call goes on
from there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from common import ROOT, markdown, middle
from resumable import Result, read_results, run_all, values

from phonotune.training.config import parse_overrides

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS = ("random", "energy", "fps", "doptimal")
TOYS = ("BaTiO3", "KNbO3", "NaCl", "MgO", "Si", "K3Sb")
CRYSTALS = (*TOYS, "CaF2")
BASELINE, TARGET, WANTED = "random", 16, 8
"""The error of TARGET frames by BASELINE should be reached with WANTED."""


@dataclass(frozen=True)
class Run:
    """One training on chosen frames."""

    crystal: str
    method: str
    frames: int
    seed: int
    small: bool
    overrides: tuple[str, ...]
    folder: str

    @property
    def key(self) -> str:
        """Name of the run in the file of results; other defaults of the training are another run."""
        options = parse_overrides("lora", self.overrides).resolved()
        content = {k: v for k, v in asdict(self).items() if k != "folder"} | {"config": options}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The run in words."""
        return f"{self.crystal} {self.method} {self.frames} frames seed {self.seed}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crystals", nargs="+", default=list(TOYS), choices=CRYSTALS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--frames", type=int, nargs="+", default=[2, 4, 8, 12, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="two of the frames are small rattles")
    parser.add_argument("--done", action="store_true", help="run nothing, show what is there")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "label_efficiency.jsonl")
    parser.add_argument(
        "--figure", type=Path, default=ROOT / "docs" / "_static" / "label_efficiency.svg"
    )
    return parser.parse_args()


def runs(given: argparse.Namespace) -> list[Run]:
    folder = str(given.out.parent / f"{given.out.stem}-pools")
    return [
        Run(crystal, method, n, seed, given.small, tuple(given.set), folder)
        for seed in given.seeds
        for crystal in given.crystals
        for n in given.frames
        for method in given.methods
    ]


def prepare(run: Run) -> str:
    """Relax the cells and choose the frames of a run's crystal and seed; kept in files."""
    import pools
    import torch

    torch.set_num_threads(1)
    for method in METHODS:
        pools.chosen_frames(
            run.crystal, method, pools.LARGEST, run.seed, run.small, Path(run.folder)
        )
    return f"{run.crystal} seed {run.seed}: frames chosen"


def train(run: Run) -> Result:
    """Label, tune, compute phonons, compare; one thread."""
    import pools
    import torch

    from phonotune.data.assemble import assemble_given
    from phonotune.training.finetune import finetune

    torch.set_num_threads(1)
    folder = Path(run.folder)
    sides = pools.chosen_frames(run.crystal, run.method, run.frames, run.seed, run.small, folder)
    labelled = [pools.labelled(run.crystal, frames, folder) for frames in sides]
    dataset = assemble_given(*labelled, labeller=pools.labeller(run.crystal))
    options = parse_overrides("lora", [*run.overrides, f"seed={run.seed}"])
    document = finetune(dataset, pools.FOUNDATION, options, "cpu")
    corrected = {}
    if run.small:
        import residual

        corrected = residual.of_crystal(document.model, run.crystal, dataset.train_frames())
    return asdict(run) | {
        "corrected": corrected.get("residual"),
        "key": run.key,
        "zone_mae": pools.zone_mae(run.crystal, document.model, "lora"),
        "untuned": pools.zone_mae(run.crystal, pools.FOUNDATION, "untuned"),
        "valid_forces": document.metrics.valid_after.forces_mae,
        "epochs": document.epochs,
        "seconds": document.seconds,
        "groups": sorted(frame.group for frame in sides[0]),
    }


@dataclass(frozen=True)
class Errors:
    """Zone errors of one kind, THz: of the tuned models, or of these with ΔΦ."""

    results: list[Result]
    field: str
    title: str

    def of(self, **where: object) -> list[float]:
        """Return the errors of all results that agree with ``where``, ascending."""
        return values(self.results, self.field, **where)

    def goal(self, crystal: str) -> float | None:
        """Return the median error of the baseline's target."""
        found = self.of(crystal=crystal, method=BASELINE, frames=TARGET)
        return median(found) if found else None

    def needed(self, crystal: str, method: str, frames: Sequence[int]) -> int | None:
        """Return the fewest frames whose median error is not above the goal."""
        goal = self.goal(crystal)
        for n in sorted(frames):
            found = self.of(crystal=crystal, method=method, frames=n)
            if goal is not None and found and median(found) <= goal:
                return n
        return None


def table(errors: Errors, given: argparse.Namespace) -> str:
    """Return crystals and methods by frames, median (range) over the seeds, and the frames needed."""
    rows = []
    for crystal in given.crystals:
        for method in given.methods:
            where = {"crystal": crystal, "method": method}
            cells = [middle(errors.of(frames=n, **where), 4) for n in given.frames]
            enough = errors.needed(crystal, method, given.frames)
            rows.append([crystal, f"`{method}`", *cells, f"{enough or '-'}"])
    header = [f"{errors.title} (THz)", "method", *(f"{n} frames" for n in given.frames), "needed"]
    return markdown(header, rows)


def verdict(errors: Errors, given: argparse.Namespace) -> str:
    """Return the median over the crystals of the frames needed; not reached counts as infinite."""
    lines = []
    for method in given.methods:
        found = [errors.needed(crystal, method, given.frames) for crystal in given.crystals]
        typical = median(n or float("inf") for n in found)
        lines.append(
            f"{method}: {typical:g} frames in the median reach the error of {TARGET} {BASELINE} "
            f"ones (at most {WANTED} wanted)"
        )
    return "\n".join(lines)


def draw(errors: Errors, given: argparse.Namespace) -> None:
    """Write the figure: one panel a crystal, one line a method, bars from lowest to highest."""
    from phonotune.report.style import (
        WIDE,
        legend_above,
        new_figure,
        save_svg,
    )

    columns = min(4, len(given.crystals))
    lines = -(-len(given.crystals) // columns)
    figure = new_figure(WIDE, 0.6 + 2.6 * lines)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for crystal, axis in zip(given.crystals, axes, strict=False):
        draw_crystal(axis, crystal, errors, given)
    for axis in axes[len(given.crystals) :]:
        axis.remove()
    legend_above(figure, axes[0], columns=len(given.methods))
    given.figure.parent.mkdir(parents=True, exist_ok=True)
    save_svg(figure, given.figure)


def draw_crystal(axis: Axes, crystal: str, errors: Errors, given: argparse.Namespace) -> None:
    """Draw the curves of one crystal; the dashed line is the error to reach."""
    from phonotune.report.style import MUTED, dress, looks
    from phonotune.schemas.base import Source

    dress(axis, "labelled frames", f"{crystal}: zone MAE (THz)")
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("{x:g}")
    axis.set_xticks(given.frames)
    styles = looks([Source(role=method, evaluator="mini") for method in given.methods])
    for method, look in zip(given.methods, styles, strict=True):
        found = {n: errors.of(crystal=crystal, method=method, frames=n) for n in given.frames}
        points = {n: values for n, values in found.items() if values}
        middles = [median(values) for values in points.values()]
        spread = [
            [m - v[0] for m, v in zip(middles, points.values(), strict=True)],
            [v[-1] - m for m, v in zip(middles, points.values(), strict=True)],
        ]
        bars = {"marker": look.marker, "markersize": 4, "elinewidth": 0.7}
        axis.errorbar(list(points), middles, yerr=spread, label=method, **bars, **look.line)
    goal = errors.goal(crystal)
    if goal is not None:
        axis.axhline(goal, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))


def main() -> None:
    given = arguments()
    trials = runs(given)
    if given.done:
        wanted = {run.key for run in trials}
        results = [r for r in read_results(given.out) if r["key"] in wanted]
    else:
        results = run_all(
            train, trials, given.out, given.jobs, prepare, lambda run: (run.crystal, run.seed)
        )
    if not results:
        raise SystemExit("No training finished; nothing to show.")
    errors = Errors(results, "zone_mae", "model")
    print("\n" + table(errors, given) + "\n\n" + verdict(errors, given))
    if given.small:
        errors = Errors(results, "corrected", "model + ΔΦ")
        print("\n" + table(errors, given) + "\n\n" + verdict(errors, given))
    draw(errors, given)
    print(given.figure)


if __name__ == "__main__":
    main()
