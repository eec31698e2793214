"""A tuned model in atomate2's phonon, elastic and molecular-dynamics makers.

    python examples/model_in_atomate2.py FOLDER MODEL

MODEL is a model directory (``phonotune finetune -o``) or the name of a foundation model.
"""

from __future__ import annotations

import sys
from pathlib import Path

from atomate2.forcefields.flows.elastic import ElasticMaker
from atomate2.forcefields.flows.phonons import PhononMaker
from atomate2.forcefields.md import ForceFieldMDMaker
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

LOADER = {"@module": "phonotune.models.calculator", "@callable": "load_calculator"}


def make_flows(model: str) -> dict[str, Flow]:
    """Return atomate2's flows by name."""
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    kwargs = {"model": model}
    phonons = PhononMaker.from_force_field_name(LOADER, calculator_kwargs=kwargs, min_length=8.0)
    elastic = ElasticMaker.from_force_field_name(LOADER, calculator_kwargs=kwargs)
    dynamics = ForceFieldMDMaker(
        force_field_name=LOADER,
        calculator_kwargs=kwargs,
        n_steps=20,
        temperature=300,
        ase_md_kwargs={"fixcm": False},
    )
    steps = dynamics.make(crystal * (2, 2, 2))
    return {
        "phonons": phonons.make(crystal),
        "elastic": elastic.make(crystal),
        "dynamics": Flow([steps], output=steps.output),
    }


def main(folder: Path, model: str) -> None:
    """Run the three flows and print one number of each."""
    folder.mkdir(parents=True, exist_ok=True)
    flows = make_flows(model)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = {}
    for name, flow in flows.items():
        found = run_locally(
            flow, store=store, root_dir=folder, create_folders=True, ensure_success=True
        )
        outputs[name] = found[flow.output.uuid][1].output
    phonons, elastic = outputs["phonons"], outputs["elastic"]
    print(f"C_v at 300 K: {phonons.heat_capacities[30]:.2f} J/K/mol")
    print(f"bulk modulus: {elastic.derived_properties.k_vrh:.1f} GPa")
    print(f"last energy of the dynamics: {outputs['dynamics'].output.energy:.3f} eV")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
