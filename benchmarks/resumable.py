"""Trainings in processes of one thread, one JSON line each; what is done already is not done again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

from phonotune.errors import PhonotuneError

Result = dict[str, Any]


class Trial(Protocol):
    """What can be run once: frozen, with a name for people and a key for the file."""

    @property
    def key(self) -> str:
        """Name of its result in the file."""

    @property
    def name(self) -> str:
        """The trial in words."""


T = TypeVar("T", bound=Trial)


def read_results(path: Path) -> list[Result]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run_all(
    action: Callable[[T], Result],
    trials: Iterable[T],
    path: Path,
    jobs: int,
    prepare: Callable[[T], str] | None = None,
    needs: Callable[[T], object] = lambda _: None,
) -> list[Result]:
    """Run what `path` does not hold yet, `jobs` processes at a time; return the results asked for.

    A result is written the moment it is there. Trials that fail are told and left out, and a killed
    training goes on from its checkpoint beside `path`. `prepare` runs first, once for all trials
    that give the same `needs`.
    """
    wanted = {trial.key: trial for trial in trials}
    done = {result["key"] for result in read_results(path)}
    waiting = [trial for key, trial in wanted.items() if key not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PHONOTUNE_CHECKPOINT_DIR"] = str(path.parent / f"{path.stem}-checkpoints")
    print(f"{len(wanted) - len(waiting)} of {len(wanted)} done already", flush=True)
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool, path.open("a") as stream:
        if prepare is not None:
            first = {needs(trial): trial for trial in reversed(waiting)}
            for future in as_completed([pool.submit(prepare, t) for t in first.values()]):
                print(future.result(), flush=True)
        running = {pool.submit(action, trial): trial for trial in waiting}
        for future in as_completed(running):
            _record(running[future], future, stream)
    return [result for result in read_results(path) if result["key"] in wanted]


def _record(trial: Trial, future: Any, stream: Any) -> None:
    try:
        result = future.result()
    except PhonotuneError as error:
        print(f"{trial.name}: failed: {error}", flush=True)
        return
    stream.write(json.dumps(result) + "\n")
    stream.flush()
    print(f"{trial.name}: {result['zone_mae']:.4f} THz", flush=True)


def values(results: Sequence[Result], key: str, **where: object) -> list[float]:
    """Return one number of all results that agree with `where`, ascending."""
    chosen = [r for r in results if all(r[name] == value for name, value in where.items())]
    return sorted(float(result[key]) for result in chosen)
