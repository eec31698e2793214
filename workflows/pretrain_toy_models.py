"""Rebuild the toy pair, `mini` and `teacher`: label, train, export, evaluate.

    python workflows/pretrain_toy_models.py all              # everything, about 2 hours on 2 cores
    python workflows/pretrain_toy_models.py label            # CHGNet labels, about 10 minutes
    python workflows/pretrain_toy_models.py train --seconds 6000
    python workflows/pretrain_toy_models.py export           # into src/phonotune/models/weights
    python workflows/pretrain_toy_models.py evaluate         # the tables of docs/toy_models.md

Every step can be killed at any time and started again; it continues from what is in the work
directory. Needs phonotune and `pip install chgnet`. `label` and `train` run both models side by side,
one thread each; `--model` restricts any step to one of them. The models are for demos and tests,
"not for science": docs/toy_models.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

MODELS = ("mini", "teacher")
STEPS = ("label", "train", "export", "evaluate")
WORK = Path.home() / ".cache" / "phonotune" / "toy"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=(*STEPS, "all"))
    parser.add_argument("--model", choices=MODELS, help="only this one (default: both)")
    parser.add_argument("--work", type=Path, default=WORK, help="labels and training states")
    parser.add_argument(
        "--seconds",
        type=float,
        default=6000.0,
        help="training budget of a model, all runs together",
    )
    return parser.parse_args(arguments)


def run_one(step: str, model: str, arguments: argparse.Namespace) -> None:
    """One step of one model, in this process."""
    if step == "label":
        from toy_labels import label_all

        label_all(model, arguments.work)
    elif step == "train":
        from toy_training import train

        train(model, arguments.work, arguments.seconds)
    elif step == "export":
        from toy_training import export

        export(model, arguments.work)


def run_side_by_side(step: str, arguments: argparse.Namespace) -> None:
    """One single-threaded process a model; fails if one of them does."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, __file__, step, "--work", str(arguments.work)]
    command += ["--seconds", str(arguments.seconds), "--model"]
    processes = [subprocess.Popen([*command, model], env=one_thread) for model in MODELS]
    failed = [m for m, p in zip(MODELS, processes, strict=True) if p.wait() != 0]
    if failed:
        raise SystemExit(f"{step} failed for {', '.join(failed)}; run it again to continue.")


def main() -> None:
    """Run the chosen step, or all of them in order."""
    arguments = parse_arguments()
    for step in STEPS if arguments.step == "all" else (arguments.step,):
        if step == "evaluate":
            from toy_evaluation import evaluate

            evaluate(arguments.work)
        elif arguments.model:
            run_one(step, arguments.model, arguments)
        else:
            run_side_by_side(step, arguments)


if __name__ == "__main__":
    main()
