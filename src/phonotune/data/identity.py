"""What identifies a frame: a key by structure and protocol, a hash by content.

Positions count after wrapping them into the cell, and the order of the atoms does not count. What does
count: the choice and orientation of the cell vectors, and the origin.

Hashes round to :data:`GRID`; its steps are powers of two, so that no decimal number of few digits and
no simple fraction lies at the edge of a step. A hash cannot find frames that differ by the rounding of a
file: two close numbers may round to either side. :mod:`phonotune.data.duplicates` compares distances.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phonotune.schemas.base import hash_json

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.ports import FloatArray
    from phonotune.schemas.dataset import Frame

GRID: Final = 2.0**-22
"""Step to which hashes round cell vectors (Å) and wrapped fractional positions: 2.4e-7."""

IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A structure as plain arrays.

    Attributes
    ----------
    numbers
        shape (n_atoms,), atomic numbers.
    cell
        shape (3, 3), Å, rows are vectors.
    positions
        shape (n_atoms, 3), fractional.
    """

    numbers: IntArray
    cell: FloatArray
    positions: FloatArray

    @classmethod
    def of(cls, structure: Structure) -> Snapshot:
        """Return the arrays of a structure."""
        return cls(
            np.asarray(structure.atomic_numbers, dtype=np.int64),
            np.asarray(structure.lattice.matrix, dtype=np.float64),
            np.asarray(structure.frac_coords, dtype=np.float64),
        )

    def canonical(self) -> tuple[IntArray, bytes]:
        """Return an order of the atoms that does not depend on theirs, and the rounded content."""
        steps = round(1.0 / GRID)
        wrapped = np.rint(self.positions * steps).astype(np.int64) % steps
        order = np.lexsort((*wrapped.T[::-1], self.numbers))
        cell = np.rint(self.cell * steps).astype(np.int64)
        parts = (self.numbers[order], wrapped[order], cell)
        return order, b"".join(part.astype("<i8").tobytes() for part in parts)


def frame_key(structure: Structure, protocol: str = "") -> str:
    """Return the key of a frame: 32 hexadecimal digits over its structure and its protocol.

    Parameters
    ----------
    structure
        Cell and positions; wrapping atoms or listing them in another order changes nothing.
    protocol
        What the labels were, or will be, made by.
    """
    content = Snapshot.of(structure).canonical()[1]
    return hashlib.sha256(content + protocol.encode()).hexdigest()[:32]


def frame_hash(frame: Frame) -> str:
    """Return the sha256 of one frame: its structure and the exact float64 bytes of its labels.

    ``group`` and ``origin`` do not enter: they say where a frame came from, not what it is. The
    protocol enters where it is known.
    """
    order, structure = Snapshot.of(frame.structure).canonical()
    digest = hashlib.sha256(structure)
    digest.update(frame.protocol.encode())
    labels = (
        None if frame.energy is None else np.array(frame.energy),
        None if frame.forces is None else frame.forces[order],
        frame.stress,
        None if frame.magmoms is None else frame.magmoms[order],
    )
    for label in labels:
        if label is None:
            digest.update(b"|-")
        else:  # little-endian bytes; minus zero counts as zero
            digest.update(b"|" + (np.ascontiguousarray(label, dtype="<f8") + 0.0).tobytes())
    return digest.hexdigest()


def dataset_hash(
    train: Iterable[str],
    valid: Iterable[str],
    labeller: str,
    isolated_atoms: Mapping[str, float] | None = None,
) -> str:
    """Return the sha256 of a dataset: which frames train, which validate, and who labelled them.

    The order of the frames and the file they were kept in do not matter; every bit of a label does.

    Parameters
    ----------
    train, valid
        :func:`frame_hash` of the frames of the two sides.
    labeller
        Name of the labeller; the same numbers by another name are another dataset.
    isolated_atoms
        eV by symbol; none do not enter.
    """
    content: dict[str, Any] = {"train": sorted(train), "valid": sorted(valid), "labeller": labeller}
    if isolated_atoms:
        content["isolated_atoms"] = {key: isolated_atoms[key] for key in sorted(isolated_atoms)}
    return hash_json(content)
