"""The crystal and the model of a command that computes a property."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.physics.relax import RelaxSettings
    from phonotune.schemas.training import ModelRecord


def read_crystal(path: Path, model: str) -> tuple[Structure, ModelRecord]:
    """Read a crystal, find a model, and check that the model knows every element of the crystal.

    Raises
    ------
    StructureError
        The file holds no usable structure, or the model does not know an element.
    FoundationError
        The model's foundation cannot be had.
    """
    from phonotune.data.structures import read_structure

    structure = read_structure(path)
    from phonotune.models.engines import foundation_elements
    from phonotune.models.records import find_model
    from phonotune.physics.supercell import check_structure

    record = find_model(model)
    check_structure(structure, foundation_elements(record.foundation), record.label)
    return structure, record


def relaxation(relax: bool) -> RelaxSettings | None:
    """Return how a model relaxes a crystal before a property: cell and ions, the symmetry kept."""
    from phonotune.physics.phonon.settings import PhononSettings
    from phonotune.physics.relax import RelaxSettings

    return RelaxSettings(symprec=PhononSettings().symprec) if relax else None
