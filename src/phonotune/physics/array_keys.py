"""Keys of a cache for what has no hash of its own: arrays and structures, equal when every bit is."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from pymatgen.core import Structure

from phonotune.schemas.masses import site_kinds

T = TypeVar("T")


@dataclass(frozen=True)
class ArrayKey(Generic[T]):
    """A value that :func:`functools.lru_cache` hashes and compares by its key alone.

    Attributes
    ----------
    key
        What makes the value what it is, e.g. the bytes of its arrays.
    value
        What the cached function works with; it must not be changed.
    """

    key: Hashable
    value: T = field(compare=False)

    @classmethod
    def of(cls, value: T, *arrays: Any) -> ArrayKey[T]:
        """Return a value whose key is type, shape and bytes of its arrays; None counts as one."""
        key = []
        for array in arrays:
            if array is None:
                key.append(b"none")
            else:
                numbers = np.ascontiguousarray(array)
                key.append(f"{numbers.dtype.str}{numbers.shape}".encode() + numbers.tobytes())
        return cls(tuple(key), value)


def structure_key(structure: Structure) -> ArrayKey[Structure]:
    """Return a structure keyed by cell, fractional positions, elements and isotopes."""
    return ArrayKey.of(
        structure, structure.lattice.matrix, structure.frac_coords, site_kinds(structure)
    )
