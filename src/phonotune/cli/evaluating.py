"""What `phonons`, `elastic` and `double-well` share: a structure, a model, an evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.cli.console import Session
    from phonotune.models.committee import AnyEvaluator
    from phonotune.physics.phonon.settings import PhononSettings
    from phonotune.schemas.base import Source
    from phonotune.schemas.phonon import PhononDocument


def load_task(path: Path, model: str) -> tuple[Structure, AnyEvaluator, Source]:
    """Read a structure, load a model, and check that the model knows the structure's elements.

    Raises
    ------
    StructureError
        The file holds no usable structure, or the model does not know an element.
    FoundationError
        The model's foundation cannot be had.
    """
    from phonotune.data.structures import read_structure

    structure = read_structure(path)
    from phonotune.models.adapter import find_model
    from phonotune.models.committee import load_evaluator
    from phonotune.physics.supercell import check_structure

    record = find_model(model)
    evaluator = load_evaluator(record)
    check_structure(structure, evaluator.elements, record.label)
    source = evaluator.source(record.strategy or "untuned", record.foundation.name, record.model_id)
    return structure, evaluator, source


def compute_phonons(
    structure: Structure,
    evaluator: AnyEvaluator,
    source: Source,
    settings: PhononSettings,
    out: Session,
    born: Path | None = None,
    labels: Path | None = None,
) -> PhononDocument:
    """Plan displacements, evaluate them in batches, analyse the forces; correct by labels if given.

    Raises
    ------
    FramesError
        ``labels`` holds no labelled frame of the undeformed phonon supercell.
    """
    from phonotune.data.importers import import_frames
    from phonotune.jobs.analysis import evaluate_and_analyse
    from phonotune.physics.phonon.displacements import plan_displacements
    from phonotune.physics.phonon.files import read_born
    from phonotune.physics.phonon.residual import analyse_residual, plan_residual

    charges = None
    if born is not None:
        charges = read_born(born, structure, settings.symprec, settings.primitive_matrix)
    frames = [] if labels is None else list(import_frames([labels]))
    displaced = plan_displacements(structure, settings, charges)
    plan = plan_residual(displaced, frames, required=labels is not None)
    count, atoms = len(displaced.structures), len(displaced.structures[0])
    labelled = len(plan.structures) - count
    more = f" and {labelled} labelled frames" if labelled else ""
    with out.progress(f"{count} displaced supercells{more} of {atoms} atoms"):
        return evaluate_and_analyse(
            evaluator,
            plan.structures,
            lambda answers: analyse_residual(plan, answers, source, born=charges),
        )
