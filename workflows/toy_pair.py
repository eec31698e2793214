"""Make a toy pair from real surfaces: `teacher` distilled from SevenNet-l3i5, `mini` from SevenNet-0.

    python workflows/toy_pair.py structures              # about 630 crystals, a minute
    SEVENNET/bin/python workflows/toy_pair.py labels     # relax and label: about 6 hours of one core
    python workflows/toy_pair.py status                  # how far it is
    python workflows/toy_pair.py train --model teacher   # 4 hours of one core; --model mini beside it
    python workflows/toy_pair.py export                  # into WORK/export
    python workflows/toy_pair.py evaluate --sevennet SEVENNET/bin/python --vasp NACL

SEVENNET is an environment with ``pip install sevenn==0.13.0`` (mace-torch needs another e3nn and cannot be in
it). Every step can be killed at any time and continues when it is started again; several processes may label
at once, each on one thread. The models are for demos and tests, not for science: docs/toy_models.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

MODELS = ("mini", "teacher")
STEPS = ("structures", "labels", "status", "train", "export", "evaluate", "answer")
WORK = Path.home() / ".cache" / "phonotune" / "toy-pair"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--work", type=Path, default=WORK, help="labels, runs and exported models")
    parser.add_argument("--model", choices=MODELS, help="only this one (default: both)")
    parser.add_argument("--hours", type=float, default=4.0, help="processor hours of one training")
    parser.add_argument("--sevennet", type=Path, help="the Python with sevenn, for `evaluate`")
    parser.add_argument(
        "--vasp", type=Path, help="folder with VASP's phonons of NaCl, for `evaluate`"
    )
    for name in ("--asked", "--answers", "--surface"):
        parser.add_argument(name, help="of the step `answer`, which `evaluate` starts")
    given = parser.parse_args(arguments)
    if given.step == "evaluate" and given.sevennet is None:
        parser.error("evaluate needs --sevennet: the Python of an environment with sevenn")
    return given


def show_status(work: Path) -> None:
    """Print how many crystals are labelled and how far each training is."""
    import csv

    path = work / "structures.json"
    total = len(json.loads(path.read_text("utf-8"))) if path.exists() else 0
    count = {end: len(list((work / "labels").glob(f"*.{end}"))) for end in ("npz", "rejected")}
    print(f"labels: {count['npz']} of {total} crystals, {count['rejected']} left out")
    for model in MODELS:
        history = work / "runs" / model / "history.csv"
        if history.exists():
            *_, last = csv.DictReader(history.open(encoding="utf-8"))
            print(f"{model}: {last}")


def main() -> None:
    """Run one step; each imports only what its environment has."""
    given = parse_arguments()
    models = [given.model] if given.model else list(MODELS)
    if given.step == "structures":
        from pair_structures import write_structures

        write_structures(given.work)
    elif given.step == "labels":
        from pair_labels import label_all

        label_all(given.work)
    elif given.step == "answer":
        from pair_labels import answer_file

        answer_file(Path(given.asked), Path(given.answers), given.surface)
    elif given.step == "status":
        show_status(given.work)
    elif given.step == "train":
        from pair_training import train

        for model in models:
            train(model, given.work, given.hours)
    elif given.step == "export":
        from pair_training import export

        for model in models:
            export(model, given.work, given.work / "export")
    else:
        from pair_evaluation import evaluate

        evaluate(models, given.work, given.sevennet, given.vasp)


if __name__ == "__main__":
    main()
