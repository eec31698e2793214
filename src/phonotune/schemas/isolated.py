"""Energies of isolated atoms: the zero that a model's energies are counted from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from phonotune.schemas.base import Document
from phonotune.units import Angstrom, ElectronVolt, Unit

BohrMagneton = Annotated[float, Unit("µB")]


class IsolatedAtomDocument(Document):
    """One element's atom alone in a box (output of IsolatedAtomMaker)."""

    kind: Literal["atom"] = "atom"
    element: str
    labeller: str
    protocol: str = Field(description="as in the LabelledSet whose frames it belongs to")
    energy: ElectronVolt
    box: tuple[Angstrom, Angstrom, Angstrom]
    starting_moment: BohrMagneton = Field(description="Hund's rule; VASP may end with another")
