"""What `phonons`, `elastic` and `double-well` share: a structure, a model, an evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.cli.console import Session
    from phonotune.models.committee import AnyEvaluator
    from phonotune.physics.phonon import PhononSettings
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
) -> PhononDocument:
    """Plan displacements, evaluate them in batches, analyse the forces."""
    from phonotune.physics.phonon import analyse_forces, plan_displacements
    from phonotune.physics.phonon_files import read_born

    charges = None if born is None else read_born(born, structure)
    plan = plan_displacements(structure, settings)
    count = len(plan.structures)
    atoms = len(plan.structures[0])
    with out.progress(f"{count} displaced supercells of {atoms} atoms"):
        answers = evaluator(plan.structures)
    return analyse_forces(plan, answers, source, born=charges)
