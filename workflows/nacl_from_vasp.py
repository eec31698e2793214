"""NaCl from ten VASP frames to phonons: import, split, fine-tune, compare with finite displacements.

    python workflows/nacl_from_vasp.py DATA OUT [--set KEY=VALUE ...]

DATA holds ``disp-0*/vasprun.xml``, ``POSCAR-unitcell`` and ``phonopy_params_NaCl-fd.yaml.xz``. It writes
the model directory and ``nacl.png`` below OUT, and prints frequency errors over the full zone, no NAC.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

from phonotune.data.assemble import assemble_given
from phonotune.data.importers import import_frames
from phonotune.data.structures import read_structure
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.files import read_phonopy
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.report.plots import plot_bands_and_dos, save_png
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.training import ModelRecord, TrainingDocument
from phonotune.training.config import parse_overrides
from phonotune.training.finetune import finetune, write_model_directory

SUPERCELL = ((2, 0, 0), (0, 2, 0), (0, 0, 2))


def train(data: Path, out: Path, overrides: list[str]) -> TrainingDocument:
    """Tune ``mini`` on eight of the ten frames; the last two validate."""
    frames = list(import_frames(sorted(data.glob("disp-0*/vasprun.xml"))))
    dataset = assemble_given(frames[:8], frames[8:], labeller="vasp")
    document = finetune(dataset, "mini", parse_overrides("lora", overrides))
    write_model_directory(document, out / "model")
    return document


def phonons(data: Path, model: ModelRecord | str, role: str) -> PhononDocument:
    """Compute the phonons of a model in the cell of the VASP reference."""
    structure = read_structure(data / "POSCAR-unitcell")
    plan = plan_displacements(structure, PhononSettings(supercell_matrix=SUPERCELL))
    evaluator = load_evaluator(model)
    source = evaluator.source.model_copy(update={"role": role})
    return analyse_forces(plan, evaluator(plan.structures), source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    started = perf_counter()
    training = train(given.data, given.out, given.set)
    print(f"{training.plan.text}; {training.epochs} epochs in {perf_counter() - started:.0f} s")
    print(f"validation forces {training.metrics.valid_before.forces_mae:.2f} -> ", end="")
    print(f"{training.metrics.valid_after.forces_mae:.2f} meV/Å")
    untuned = phonons(given.data, "mini", "untuned")
    tuned = phonons(given.data, training.model, "lora")
    reference = read_phonopy(
        given.data / "phonopy_params_NaCl-fd.yaml.xz",
        PhononSettings.model_validate(untuned.settings),
        Source(role="reference", evaluator="vasp"),
        with_nac=False,
    )
    sets = [PropertySet(source=d.source, phonon=d) for d in (reference, untuned, tuned)]
    for row in compare(sets[0], sets[1:]).rows:
        found = row.deviations
        print(f"{row.source.role}: zone MAE {found.frequency_mae:.4f} THz, ", end="")
        print(f"max {found.frequency_max:.3f} THz, DOS error {found.dos_error:.1f} %")
    save_png(plot_bands_and_dos([reference, untuned, tuned]), given.out / "nacl.png")


if __name__ == "__main__":
    main()
