"""Trainings with their phonons, one a JSON line; what is done already is not done again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from phonotune.errors import PhonotuneError
from phonotune.training.config import parse_overrides

Result = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """One training.

    Parameters
    ----------
    n_train, n_valid
        Frames on both sides; which ones is drawn by `seed`, which also seeds the training.
    overrides
        ``KEY=VALUE`` on top of the strategy's defaults.
    """

    case: str
    strategy: str
    n_train: int
    n_valid: int
    seed: int
    overrides: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name of the experiment in the file of results; other defaults are another experiment."""
        resolved = parse_overrides(self.strategy, self.overrides).resolved()
        text = json.dumps([asdict(self), resolved], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_experiment(experiment: Experiment) -> Result:
    """Train, compute phonons, compare with the reference; one thread."""
    import torch
    from common import FOUNDATION, labeller_of, split, zone_mae

    from phonotune.data.assemble import assemble_given
    from phonotune.training.finetune import finetune

    torch.set_num_threads(1)
    case, seed = experiment.case, experiment.seed
    sides = split(case, experiment.n_train, experiment.n_valid, seed)
    dataset = assemble_given(*sides, labeller=labeller_of(case))
    options = parse_overrides(experiment.strategy, [*experiment.overrides, f"seed={seed}"])
    document = finetune(dataset, FOUNDATION, options, "cpu")
    return asdict(experiment) | {
        "key": experiment.key,
        "zone_mae": zone_mae(case, document.model, experiment.strategy),
        "valid_forces": document.metrics.valid_after.forces_mae,
        "valid_forces_before": document.metrics.valid_before.forces_mae,
        "train_forces": document.metrics.train_after.forces_mae,
        "best_epoch": document.best_epoch,
        "epochs": document.epochs,
        "seconds": document.seconds,
        "plan": document.plan.text,
        "config": document.model.config,
    }


def read_results(path: Path) -> list[Result]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run_all(experiments: Iterable[Experiment], path: Path, jobs: int) -> list[Result]:
    """Run what `path` does not hold yet, `jobs` processes at a time; return the results asked for.

    A result is written the moment it is there. Trainings that fail are told and left out, and a
    killed one goes on from its checkpoint beside `path`.
    """
    wanted = {e.key: e for e in experiments}
    done = {result["key"] for result in read_results(path)}
    waiting = [e for key, e in wanted.items() if key not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PHONOTUNE_CHECKPOINT_DIR"] = str(path.parent / f"{path.stem}-checkpoints")
    print(f"{len(wanted) - len(waiting)} of {len(wanted)} done already", flush=True)
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool, path.open("a") as stream:
        running = {pool.submit(run_experiment, e): e for e in waiting}
        for future in as_completed(running):
            _record(running[future], future, stream)
    return [r for r in read_results(path) if r["key"] in wanted]


def _record(experiment: Experiment, future: Any, stream: Any) -> None:
    name = " ".join(map(str, asdict(experiment).values()))
    try:
        result = future.result()
    except PhonotuneError as error:
        print(f"{name}: failed: {error}", flush=True)
        return
    stream.write(json.dumps(result) + "\n")
    stream.flush()
    zone, forces, seconds = (result[k] for k in ("zone_mae", "valid_forces", "seconds"))
    print(f"{name}: {zone:.4f} THz, {forces:.3f} meV/Å, {seconds:.0f} s", flush=True)


def values(results: Sequence[Result], key: str, **where: object) -> list[float]:
    """Return one number of all results that agree with `where`."""
    chosen = [r for r in results if all(r[name] == value for name, value in where.items())]
    return sorted(float(result[key]) for result in chosen)
