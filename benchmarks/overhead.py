"""What the machinery costs: documents, bytes and seconds of one crystal beside evaluation and training.

    python benchmarks/overhead.py [--epochs 20] [--uri mongodb://HOST:PORT]

Fcc aluminium labelled by EMT, foundation ``mini``, five strategies and every property of the DAG, through
``run_flow`` (jobflow's run_locally) with documents and arrays on a MongoDB server; without ``--uri`` one is
started as in the tests. Everything is imported before the clock starts. Measured are outermost calls, so that
nothing counts twice: evaluation (our evaluator, ASE calculators), training (``finetune`` and all in it), and
jobs as a whole; what is neither evaluation nor training is orchestration.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
from ase.calculators.calculator import Calculator
from jobflow import Job, JobStore
from maggma.stores import GridFSStore, MongoStore
from pymatgen.core import Lattice, Structure

import phonotune.training.finetune as finetuning
from phonotune.flows.local import run_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.models import evaluate
from phonotune.sampling.settings import SelectSettings
from phonotune.store import BLOB_STORE, ensure_indexes

STRATEGIES = ["lora", "equitrain", "delta", "freeze", "multihead"]
DATABASE = "phonotune_overhead"
GOALS = {"documents a model": 12.0, "MB a material": 5.0, "s of orchestration": 15.0}


class Clock:
    """Seconds within functions, by kind; a call within a call of any kind counts for the outer one."""

    def __init__(self) -> None:
        self.wall: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()
        self._inside = False

    def watch(self, owner: Any, name: str, kind: str) -> None:
        """Time every call of an attribute of a class or module from now on."""
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            self._inside = True
            started = time.perf_counter(), time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._inside = False
                self.wall[kind] += time.perf_counter() - started[0]
                self.cpu[kind] += time.process_time() - started[1]

        setattr(owner, name, timed)


class JobClock:
    """Wall and CPU seconds of each job that the kinds of a Clock do not take, by the job's name."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.wall: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()
        run = Job.run

        def timed(job: Job, *args: Any, **kwargs: Any) -> Any:
            before = self._now()
            try:
                return run(job, *args, **kwargs)
            finally:
                wall, cpu = (a - b for a, b in zip(self._now(), before, strict=True))
                name = re.sub(r"\d+/\d+", "", job.name).strip()
                self.wall[name] += wall
                self.cpu[name] += cpu

        Job.run = timed

    def _now(self) -> tuple[float, float]:
        taken = self.clock
        return (
            time.perf_counter() - sum(taken.wall.values()),
            time.process_time() - sum(taken.cpu.values()),
        )


def server_module() -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "servers"))
    return importlib.import_module("mongo")


def crystal(element: str = "Al", edge: float = 4.02) -> Structure:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(edge), [element], [[0, 0, 0]])
    return cell.get_primitive_structure()


def maker(epochs: int) -> PhonotuneMaker:
    return PhonotuneMaker(
        foundation="mini",
        labeller="emt",
        strategies=STRATEGIES,
        options={name: {"max_epochs": epochs} for name in STRATEGIES},
        select=SelectSettings(budget=10, n_valid=2),
    )


def warm_up(folder: Path) -> None:
    """Import and compile what a run needs, with another crystal: not a cost of each material."""
    from phonotune.store import open_store

    small = PhonotuneMaker(
        foundation="mini",
        labeller="emt",
        strategies=["lora"],
        options={"lora": {"max_epochs": 1}},
        select=SelectSettings(budget=2, n_valid=1),
    )
    run_flow(small.make(crystal("Cu", 3.61)), open_store(folder / "store"), root_dir=folder)


def measure(uri: str, epochs: int, folder: Path) -> None:
    docs = MongoStore(DATABASE, "outputs", uri=uri)
    store = JobStore(docs, {BLOB_STORE: GridFSStore(DATABASE, "blobs", uri=uri, compression=True)})
    store.connect()
    database = docs._collection.database
    database.client.drop_database(DATABASE)
    ensure_indexes(store)  # as `phonotune run` does once
    clock = Clock()
    clock.watch(evaluate.ModelEvaluator, "__call__", "evaluation")
    clock.watch(finetuning, "finetune", "training")
    clock.watch(Calculator, "get_property", "evaluation")
    jobs = JobClock(clock)
    started = time.perf_counter(), time.process_time()
    summary = run_flow(maker(epochs).make(crystal()), store, root_dir=folder)
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    if summary.failed:
        raise SystemExit(str(summary.failed))
    report("wall", wall, clock.wall, jobs.wall)
    report("CPU", cpu, clock.cpu, jobs.cpu)
    count(database)
    database.client.drop_database(DATABASE)
    store.close()


def report(what: str, total: float, kinds: Counter[str], jobs: Counter[str]) -> None:
    """Print where the seconds went, wall or CPU, and the jobs that take most beside the kinds."""
    rest = total - sum(kinds.values())
    parts = ", ".join(f"{kind} {s:.1f}" for kind, s in sorted(kinds.items()))
    print(f"{what} {total:.1f} s: {parts}, orchestration {rest:.1f} ", end="")
    print(
        f"(goal {GOALS['s of orchestration']:g}), of which between jobs {rest - sum(jobs.values()):.1f}"
    )
    for name, seconds in jobs.most_common(16):
        print(f"  {name}: {seconds:.2f}")


def count(database: Any) -> None:
    """Print documents and bytes, as BSON, by what they are."""
    rows = list(database["outputs"].find())
    kinds = Counter(kind_of(row) for row in rows)
    sizes: Counter[str] = Counter()
    for row in rows:
        sizes[kind_of(row)] += len(bson.encode(row))
    blobs = sum(
        len(bson.encode(row))
        for name in database.list_collection_names()
        if name.startswith("blobs")
        for row in database[name].find()
    )
    models = len(STRATEGIES) + 1
    total = sum(sizes.values()) + blobs
    print(f"{len(rows)} documents, {len(rows) / models:.1f} a model of {models} ", end="")
    print(f"(goal {GOALS['documents a model']:g}); {total / 1e6:.2f} MB ", end="")
    print(f"(goal {GOALS['MB a material']:g}), of which arrays {blobs / 1e6:.2f}")
    for kind, number in kinds.most_common():
        print(f"  {kind}: {number} documents, {sizes[kind] / 1e3:.0f} kB")


def kind_of(row: dict[str, Any]) -> str:
    output = row.get("output")
    if output is None:
        return "generator, no output"
    if isinstance(output, dict) and "kind" in output:
        return str(output["kind"])
    return "task document of the labeller" if "static" in row["name"] else str(row["name"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--uri")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm_up(folder / "warm")
        if given.uri:
            measure(given.uri, given.epochs, folder / "run")
            return
        servers = server_module()
        program = servers.find_program()
        if program is None:
            raise SystemExit(servers.NONE_HERE)
        server = servers.MongoServer(folder / "db", program)
        server.start()
        try:
            measure(server.uri, given.epochs, folder / "run")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
