"""What foundation models there are for this machine, without loading or downloading one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phonotune.models.foundation import ALIASES, cached_name, mace_cache, mace_urls
from phonotune.models.potentials import added_potentials, packaged_potentials
from phonotune.models.shipped import SHIPPED
from phonotune.models.trust import trusted_files

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
    engine
        What evaluates it.
    note
        What a potential is.
    """

    name: str
    where: Where
    path: Path | None
    engine: str = "mace"
    note: str = ""


def catalogue() -> list[CatalogueEntry]:
    """Return every model with a name: shipped, mace-torch's, trusted files, potentials.

    Raises
    ------
    FoundationError
        The list of trusted files, or that of potentials, is damaged.
    """
    urls = mace_urls()
    keys = ALIASES | {key: key for key in urls}
    entries = [CatalogueEntry(name, "shipped", None) for name in SHIPPED]
    for name, key in keys.items():
        path = mace_cache() / cached_name(urls[key])
        entries.append(CatalogueEntry(name, "cached" if path.exists() else "to download", path))
    entries += [
        CatalogueEntry(file.name, "trusted file", file.path)
        for file in trusted_files()
        if file.path.is_file() and not file.name.startswith("mace-torch:")
    ]
    added = added_potentials()
    for name, potential in added.items():
        python = Path(potential.python) if potential.python else None
        entries.append(CatalogueEntry(name, "added", python, "process", str(potential)))
    return entries + [
        CatalogueEntry(name, "package", None, "process", point.value)
        for name, point in packaged_potentials().items()
        if name not in added
    ]
