"""What is known of the foundations of mace-torch, one row each: level of theory, licence, elements, heads.

Sources: README and source of mace-torch 0.3.16, READMEs of ACEsuit/mace-foundations. The heads of ``mh-1``
are those of its released file. What none of them states is left empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ACADEMIC: Final[Mapping[str, str]] = {
    "ASL": "Academic Software License, no commercial use, https://github.com/gabor1/ASL"
}
"""Licences that are accepted once before such a model is used."""


@dataclass(frozen=True)
class FoundationRow:
    """A foundation model.

    Attributes
    ----------
    level
        Functional, with ``+U`` where it has one; empty if it is not stated, or differs from head to head.
    licence
        Of the weights; empty if it is not stated.
    elements
        Number of elements; None if it is not stated.
    heads
        Level of theory of each head of a multi-head model, by name.
    """

    level: str = ""
    licence: str = ""
    elements: int | None = None
    heads: Mapping[str, str] = field(default_factory=dict)

    def level_of(self, head: str | None) -> str:
        """Return the level of theory of a head; None: of the only one."""
        return self.level if head is None else self.heads.get(head, "")


_MP: Final = FoundationRow("PBE+U", "MIT", 89)
_OMAT: Final = FoundationRow("PBE+U", "ASL", 89)
_OFF: Final = FoundationRow("wB97M+D3", "ASL", 10)
_POLAR: Final = FoundationRow("wB97M-V")

FOUNDATIONS: Final[Mapping[str, FoundationRow]] = {
    **dict.fromkeys(("small", "medium", "large", "small-0b", "medium-0b"), _MP),
    **dict.fromkeys(("small-0b2", "medium-0b2", "large-0b2", "medium-0b3", "medium-mpa-0"), _MP),
    **dict.fromkeys(("small-omat-0", "medium-omat-0"), _OMAT),
    "mace-matpes-pbe-0": FoundationRow("PBE", "ASL", 89),
    "mace-matpes-r2scan-0": FoundationRow("r2SCAN", "ASL", 89),
    "mh-0": FoundationRow("", "ASL", 89),
    "mh-1": FoundationRow(
        "",
        "ASL",
        89,
        {
            "omat_pbe": _OMAT.level,
            "matpes_r2scan": "r2SCAN",
            "mp_pbe_refit_add": "",
            "oc20_usemppbe": "",
            "omol": "wB97M-VV10",
            "spice_wB97M": "",
        },
    ),
    **dict.fromkeys(("mace-off23-small", "mace-off23-medium", "mace-off23-large"), _OFF),
    "mace-omol-0": FoundationRow("wB97M-VV10", "ASL", 89),
    **dict.fromkeys(("polar-1-s", "polar-1-m", "polar-1-l"), _POLAR),
    "mace-anicc": FoundationRow("coupled cluster", "MIT", 4),
}
"""By mace-torch's name; models that it lists outside of ``mace_mp`` have the names of its README."""
NOTHING_KNOWN: Final = FoundationRow()
