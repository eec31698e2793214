"""What foundation models there are for this machine, without loading or downloading one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from phonotune.models.elements import noted_facts
from phonotune.models.foundation import ALIASES, cached_file, mace_urls
from phonotune.models.potentials import added_potentials, packaged_potentials
from phonotune.models.shipped import SHIPPED, load_card
from phonotune.models.trust import sha256_of, trusted_files
from phonotune.schemas.foundations import FOUNDATIONS, NOTHING_KNOWN, FoundationRow

Where = Literal["shipped", "cached", "to download", "trusted file", "added", "package"]


@dataclass(frozen=True)
class CatalogueEntry:
    """A foundation model that has a name.

    Attributes
    ----------
    name
        What ``--foundation`` takes.
    where
        In the package, in mace-torch's cache, to be downloaded at the first use, a trusted file, or a potential
        that was added or that an installed package brings.
    path
        Its file, or the Python of a potential; None for shipped models.
    row
        Level of theory, licence, elements and heads, as far as they are stated or, of a file that was loaded
        on this machine, read off it.
    engine
        What evaluates it.
    note
        What a potential is.
    """

    name: str
    where: Where
    path: Path | None
    row: FoundationRow = NOTHING_KNOWN
    engine: str = "mace"
    note: str = ""


def catalogue() -> list[CatalogueEntry]:
    """Return every model with a name: shipped, mace-torch's, trusted files, potentials.

    Raises
    ------
    FoundationError
        The list of trusted files, or that of potentials, is damaged.
    """
    keys = ALIASES | {key: key for key in mace_urls()}
    entries = [
        CatalogueEntry(name, "shipped", None, FoundationRow(elements=len(load_card(name).elements)))
        for name in SHIPPED
    ]
    for name, key in keys.items():
        path, row = cached_file(key), FOUNDATIONS.get(key, NOTHING_KNOWN)
        here = path.exists()
        row = _with_facts(row, sha256_of(path)) if here else row
        entries.append(CatalogueEntry(name, "cached" if here else "to download", path, row))
    entries += [
        CatalogueEntry(
            file.name, "trusted file", file.path, _with_facts(NOTHING_KNOWN, file.sha256)
        )
        for file in trusted_files()
        if file.path.is_file() and not file.name.startswith("mace-torch:")
    ]
    added = added_potentials()
    for name, potential in added.items():
        python = Path(potential.python) if potential.python else None
        row = FoundationRow(
            potential.level_of_theory, elements=len(potential.elements or ()) or None
        )
        entries.append(CatalogueEntry(name, "added", python, row, "process", str(potential)))
    return entries + [
        CatalogueEntry(name, "package", None, engine="process", note=point.value)
        for name, point in packaged_potentials().items()
        if name not in added
    ]


def _with_facts(row: FoundationRow, sha256: str) -> FoundationRow:
    """Return a row with the elements and heads of a file, where this machine has loaded it before."""
    elements, heads = noted_facts(sha256) or ((), ())
    if not elements:
        return row
    named = {head: row.heads.get(head, "") for head in heads} if len(heads) > 1 else {}
    return replace(row, elements=len(elements), heads=named)
