"""What foundation models there are for this machine, without loading or downloading one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phonotune.models.foundation import ALIASES, cached_name, mace_cache, mace_urls
from phonotune.models.shipped import SHIPPED
from phonotune.models.trust import trusted_files

Where = Literal["shipped", "cached", "to download", "trusted file"]


@dataclass(frozen=True)
class CatalogueEntry:
    """A foundation model that has a name.

    Attributes
    ----------
    name
        What ``--foundation`` takes.
    where
        In the package, in mace-torch's cache, to be downloaded at the first use, or a trusted file.
    path
        Its file; None for shipped models.
    """

    name: str
    where: Where
    path: Path | None


def catalogue() -> list[CatalogueEntry]:
    """Return every foundation model with a name: shipped, mace-torch's, trusted files.

    Raises
    ------
    FoundationError
        The list of trusted files is damaged.
    """
    urls = mace_urls()
    keys = ALIASES | {key: key for key in urls}
    entries = [CatalogueEntry(name, "shipped", None) for name in SHIPPED]
    for name, key in keys.items():
        path = mace_cache() / cached_name(urls[key])
        entries.append(CatalogueEntry(name, "cached" if path.exists() else "to download", path))
    return entries + [
        CatalogueEntry(file.name, "trusted file", file.path)
        for file in trusted_files()
        if file.path.is_file() and not file.name.startswith("mace-torch:")
    ]
