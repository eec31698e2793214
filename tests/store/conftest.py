"""A store with results of two evaluators in it."""

import pytest
from jobflow import Flow, JobStore, job, run_locally

from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.elastic import ElasticDocument
from phonotune.store import open_store

ROW = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def elastic(role: str, bulk_modulus: float, formula: str = "NaCl") -> ElasticDocument:
    tensor = (ROW,) * 6
    return ElasticDocument(
        formula=formula,
        material_id="m-" + formula,
        source=Source(role=role, evaluator="mini", model_id="id-" + role),
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


@job(data=[Blob])
def store_document(role: str, bulk_modulus: float, formula: str) -> ElasticDocument:
    return elastic(role, bulk_modulus, formula)


@pytest.fixture
def filled_store(tmp_path) -> JobStore:
    store = open_store(tmp_path / "store")
    jobs = [
        store_document("untuned", 20.0, "NaCl"),
        store_document("lora", 25.0, "NaCl"),
        store_document("lora", 160.0, "MgO"),
    ]
    run_locally(Flow(jobs), store=store, log=False, root_dir=tmp_path, raise_immediately=True)
    return store
