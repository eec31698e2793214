"""atomate2's force-field PhononMaker and ElasticMaker: python properties_atomate2.py MODEL STRUCTURE.json.

MODEL is a file of MACE, or the name of a SevenNet that comes with sevenn.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import warnings

import torch

warnings.simplefilter("ignore")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

from atomate2.forcefields.flows.elastic import ElasticMaker  # noqa: E402
from atomate2.forcefields.flows.phonons import PhononMaker  # noqa: E402
from jobflow import Flow, JobStore, run_locally  # noqa: E402
from maggma.stores import MemoryStore  # noqa: E402
from monty.json import jsanitize  # noqa: E402
from properties_common import Answer, serve  # noqa: E402
from pymatgen.core import Structure  # noqa: E402


def run(flow: Flow, folder: str) -> tuple[list[dict], int]:
    """Run a flow in memory; return its documents and the bytes that they take as JSON."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    run_locally(flow, store=store, root_dir=folder, log=False, ensure_success=True)
    documents = list(store.query(load=False))
    blobs = list(store.additional_stores["data"].query())
    plain = [{k: v for k, v in d.items() if k != "_id"} for d in (*documents, *blobs)]
    size = sum(len(json.dumps(jsanitize(d, strict=True))) for d in plain)
    return list(store.query(load=True)), size


def main() -> None:
    logging.disable(logging.WARNING)
    model, path = sys.argv[1:]
    structure = Structure.from_file(path)
    folder = tempfile.mkdtemp()
    kwargs, family = {"model": model, "device": "cpu"}, "SevenNet"
    if not model.startswith("7net"):
        kwargs, family = kwargs | {"default_dtype": "float64"}, "MACE"
    phonons = PhononMaker.from_force_field_name(
        family,
        calculator_kwargs=kwargs,
        socket=True,
        displacement=0.01,
        min_length=11.0,
        use_symmetrized_structure=None,
    )
    elastics = ElasticMaker.from_force_field_name(family, calculator_kwargs=kwargs)

    def phonon() -> Answer:
        documents, size = run(phonons.make(structure), folder)
        last = next(d["output"] for d in documents if "phonon_bandstructure" in (d["output"] or {}))
        bands = last["phonon_bandstructure"]["bands"]
        return {
            "highest_frequency": max(max(branch) for branch in bands),
            "documents": len(documents),
            "bytes": size,
        }

    def elastic() -> Answer:
        documents, size = run(elastics.make(structure), folder)
        last = next(d["output"] for d in documents if "derived_properties" in (d["output"] or {}))
        return {
            "bulk_modulus": last["derived_properties"]["k_vrh"],
            "documents": len(documents),
            "bytes": size,
        }

    serve({"phonon": phonon, "elastic": elastic})


if __name__ == "__main__":
    main()
