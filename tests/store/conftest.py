"""Stores, embedded and on a server, with the results of a small project in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from jobflow import Flow, JobStore, job, run_locally
from pymatgen.core import Lattice, Structure

from phonotune.data.assemble import assemble
from phonotune.schemas.base import Document, Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.comparison import ComparisonDocument, ComparisonRow, Deviations, Properties
from phonotune.schemas.dataset import DatasetDocument, Frame, LabelledSet, pack_frame_blobs
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.training import (
    ErrorMetrics,
    FoundationRecord,
    ModelRecord,
    PlanSummary,
    TrainingDocument,
    TrainingMetrics,
)
from phonotune.store import open_store

ROW = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
MODEL_ID = "ab" * 32
UNTUNED_ID = "cd" * 32


def elastic(role: str, bulk_modulus: float, formula: str = "NaCl") -> ElasticDocument:
    tensor = (ROW,) * 6
    ids = {"reference": None, "untuned": UNTUNED_ID}
    return ElasticDocument(
        formula=formula,
        material_id="m-" + formula,
        source=Source(role=role, evaluator="mini", model_id=ids.get(role, "id-" + role)),
        settings={"strain": 0.01},
        n_strains=6,
        elastic_tensor=tensor,
        clamped_tensor=tensor,
        bulk_modulus_voigt=bulk_modulus,
        bulk_modulus_reuss=bulk_modulus,
        bulk_modulus=bulk_modulus,
        shear_modulus_voigt=1.0,
        shear_modulus_reuss=1.0,
        shear_modulus=1.0,
        residual_pressure=0.0,
        born_stable=True,
        internal_instability=False,
    )


def frames(count: int = 4) -> list[Frame]:
    """Return rattled cells of NaCl with made-up labels."""
    rng = np.random.default_rng(3)
    crystal = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    made = []
    for number in range(count):
        cell = crystal.copy()
        cell.perturb(0.1, seed=number)
        forces = rng.normal(size=(len(cell), 3))
        made.append(Frame(cell, -3.0 * number, forces, group=f"g{number // 2}", origin="rattle"))
    return made


def labels() -> LabelledSet:
    first, *more = pack_frame_blobs(frames())
    return LabelledSet(
        labeller="vasp", protocol="p1", requested=4, rejected=[], data=first, more=tuple(more)
    )


def dataset() -> DatasetDocument:
    signed = [
        Frame(f.structure, f.energy, f.forces, None, f.group, f.origin, "vasp", "p1")
        for f in frames()
    ]
    return assemble(signed, labeller="vasp", valid_groups=["g1"])


def training(dataset_hash: str, model_id: str = MODEL_ID) -> TrainingDocument:
    errors = ErrorMetrics(n_frames=2, energy_mae=1.0, forces_mae=2.0, stress_mae=None)
    names = ("train_before", "train_after", "valid_before", "valid_after")
    return TrainingDocument(
        formula="NaCl",
        model=ModelRecord(
            model_id=model_id,
            foundation=FoundationRecord(name="mini", sha256="f" * 64),
            strategy="lora",
            dataset_hash=dataset_hash,
            config={"strategy": "lora", "lr": 0.02},
            adapters=(Blob.split(b"an adapter", "safetensors"),),
        ),
        plan=PlanSummary(
            parameters_moved=1, parameters_reached=1, parameters_total=1, tensors=1, text="1 of 1"
        ),
        metrics=TrainingMetrics(**dict.fromkeys(names, errors)),
        energy_refit="none",
        best_epoch=1,
        epochs=2,
        seconds=1.0,
        stop_reason="epochs",
        device="cpu",
        history=Blob.pack(epoch=[0, 1]),
        parity=Blob.pack(reference=[0.0]),
    )


def comparison(*compared: ElasticDocument) -> ComparisonDocument:
    first, *rest = compared
    return ComparisonDocument(
        formula=first.formula,
        material_id=first.material_id,
        reference=first.source,
        reference_properties=Properties(bulk_modulus=first.bulk_modulus),
        rows=[
            ComparisonRow(source=d.source, properties=Properties(), deviations=Deviations())
            for d in rest
        ],
    )


@job(data=[Blob])
def store_document(document: Document) -> Document:
    return document


def put(store: JobStore, documents: dict[str, Document], folder: Path) -> dict[str, str]:
    """Store Documents, named by stage, as one flow would; return the uuid of the job of each stage."""
    jobs = {}
    for stage, document in documents.items():
        made = store_document(document)
        made.name = stage
        made.update_metadata({"phonotune": {"stage": stage}})
        jobs[stage] = made
    run_locally(
        Flow(list(jobs.values())), store=store, log=False, root_dir=folder, raise_immediately=True
    )
    return {stage: made.uuid for stage, made in jobs.items()}


def project_documents() -> dict[str, Document]:
    """Return the Documents of a small project, from the labels to the comparison."""
    made = dataset()
    compared = [elastic("reference", 24.0), elastic("untuned", 20.0), tuned(25.0)]
    return {
        "label": labels(),
        "dataset": made,
        "finetune": training(made.dataset_hash),
        "elastic reference": compared[0],
        "elastic untuned": compared[1],
        "elastic lora": compared[2],
        "compare": comparison(*compared),
    }


def tuned(bulk_modulus: float) -> ElasticDocument:
    source = Source(role="lora", evaluator="mini", model_id=MODEL_ID)
    return elastic("lora", bulk_modulus).model_copy(update={"source": source})


@pytest.fixture
def filled_store(tmp_path: Path) -> JobStore:
    """An embedded store with three elastic documents."""
    store = open_store(tmp_path / "store")
    fill(store, tmp_path)
    return store


def fill(store: JobStore, folder: Path) -> None:
    documents = [elastic("untuned", 20.0), elastic("lora", 25.0), elastic("lora", 160.0, "MgO")]
    put(store, {f"elastic {n}": document for n, document in enumerate(documents)}, folder)


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.mongo)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """An empty store: embedded, and on a MongoDB server."""
    embedded = request.param == "embedded"
    opened = open_store(tmp_path / "s" if embedded else request.getfixturevalue("mongo_yaml"))
    yield opened
    if not embedded:
        opened.close()


@pytest.fixture
def project(store: JobStore, tmp_path: Path) -> dict[str, str]:
    """The uuids of a small project in the store, by stage."""
    return put(store, project_documents(), tmp_path)


@pytest.fixture
def put_documents(store: JobStore, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Store further Documents, by stage, as a flow of their own."""
    return lambda **documents: put(
        store, {k.replace("_", " "): v for k, v in documents.items()}, tmp_path
    )


def age(store: JobStore, uuid: str, completed_at: datetime) -> None:
    """Change the time at which a stored job ended."""
    (row,) = store.docs_store.query({"uuid": uuid})
    row.pop("_id")
    changed: dict[str, Any] = row | {"completed_at": completed_at.isoformat()}
    store.docs_store.update([changed], key=["uuid", "index"])


@pytest.fixture
def make() -> SimpleNamespace:
    """Makers of the documents of the project, and what changes a stored one."""
    return SimpleNamespace(
        elastic=elastic,
        tuned=tuned,
        training=training,
        dataset=dataset,
        comparison=comparison,
        project=project_documents,
        age=age,
        put=put,
    )
