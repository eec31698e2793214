"""Base of every stored result: frozen, versioned, hashed, no NaN, a unit on every number."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from phonotune.part import Part as Part
from phonotune.ports import Source as Source  # stored jobs name it here
from phonotune.schemas.blob import Blob
from phonotune.schemas.masses import isotope_masses
from phonotune.units import UnitOfField

if TYPE_CHECKING:
    from pymatgen.core import Structure

Matrix3 = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
"""Integer supercell matrix: rows are the supercell vectors in units of the cell vectors."""
Vector3 = tuple[float, float, float]

_TRACKED = (
    "phonotune",
    "phonopy",
    "mace-torch",
    "torch",
    "e3nn",
    "pymatgen",
    "atomate2",
    "jobflow",
)


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that numbers depend on."""
    return dict(_package_versions())


@lru_cache(maxsize=1)
def _package_versions() -> dict[str, str]:
    found = {}
    for name in _TRACKED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hash_json(content: Any) -> str:
    """Return the sha256 (hexadecimal) of JSON-able content, independent of key order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def structure_hash(structure: Structure) -> str:
    """Return a 16-digit hash of cell (to 1e-8 Å), fractional positions (to 1e-8), elements and isotopes.

    Masses count only where they are not natural.
    """
    masses = isotope_masses(structure)
    known = {"masses": [m and round(m, 4) for m in masses]} if masses else {}
    return hash_json(
        known
        | {
            "cell": (np.round(structure.lattice.matrix, 8) + 0.0).tolist(),
            "positions": (np.round(structure.frac_coords, 8) + 0.0).tolist(),
            "numbers": [int(z) for z in structure.atomic_numbers],
        }
    )[:16]


class MemberSpread(Part):
    """How far the members of a committee differ: standard deviations, each in its field's own unit.

    A member's document is the same analysis of its own answers; the deviation is that of a sample
    (n - 1). ``data`` holds the deviations of arrays and of tensors, under their own names.
    """

    n_members: int = Field(ge=2, description="members whose answers could be analysed")
    n_left_out: int = Field(
        default=0, description="members whose answers give no such property, e.g. unstable phonons"
    )
    numbers: dict[str, UnitOfField] = Field(
        description="by field; a dot leads into a part: thermal_300.entropy"
    )
    data: Blob


class Document(Part):
    """A stored result: small, self-describing, arrays only in Blobs."""

    uncounted_fields = ("versions",)

    kind: str = Field(description="what the document is, the query key of ResultStore")
    schema_version: int = 1
    versions: dict[str, str] = Field(default_factory=package_versions)


class PropertyDocument(Document):
    """A property of one crystal by one evaluator."""

    formula: str = Field(description="reduced formula")
    material_id: str = Field(description="structure_hash of the crystal that was asked for")
    source: Source
    relaxed: bool = Field(
        default=False, description="the model relaxed the crystal first; False: as it was given"
    )
    settings: dict[str, Any] = Field(description="resolved settings of the Maker")
    spread: MemberSpread | None = Field(
        default=None, description="error bars of a committee; None for a single model"
    )
