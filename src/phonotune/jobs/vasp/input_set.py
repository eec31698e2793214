"""The input set generator of the label protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atomate2.vasp.sets.base import VaspInputGenerator
from pymatgen.core import Structure


@dataclass
class LabelInputGenerator(VaspInputGenerator):
    """atomate2's generator with sites sorted by element: one block of POSCAR and POTCAR an element.

    atomate2 0.1.5 hides pymatgen's setter behind a field of the same name, so that its own
    ``sort_structure`` does nothing.
    """

    def get_input_set(self, structure: Structure | None = None, **kwargs: Any) -> Any:
        """Return the input files of a structure; see pymatgen's VaspInputSet for the rest."""
        ordered = None if structure is None else structure.get_sorted_structure()
        return super().get_input_set(ordered, **kwargs)
