"""Levels of theory at which VASP labels, by name: what foundations were made on.

A preset chooses functional, +U, POTCARs and the cutoff. What makes forces accurate (EDIFF, LREAL, ADDGRID,
ISYM, a fixed KSPACING) is the same for all (:mod:`phonotune.jobs.vasp.protocol`). Values of U and POTCARs are
those of pymatgen's input sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal

from phonotune.dotted import load

PresetName = Literal["pbe", "mp", "matpes-pbe", "matpes-r2scan", "pbesol"]

_MP: Final = "pymatgen.io.vasp.sets:MPRelaxSet"
_MATPES: Final = "pymatgen.io.vasp.sets:MatPESStaticSet"
_HUBBARD: Final = ("LDAU", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ")


@dataclass(frozen=True)
class LabelPreset:
    """A level of theory.

    Attributes
    ----------
    level
        Its name, as foundations state theirs.
    summary
        What it takes, for help texts.
    incar
        INCAR keys that it replaces; None drops one.
    input_set
        Dotted path of the class of pymatgen that has its POTCARs; empty: those of the protocol.
    taken
        INCAR keys that are those of the class.
    fields
        Fields of the protocol that it sets.
    """

    level: str
    summary: str
    incar: Mapping[str, Any] = field(default_factory=dict)
    input_set: str = ""
    taken: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)

    def all_incar(self) -> dict[str, Any]:
        """Return the INCAR keys that the preset replaces, None for those that it drops."""
        own = load(self.input_set).CONFIG["INCAR"] if self.taken else {}
        return {key: own[key] for key in self.taken} | dict(self.incar)

    def potcars(self) -> dict[str, str]:
        """Return POTCAR symbols by element; empty: those of the protocol."""
        return dict(load(self.input_set).CONFIG["POTCAR"]) if self.input_set else {}


PRESETS: Final[Mapping[str, LabelPreset]] = {
    "pbe": LabelPreset("PBE", "plain PBE, no U"),
    "mp": LabelPreset(
        "PBE+U",
        "PBE with the U of the Materials Project in oxides and fluorides, and its POTCARs",
        input_set=_MP,
        taken=_HUBBARD,
        fields={"potcar_family": "PBE"},
    ),
    "matpes-pbe": LabelPreset(
        "PBE",
        "as MatPES: 680 eV, POTCARs PBE_64, no U",
        input_set=_MATPES,
        fields={"potcar_family": "PBE_64", "encut": 680.0},
    ),
    "matpes-r2scan": LabelPreset(
        "r2SCAN",
        "as MatPES, r2SCAN",
        incar={"GGA": None, "METAGGA": "R2SCAN", "ALGO": "All"},
        input_set=_MATPES,
        taken=("LMIXTAU",),
        fields={"potcar_family": "PBE_64", "encut": 680.0},
    ),
    "pbesol": LabelPreset("PBEsol", "PBEsol, no U", incar={"GGA": "PS"}),
}
"""The presets by name."""


@cache
def hubbard_elements() -> frozenset[str]:
    """Return the elements that the Materials Project gives a U in oxides and fluorides."""
    return frozenset(u for table in load(_MP).CONFIG["INCAR"]["LDAUU"].values() for u in table)


def has_hubbard(elements: Iterable[str]) -> bool:
    """Return whether the Materials Project gives an element of such a crystal a U."""
    present = set(elements)
    return bool(present & {"O", "F"}) and bool(present & hubbard_elements())


def level_note(foundation: str, made_on: str, labels: str, elements: Iterable[str]) -> str | None:
    """Return what to say where a foundation was made on another level of theory than its labels are of.

    Parameters
    ----------
    foundation
        Its name.
    made_on, labels
        Levels of theory, ``PBE+U``; empty where one is not known.
    elements
        Chemical symbols of the crystal: PBE+U is PBE where none has a U.

    Returns
    -------
    str or None
        None where they agree, or one is not known.
    """
    levels = {made_on, labels}
    if not all(levels) or len(levels) == 1:
        return None
    if levels == {"PBE", "PBE+U"} and not has_hubbard(elements):
        return None
    matching = next((name for name, row in PRESETS.items() if row.level == made_on), None)
    advice = "No preset labels as it was made."
    if matching is not None:
        advice = f"Preset {matching} (`--label-preset {matching}`) labels as it was made."
    return (
        f"{foundation} was made on {made_on}, and the labels are {labels}: the training also has to learn the "
        f"difference from these frames. {advice}"
    )
