"""phonotune's Makers, as jobs and as functions: python properties_phonotune.py MODEL STRUCTURE.json."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from jobflow import Flow, JobStore
from maggma.stores import MemoryStore
from properties_common import Answer, serve
from pymatgen.core import Structure

from phonotune import ElasticMaker, PhononMaker
from phonotune.flows.local import run_flow
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.elastic import ElasticSettings, analyse_stresses, plan_strains
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings, relax_batch

RELAX = RelaxSettings(fmax=1e-4)
PHONON = PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)))


def run(maker: Any, structure: Structure, model: str, folder: Path) -> tuple[Any, Answer]:
    """Run one Maker in memory; return its Document, and how many documents and bytes are stored."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    job = maker.make(structure, model)
    run_flow(Flow([job]), store, root_dir=folder)
    documents = list(store.query(load=False))
    blobs = list(store.additional_stores["data"].query())
    plain = [{k: v for k, v in d.items() if k != "_id"} for d in (*documents, *blobs)]
    size = sum(len(json.dumps(d, default=str)) for d in plain)
    output = next(iter(store.query(load=True)))["output"]
    return output, {"documents": len(documents), "bytes": size}


def main() -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model, path = sys.argv[1:]
    structure = Structure.from_file(path)
    folder = Path(tempfile.mkdtemp())
    evaluator = load_evaluator(model, "cpu")
    source = evaluator.source

    def phonon_job() -> Answer:
        output, stored = run(PhononMaker(settings=PHONON, relax=RELAX), structure, model, folder)
        return {"highest_frequency": output["highest_frequency"], **stored}

    def elastic_job() -> Answer:
        output, stored = run(ElasticMaker(relax=RELAX), structure, model, folder)
        return {"bulk_modulus": output["bulk_modulus"], **stored}

    def relaxed() -> Structure:
        return relax_batch(evaluator, [structure], RELAX)[0].final

    def phonon() -> Answer:
        plan = plan_displacements(relaxed(), PHONON)
        document = analyse_forces(plan, evaluator(plan.structures), source)
        return {"highest_frequency": document.highest_frequency}

    def elastic() -> Answer:
        plan = plan_strains(relaxed(), ElasticSettings())
        document = analyse_stresses(plan, evaluator(plan.structures), source)
        return {"bulk_modulus": document.bulk_modulus}

    serve(
        {"phonon job": phonon_job, "elastic job": elastic_job, "phonon": phonon, "elastic": elastic}
    )


if __name__ == "__main__":
    main()
