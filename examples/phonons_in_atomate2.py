"""phonotune's phonons inside atomate2's quasi-harmonic flow.

    python examples/phonons_in_atomate2.py FOLDER MODEL

atomate2 relaxes the crystal at four volumes; the phonons at each are phonotune's, one batch a volume.
MODEL is a model directory or the name of a foundation model.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ase.units import GPa
from atomate2.forcefields.flows.qha import ForceFieldQhaMaker
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from phonotune import PhononMaker
from phonotune.jobs.phonon_flow import PhononFlowMaker
from phonotune.physics.phonon.settings import PhononSettings

LOADER = {"@module": "phonotune.models.calculator", "@callable": "load_calculator"}


def make_flow(model: str) -> Flow:
    """Return atomate2's quasi-harmonic flow with phonotune's phonons."""
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    by_model = {"force_field_name": LOADER, "calculator_kwargs": {"model": model}}
    settings = PhononSettings(mesh_density=20.0, max_temperature=500.0)
    return ForceFieldQhaMaker(
        initial_relax_maker=ForceFieldRelaxMaker(**by_model, relax_kwargs={"fmax": 1e-3}),
        eos_relax_maker=ForceFieldRelaxMaker(**by_model, relax_cell=False),
        phonon_maker=PhononFlowMaker(phonon=PhononMaker(settings=settings), model=model),
        linear_strain=(-0.02, 0.02),
        number_of_frames=4,
        ignore_imaginary_modes=True,
        t_max=300,
    ).make(crystal, supercell_matrix=[[2, 0, 0], [0, 2, 0], [0, 0, 2]])


def main(folder: Path, model: str) -> None:
    """Run the flow and print the bulk modulus."""
    folder.mkdir(parents=True, exist_ok=True)
    flow = make_flow(model)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    found = run_locally(
        flow, store=store, root_dir=folder, create_folders=True, ensure_success=True
    )
    document = found[flow.jobs[-1].uuid][1].output
    # atomate2's document has eV/Å^3
    print(f"bulk modulus at rest: {document.bulk_modulus / GPa:.1f} GPa")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
