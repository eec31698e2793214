"""Arrays and structures as keys of a cache: equal when every bit of them is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from pymatgen.core import Structure

T = TypeVar("T")


@dataclass(frozen=True)
class Exact(Generic[T]):
    """A value that is hashed and compared by its numbers alone, for :func:`functools.lru_cache`.

    Attributes
    ----------
    numbers
        Bytes of every array that the value is made of.
    value
        What a function works with; it must not be changed.
    """

    numbers: tuple[bytes, ...]
    value: T = field(compare=False)

    @classmethod
    def of(cls, value: T, *arrays: Any) -> Exact[T]:
        """Return a value with the arrays that make it what it is; None is an array of its own."""
        return cls(tuple(_bytes(array) for array in arrays), value)


def exact_structure(structure: Structure) -> Exact[Structure]:
    """Return a structure as a key: cell, fractional positions and elements, no site properties."""
    return Exact.of(
        structure, structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers
    )


def _bytes(array: Any) -> bytes:
    if array is None:
        return b"none"
    numbers = np.ascontiguousarray(array)
    return f"{numbers.dtype.str}{numbers.shape}".encode() + numbers.tobytes()
