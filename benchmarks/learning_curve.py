"""Errors of the phonons by number of labelled frames, for every strategy: NaCl by VASP.

    python benchmarks/learning_curve.py [--frames 2 4 8 10] [--seeds 0 1 2] [--strategies NAME ...]
        [--set KEY=VALUE ...] [--jobs 2] [--out runs/learning_curve.jsonl] [--figure FILE.svg]

The seed draws the frames, their split and the training's random numbers. Every finished training is a
line of OUT, and a second call goes on from there. The table holds the median and, in brackets, the range.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from common import FOUNDATION, ROOT, markdown, middle, zone_mae
from experiments import Experiment, run_experiment
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from resumable import Result, run_all, values

from phonotune.report.style import (
    MUTED,
    TEXT,
    WIDE,
    Look,
    dress,
    legend_above,
    looks,
    new_figure,
    save_svg,
)
from phonotune.schemas.base import Source
from phonotune.training.strategies import STRATEGIES

SPLITS = {2: (1, 1), 4: (3, 1), 8: (6, 2), 10: (8, 2)}
"""Labelled frames: those that train, those that validate."""
QUANTITIES = {
    "zone_mae": ("zone MAE (THz)", 4),
    "valid_forces": ("validation force MAE (meV/Å)", 2),
}
FIGURE = ROOT / "docs" / "_static" / "learning_curve.svg"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=list(SPLITS), choices=SPLITS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strategies", nargs="+", default=None, help="default: all of them")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "learning_curve.jsonl")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    given = parser.parse_args()
    given.strategies = given.strategies or list(STRATEGIES)
    return given


def experiments(given: argparse.Namespace) -> list[Experiment]:
    return [
        Experiment("nacl", strategy, *SPLITS[total], seed, tuple(given.set))
        for seed in given.seeds
        for total in given.frames
        for strategy in given.strategies
    ]


def table(results: list[Result], given: argparse.Namespace, quantity: str) -> str:
    """Return strategies by frames, median (range) over the seeds."""
    title, digits = QUANTITIES[quantity]
    rows = []
    for strategy in given.strategies:
        cells = [
            middle(values(results, quantity, strategy=strategy, n_train=SPLITS[total][0]), digits)
            for total in given.frames
        ]
        rows.append([f"`{strategy}`", *cells])
    header = [title, *(f"{total} ({'+'.join(map(str, SPLITS[total]))})" for total in given.frames)]
    return markdown(header, rows)


def draw(results: list[Result], given: argparse.Namespace, untuned: float) -> None:
    """Write the figure: both errors over the number of frames, bars from lowest to highest."""
    figure = new_figure(WIDE, 3.9)
    axes = figure.subplots(1, len(QUANTITIES))
    sources = [Source(role=strategy, evaluator=FOUNDATION) for strategy in given.strategies]
    styles = looks(sources)
    for number, (quantity, axis) in enumerate(zip(QUANTITIES, axes, strict=True)):
        dress(axis, "labelled frames", QUANTITIES[quantity][0])
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xticks(given.frames)
        for index, (strategy, look) in enumerate(zip(given.strategies, styles, strict=True)):
            shift = 0.08 * (index - (len(styles) - 1) / 2)
            found = {
                total: values(results, quantity, strategy=strategy, n_train=SPLITS[total][0])
                for total in given.frames
            }
            _curve(axis, {n: v for n, v in found.items() if v}, look, strategy, shift)
        if number == 0:
            axis.axhline(untuned, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
            axis.text(
                given.frames[-1],
                untuned,
                "untuned",
                fontsize=TEXT,
                color=MUTED,
                ha="right",
                va="bottom",
            )
    legend_above(figure, axes[0], columns=7)
    given.figure.parent.mkdir(parents=True, exist_ok=True)
    save_svg(figure, given.figure)


def _curve(axis: Axes, found: dict[int, list[float]], look: Look, name: str, shift: float) -> None:
    middles = [median(v) for v in found.values()]
    spread = [
        [m - v[0] for m, v in zip(middles, found.values(), strict=True)],
        [v[-1] - m for m, v in zip(middles, found.values(), strict=True)],
    ]
    axis.errorbar(
        [total + shift for total in found],
        middles,
        yerr=spread,
        label=name,
        marker=look.marker,
        markersize=4,
        elinewidth=0.7,
        **look.line,
    )


def main() -> None:
    given = arguments()
    results = run_all(run_experiment, experiments(given), given.out, given.jobs)
    for quantity in QUANTITIES:
        print("\n" + table(results, given, quantity))
    untuned = zone_mae("nacl", FOUNDATION, "untuned")
    print(f"\nuntuned zone MAE {untuned:.4f} THz")
    draw(results, given, untuned)
    print(given.figure)


if __name__ == "__main__":
    main()
