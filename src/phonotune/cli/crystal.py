"""The crystal and the model of a command that computes a property."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.cli.console import Session
    from phonotune.cli.options import Masses
    from phonotune.physics.relax import RelaxSettings
    from phonotune.schemas.dataset import Frame
    from phonotune.schemas.training import ModelRecord


def read_masses(path: Path, masses: Masses, out: Session) -> Structure:
    """Read a crystal with the masses that are asked for; those that are not natural are noted.

    Raises
    ------
    StructureError
        The file holds no usable structure.
    """
    from phonotune.data.structures import read_structure
    from phonotune.schemas.masses import masses_in_words, with_natural_masses

    structure = read_structure(path)
    elements = with_natural_masses(structure)
    if elements is structure or masses == "natural":
        return elements
    out.note(
        f"Note: masses in {path}: {masses_in_words(structure)}, the others natural. --masses natural takes "
        "natural ones."
    )
    return structure


def read_labels(path: Path | None, out: Session) -> list[Frame] | None:
    """Read the labelled frames of --labels, if they are given; what was left out is told."""
    if path is None:
        return None
    from phonotune.data.importers import Importer

    importer = Importer([path])
    frames = list(importer)
    out.note_all(importer.notes, importer.refused)
    return frames


def read_crystal(
    path: Path, model: str, masses: Masses, out: Session, head: str | None = None
) -> tuple[Structure, ModelRecord]:
    """Read a crystal, find a model or a head of it, and check that it knows every element of the crystal.

    Raises
    ------
    StructureError
        The file holds no usable structure, or the model does not know an element.
    FoundationError
        The model's foundation cannot be had.
    """
    structure = read_masses(path, masses, out)
    from phonotune.models.engines import foundation_elements
    from phonotune.models.records import find_model
    from phonotune.physics.supercell import check_structure

    record = find_model(model, head)
    check_structure(structure, foundation_elements(record.foundation), record.label)
    return structure, record


def relaxation(relax: bool) -> RelaxSettings | None:
    """Return how a model relaxes a crystal before a property: cell and ions, the symmetry kept."""
    from phonotune.physics.phonon.settings import PhononSettings
    from phonotune.physics.relax import RelaxSettings

    return RelaxSettings(symprec=PhononSettings().symprec) if relax else None
