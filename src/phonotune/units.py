"""Units as types: ``bulk_modulus: GPa`` is a float whose unit stands in its annotation.

A test walks over every Document and fails on a float without one (``tests/contracts``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, get_args


@dataclass(frozen=True)
class Unit:
    """The unit of a number in a Document, attached with ``typing.Annotated``."""

    symbol: str


ElectronVolt = Annotated[float, Unit("eV")]
MilliElectronVolt = Annotated[float, Unit("meV")]
MilliElectronVoltPerAtom = Annotated[float, Unit("meV/atom")]
MilliElectronVoltPerFormula = Annotated[float, Unit("meV/f.u.")]
ElectronVoltAngstrom = Annotated[float, Unit("eV·Å")]
ElectronVoltPerAngstrom = Annotated[float, Unit("eV/Å")]
ElectronVoltPerSquareAngstrom = Annotated[float, Unit("eV/Å^2")]
MilliElectronVoltPerAngstrom = Annotated[float, Unit("meV/Å")]
MilliElectronVoltPerCubicAngstrom = Annotated[float, Unit("meV/Å^3")]
Angstrom = Annotated[float, Unit("Å")]
CubicAngstrom = Annotated[float, Unit("Å^3")]
ModeAmplitude = Annotated[float, Unit("Å·sqrt(amu)")]
TeraHertz = Annotated[float, Unit("THz")]
Kelvin = Annotated[float, Unit("K")]
GPa = Annotated[float, Unit("GPa")]
PerTeraPascal = Annotated[float, Unit("1/TPa")]
KiloJoulePerMole = Annotated[float, Unit("kJ/mol")]
JoulePerKelvinMole = Annotated[float, Unit("J/K/mol")]
Percent = Annotated[float, Unit("%")]
Second = Annotated[float, Unit("s")]
BohrMagneton = Annotated[float, Unit("µB")]
ElementaryCharge = Annotated[float, Unit("e")]
Dimensionless = Annotated[float, Unit("1")]
UnitOfField = Annotated[float, Unit("that of the field named")]

EV_PER_CUBIC_ANGSTROM_IN_GPA: Final[float] = 160.21766208
"""Multiply a stress in eV/Å^3 by this to get GPa (CODATA 2014, as ASE, which need not be imported for it)."""


def unit_of(annotation: object) -> str | None:
    """Return the unit symbol that an annotation carries, or None.

    Parameters
    ----------
    annotation
        A type annotation such as ``GPa``.
    """
    for extra in get_args(annotation)[1:]:
        if isinstance(extra, Unit):
            return extra.symbol
    return None
