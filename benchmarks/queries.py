"""Queries and tables over a large store of synthetic results on a MongoDB server.

    python benchmarks/queries.py [--materials 10000] [--uri mongodb://HOST:PORT] [--repeats 3]

Without ``--uri`` a server is started as in the tests (mongod on PATH, else SecantusDB). Fills a database of its
own with small documents (materials x 6 strategies x 4 kinds), times every query of docs/database.md, the
DataFrame of all metrics and the memory of this process, and drops the database.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from jobflow import JobStore
from maggma.stores import GridFSStore, MongoStore
from monty.json import jsanitize
from pymatgen.core import Lattice, Structure

from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import BandLabel, ImaginaryMode, PhononDocument, ThermalPoint
from phonotune.schemas.training import (
    ErrorMetrics,
    FoundationRecord,
    ModelRecord,
    PlanSummary,
    TrainingDocument,
    TrainingMetrics,
)
from phonotune.schemas.wells import WellDocument
from phonotune.store import BLOB_STORE, ResultStore, ensure_indexes

STRATEGIES = ("reference", "untuned", "lora", "equitrain", "delta", "freeze")
KINDS = ("phonon", "elastic", "well", "training")
DATABASE = "phonotune_benchmark"
AT_ONCE = 4000
DAYS = 336
FIRST_DAY = date.today() - timedelta(days=DAYS)


def server_module() -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "servers"))
    return importlib.import_module("mongo")


def material(number: int) -> dict[str, Any]:
    return {"formula": f"A{number}B", "material_id": f"{number:016x}"}


def model_id(number: int, strategy: str) -> str:
    return uuid5(NAMESPACE_URL, f"{number}-{strategy}").hex * 2


def templates() -> dict[str, dict[str, Any]]:
    """Return one valid stored output of each kind; numbers are drawn for every row."""
    found = {}
    for document in (phonon(), elastic(), well(), training()):
        content = document.model_dump()
        name = {"@module": type(document).__module__, "@class": type(document).__name__}
        found[document.kind] = jsanitize(name | with_references(content), strict=True)
    return found


def with_references(content: Any) -> Any:
    """Return a dump with a reference for every Blob, as jobflow stores it."""
    if isinstance(content, Blob):
        return {**content.as_dict(), "blob_uuid": content.sha256, "store": BLOB_STORE}
    if isinstance(content, dict):
        return {key: with_references(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [with_references(value) for value in content]
    return content


COMMON: dict[str, Any] = {
    "formula": "AB",
    "material_id": "0",
    "source": Source(role="lora", evaluator="mini", dtype="float64", device="cpu"),
    "settings": {"strain": 0.01, "mesh_density": 40.0, "displacement": 0.01},
}
BLOB = Blob("", "0" * 36)
DIAGONAL = ((3, 0, 0), (0, 3, 0), (0, 0, 3))


def phonon() -> PhononDocument:
    return PhononDocument(
        **COMMON,
        unitcell=Structure(Lattice.cubic(4.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        supercell_matrix=DIAGONAL,
        primitive_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        mesh=(11, 11, 11),
        has_nac=False,
        n_displacements=3,
        imaginary_threshold=-0.1,
        lowest_frequency=0.0,
        highest_frequency=0.0,
        imaginary_modes=[ImaginaryMode(q=(0.0, 0.5, 0.5), band=0, frequency=-1.0)],
        formula_units=1,
        thermal_300=ThermalPoint(temperature=300.0, helmholtz=0.0, entropy=0.0, heat_capacity=0.0),
        band_labels=[BandLabel(index=i, label="X") for i in range(6)],
        data=BLOB,
    )


def elastic() -> ElasticDocument:
    tensor = ((1.0,) * 6,) * 6
    numbers = ("bulk_modulus", "shear_modulus")
    averages = {f"{n}{end}": 1.0 for n in numbers for end in ("", "_voigt", "_reuss")}
    return ElasticDocument(
        **COMMON,
        **averages,
        n_strains=24,
        elastic_tensor=tensor,
        clamped_tensor=tensor,
        residual_pressure=0.0,
        born_stable=True,
        internal_instability=False,
    )


def well() -> WellDocument:
    return WellDocument(
        **COMMON,
        q=(0.5, 0.5, 0.5),
        band=0,
        mode_source="reference",
        mode_frequency=-1.0,
        curvature_frequency=-1.0,
        supercell_matrix=DIAGONAL,
        formula_units=8,
        normalisation="per formula unit",
        has_double_well=True,
        minimum_in_range=True,
        depth=0.0,
        q0=0.0,
        fit_residual=0.0,
        data=BLOB,
    )


def training() -> TrainingDocument:
    errors = ErrorMetrics(n_frames=16, energy_mae=1.0, forces_mae=1.0, stress_mae=1.0)
    names = ("train_before", "train_after", "valid_before", "valid_after")
    return TrainingDocument(
        formula="AB",
        model=ModelRecord(
            model_id="0" * 64,
            foundation=FoundationRecord(name="mini", sha256="0" * 64),
            strategy="lora",
            dataset_hash="0" * 64,
            config={"strategy": "lora", "lr": 0.02, "max_epochs": 100},
        ),
        plan=PlanSummary(
            parameters_moved=1, parameters_reached=1, parameters_total=1, tensors=1, text="1 of 1"
        ),
        metrics=TrainingMetrics(**dict.fromkeys(names, errors)),
        energy_refit="none",
        best_epoch=80,
        epochs=100,
        seconds=60.0,
        stop_reason="epochs",
        device="cpu",
        history=BLOB,
        parity=BLOB,
    )


VARIED = {
    "phonon": ("lowest_frequency", "highest_frequency"),
    "elastic": ("bulk_modulus", "shear_modulus", "residual_pressure"),
    "well": ("depth", "q0", "mode_frequency"),
    "training": ("seconds",),
}


def outputs(number: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield the stored output of every strategy and kind of one material."""
    for strategy in STRATEGIES:
        name = None if strategy == "reference" else model_id(number, strategy)
        for kind, template in TEMPLATES.items():
            drawn = rng.uniform(-100, 200, len(VARIED[kind])).tolist()
            output = template | dict(zip(VARIED[kind], drawn, strict=True))
            output["formula"] = material(number)["formula"]
            if kind == "training":
                own = {"model_id": model_id(number, strategy), "strategy": strategy}
                output["model"] = template["model"] | own
            else:
                output["material_id"] = material(number)["material_id"]
                output["source"] = template["source"] | {"role": strategy, "model_id": name}
            yield output


TEMPLATES = templates()


def rows(materials: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for number in range(materials):
        day = FIRST_DAY + timedelta(days=number % DAYS)
        for place, output in enumerate(outputs(number, rng)):
            yield {
                "uuid": str(uuid5(NAMESPACE_URL, f"{number}/{place}")),
                "index": 1,
                "name": f"{output['kind']} {STRATEGIES[place // len(KINDS)]}",
                "completed_at": f"{day}T12:{place:02d}:{number % 60:02d}.000000",
                "metadata": {
                    "phonotune": {
                        "stage": output["kind"],
                        "material_id": material(number)["material_id"],
                        "campaign": "benchmark",
                        "content": f"{number}/{place}",
                    }
                },
                "hosts": [f"flow-{number}"],
                "output": output,
            }


def fill(store: JobStore, materials: int) -> None:
    batch: list[dict[str, Any]] = []
    for row in rows(materials):
        batch.append(row)
        if len(batch) == AT_ONCE:
            store.docs_store._collection.insert_many(batch, ordered=False)
            batch = []
    if batch:
        store.docs_store._collection.insert_many(batch, ordered=False)


def questions(results: ResultStore, materials: int) -> dict[str, Callable[[], int]]:
    """Return the queries of docs/database.md; each gives the number of Documents."""
    n = materials // 2
    one, day = material(n), FIRST_DAY + timedelta(days=n % DAYS)

    def asked(**query: Any) -> Callable[[], int]:
        return lambda: len(results.query(load=False, **query))

    return {
        "formula": asked(formula=one["formula"]),
        "formula, kind": asked(formula=one["formula"], kind="phonon"),
        "formula, strategy": asked(formula=one["formula"], strategy="lora"),
        "material_id": asked(material_id=one["material_id"]),
        "model_id": asked(model_id=model_id(n, "lora")),
        "kind, range of 0.1 %": asked(kind="elastic", where={"bulk_modulus": (199.7, None)}),
        "range of 0.1 %": asked(where={"lowest_frequency": (None, -99.7)}),
        "kind, one day": asked(kind="elastic", since=day, until=day, limit=50),
        "strategy, one day": asked(strategy="lora", since=day, until=day, limit=50),
        "newest 50 of a kind": asked(kind="elastic", limit=50),
        "id of a result": lambda: bool(results.find(str(uuid5(NAMESPACE_URL, f"{n}/1")))) + 0,
        "table of a formula": lambda: len(results.to_dataframe(formula=one["formula"])),
    }


def measure(uri: str, materials: int, repeats: int) -> None:
    docs = MongoStore(DATABASE, "outputs", uri=uri)
    store = JobStore(docs, {BLOB_STORE: GridFSStore(DATABASE, "blobs", uri=uri)})
    store.connect()
    client = docs._collection.database.client
    client.drop_database(DATABASE)
    started = time.perf_counter()
    fill(store, materials)
    filled = time.perf_counter()
    ensure_indexes(store)
    count = materials * len(STRATEGIES) * len(KINDS)
    print(f"{count} documents: filled in {filled - started:.0f} s, ", end="")
    print(f"indexed in {time.perf_counter() - filled:.0f} s", flush=True)
    results = ResultStore(store)
    for name, ask in questions(results, materials).items():
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            found = ask()
            seconds.append(time.perf_counter() - begun)
        print(f"{name}: {found} results, {median(seconds):.3f} s", end=" ")
        print(f"({min(seconds):.3f}-{max(seconds):.3f})", flush=True)
    begun = time.perf_counter()
    table = results.to_dataframe()
    print(f"DataFrame of all metrics: {table.shape}, {time.perf_counter() - begun:.2f} s")
    print(f"  of which in memory {table.memory_usage(deep=True).sum() / 1e6:.0f} MB")
    unit = 1024 if sys.platform != "darwin" else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(f"peak memory of this process: {peak / 1e6:.0f} MB", flush=True)
    client.drop_database(DATABASE)
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--materials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--uri")
    given = parser.parse_args()
    if given.uri:
        measure(given.uri, given.materials, given.repeats)
        return
    servers = server_module()
    program = servers.find_program()
    if program is None:
        raise SystemExit(servers.NONE_HERE)
    with tempfile.TemporaryDirectory() as folder:
        server = servers.MongoServer(Path(folder) / "db", program)
        server.start()
        try:
            measure(server.uri, given.materials, given.repeats)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
