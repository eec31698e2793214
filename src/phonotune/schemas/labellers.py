"""Labellers, one row each: who gives the reference energies, forces and stresses.

Help texts, warnings, notices of the report and checks read the rows. A row names what builds its
makers by dotted path, ``module:name``, imported when a flow is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from phonotune.errors import unknown_name


@dataclass(frozen=True)
class LabellerRow:
    """One labeller, or a family of them.

    Attributes
    ----------
    name
        The name that stands in every result; that of a family ends with what the user fills in:
        ``mace:<foundation>``.
    theory
        Level of theory, in words.
    build
        Dotted path of a function of the name and ``arguments`` that returns a
        :class:`phonotune.jobs.labellers.Labeller`.
    arguments
        What ``build`` takes besides the name.
    hint
        What the help says after the name.
    warning
        What a user must know before trusting its labels.
    package, extra
        Package that only it needs, and the extra of phonotune that installs it.
    is_dft
        False for what stands in for DFT.
    """

    name: str
    theory: str
    build: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    hint: str = ""
    warning: str = ""
    package: str = ""
    extra: str = ""
    is_dft: bool = False

    @property
    def family(self) -> str:
        """The beginning of the names of a family, ``mace:``; empty for a single labeller."""
        beginning, bracket, _ = self.name.partition("<")
        return beginning if bracket else ""


_BUILD: Final = "phonotune.jobs.labellers:"
_ROWS: Final = (
    LabellerRow(
        name="vasp",
        theory="density functional theory",
        build=f"{_BUILD}default_vasp",
        is_dft=True,
    ),
    LabellerRow(
        name="teacher",
        theory="a toy surface",
        build=f"{_BUILD}mace_model",
        arguments={"foundation": "teacher"},
        hint="a toy",
        warning="teacher is a toy surface that stands in for DFT: not for science.",
    ),
    LabellerRow(
        name="gfn1-xtb",
        theory="a tight-binding method",
        build=f"{_BUILD}ase_code",
        arguments={
            "static": "atomate2.ase.jobs:GFNxTBStaticMaker",
            "relax": "atomate2.ase.jobs:GFNxTBRelaxMaker",
            "fmax": 1e-3,
            "calculator_kwargs": {"method": "GFN1-xTB", "verbosity": 0},
        },
        package="tblite",
        extra="xtb",
    ),
    LabellerRow(
        name="emt",
        theory="effective-medium theory",
        build=f"{_BUILD}calculator",
        arguments={"callable_": "ase.calculators.emt:EMT"},
        warning="emt is a textbook potential that stands in for DFT: not for science.",
    ),
    LabellerRow(
        name="chgnet",
        theory="a machine-learned potential",
        build=f"{_BUILD}calculator",
        arguments={"callable_": "chgnet.model.dynamics:CHGNetCalculator"},
        warning="chgnet is not smooth below about 0.05 Å: its phonons depend on the displacement.",
        package="chgnet",
        extra="chgnet",
    ),
    LabellerRow(
        name="mace:<foundation>",
        theory="a machine-learned potential",
        build=f"{_BUILD}mace_model",
    ),
)

LABELLERS: Final[dict[str, LabellerRow]] = {row.name: row for row in _ROWS}
"""The rows by name; a plugin or a test adds its own."""

ANY_MAKER: Final = "<module>:<Class>"
"""How any atomate2 static maker is named as a labeller."""

ANY_POTENTIAL: Final = "a potential of `phonotune models add`"


def labeller_row(name: str) -> LabellerRow | None:
    """Return the row of a labeller; None for an atomate2 static maker as ``module:Class``.

    Raises
    ------
    ConfigError
        Nothing has that name; the message names the nearest.
    """
    for row in LABELLERS.values():
        if name == row.name or (row.family and name.removeprefix(row.family) not in ("", name)):
            return row
    if ":" not in name.strip(":"):
        raise unknown_name("labeller", name, [*LABELLERS, ANY_MAKER, ANY_POTENTIAL])
    return None


def labeller_warning(name: str) -> str:
    """Return what a user must know before trusting a labeller; empty if there is nothing, or no row."""
    return next((row.warning for row in LABELLERS.values() if row.name == name), "")


def labellers_in_words(default: str = "") -> str:
    """Return the names for a help text, the default marked: ``vasp (default), teacher (a toy), ...``."""
    hints = {row.name: row.hint for row in LABELLERS.values()} | (
        {default: "default"} if default else {}
    )
    named = [f"{name} ({hint})" if hint else name for name, hint in hints.items()]
    return ", ".join([*named, ANY_MAKER, ANY_POTENTIAL])
