"""Outputs of atomate2 jobs become a dataset and a tuned model, in one flow.

    python examples/train_on_atomate2.py FOLDER

The jobs are force-field relaxations by ASE's EMT; put atomate2's VASP or CP2K makers in their place. The
model directory is written to FOLDER/tuned.
"""

from __future__ import annotations

import sys
from pathlib import Path

from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow import Flow, run_locally
from pymatgen.core import Lattice, Structure

from phonotune import DatasetMaker, FineTuneConfig, FineTuneMaker, ResultStore
from phonotune.jobs.task_frames import TaskFramesMaker
from phonotune.store import open_store
from phonotune.training.finetune import write_model_directory

EMT = {"@module": "ase.calculators.emt", "@callable": "EMT"}


def make_flow() -> Flow:
    """Return the flow: three relaxations, their frames, a dataset, a training."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    rattled = [cell.copy().perturb(0.1, seed=seed) for seed in range(3)]
    relax = ForceFieldRelaxMaker(force_field_name=EMT, steps=5)
    relaxations = [relax.make(structure) for structure in rattled]
    frames = TaskFramesMaker().make([job.output for job in relaxations])
    dataset = DatasetMaker(valid_fraction=0.4).make(frames.output)
    config = FineTuneConfig(strategy="lora", max_epochs=3)
    training = FineTuneMaker(foundation="mini", config=config).make(dataset.output)
    return Flow([*relaxations, frames, dataset, training])


def main(folder: Path) -> None:
    """Run the flow and write the model directory."""
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(folder / "store")
    run_locally(make_flow(), store=store, root_dir=folder, create_folders=True, ensure_success=True)
    results = ResultStore(store)
    (dataset,) = results.query(kind="dataset")
    (training,) = results.query(kind="training")
    write_model_directory(training, folder / "tuned")
    after = training.metrics.valid_after
    print(f"{len(dataset.frames())} frames by {dataset.labeller}; {training.plan.text}")
    print(f"forces of the validation frames: {after.forces_mae:.1f} meV/Å")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
