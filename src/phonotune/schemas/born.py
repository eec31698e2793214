"""Born effective charges and the dielectric tensor of a crystal, as a labeller computed them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pymatgen.core import Structure

from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.phonon import BornCharges
from phonotune.units import Dimensionless, ElectronVolt, ElementaryCharge


class BornDocument(PropertyDocument):
    """Born charges and ε∞ of the primitive cell; a crystal without a band gap has none."""

    kind: Literal["born"] = "born"
    primitive: Structure = Field(
        description="primitive cell in the crystal's orientation, whose order of atoms the charges have"
    )
    protocol: str = Field(description="hash of the label protocol")
    band_gap: ElectronVolt = Field(description="of the labeller, without a field")
    born: BornCharges | None = Field(
        default=None, description="symmetric, their sum zero; None without a band gap"
    )
    sum_rule: ElementaryCharge | None = Field(
        default=None,
        description="largest element of the sum of all charges before it was made zero",
    )
    asymmetry: ElementaryCharge | None = Field(
        default=None, description="largest change of a charge by the crystal's symmetry"
    )

    @property
    def dielectric_constant(self) -> Dimensionless | None:
        """A third of the trace of ε∞; None without a band gap."""
        if self.born is None:
            return None
        return sum(self.born.dielectric[i][i] for i in range(3)) / 3

    @property
    def largest_charge(self) -> ElementaryCharge | None:
        """Largest absolute value of a third of the trace of a charge; None without a band gap."""
        if self.born is None:
            return None
        return max(abs(sum(tensor[i][i] for i in range(3))) / 3 for tensor in self.born.charges)

    @property
    def in_words(self) -> str:
        """What `results` shows."""
        if self.born is None:
            return f"none: no band gap ({self.band_gap:.2f} eV)"
        return f"|Z*| up to {self.largest_charge:.2f} e, ε∞ {self.dielectric_constant:.2f}"
