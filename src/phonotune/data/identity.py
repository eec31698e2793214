"""What makes two frames the same: a key by structure and protocol, a hash by content, a search.

Positions are compared after wrapping them into the cell, and the order of the atoms does not count.
What does count: the choice and orientation of the cell vectors, and the origin.

Hashes round to :data:`GRID`; its steps are powers of two, so that no decimal number of few digits and
no simple fraction lies at the edge of a step. A hash cannot find frames that differ by the rounding of a
file: two close numbers may round to either side. :func:`find_duplicates` compares distances instead.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
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

SAME_POSITION: Final = 2e-5
"""Å: atoms and cell vectors nearer than this are the same (an OUTCAR prints five decimals)."""

_WAVES: Final = 2 * np.pi * np.array([[1, 2, 3], [3, -1, 2], [2, 3, -1]])
_PHASE: Final = 1.0

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
        digest.update(b"|-" if label is None else b"|" + _bytes(label))
    return digest.hexdigest()


def dataset_hash(train: Sequence[Frame], valid: Sequence[Frame], labeller: str) -> str:
    """Return the sha256 of a dataset: which frames train, which validate, and who labelled them.

    The order of the frames and the file they were kept in do not matter; every bit of a label does.

    Parameters
    ----------
    train, valid
        Frames of the two sides.
    labeller
        Name of the labeller; the same numbers by another name are another dataset.
    """
    return hash_of(map(frame_hash, train), map(frame_hash, valid), labeller)


def hash_of(train: Any, valid: Any, labeller: str) -> str:
    """Return :func:`dataset_hash` of the hashes of frames, in any order."""
    return hash_json({"train": sorted(train), "valid": sorted(valid), "labeller": labeller})


class Fingerprints:
    """What tells structures apart that are not nearly equal: about a hundred bytes of each, side by side.

    Kept are which atoms there are, the cell, and three periodic sums over the atoms, smooth in the
    positions and blind to their order.
    """

    def __init__(self) -> None:
        self._contents: dict[bytes, int] = {}
        self._sizes: list[int] = []
        self._content = array("q")
        self._numbers = array("d")

    def __len__(self) -> int:
        return len(self._content)

    def add(self, snapshot: Snapshot) -> None:
        """Append the fingerprint of a structure."""
        content = hashlib.sha256(np.sort(snapshot.numbers).tobytes()).digest()
        if content not in self._contents:
            self._contents[content] = len(self._contents)
            self._sizes.append(len(snapshot.numbers))
        self._content.append(self._contents[content])
        marks = np.cos(snapshot.positions @ _WAVES.T + _PHASE).sum(axis=0)
        self._numbers.extend((*snapshot.cell.ravel().tolist(), *marks.tolist()))

    def groups(self) -> Iterator[tuple[int, IntArray, FloatArray, FloatArray]]:
        """Yield by content: number of atoms, indices, cells (n, 3, 3) in Å, marks (n, 3)."""
        content = np.array(self._content)
        table = np.array(self._numbers).reshape(-1, 12)
        for number, n_atoms in enumerate(self._sizes):
            members = np.flatnonzero(content == number)
            rows = table[members]
            yield n_atoms, members, rows[:, :9].reshape(-1, 3, 3), rows[:, 9:]


def find_duplicates(snapshots: Sequence[Snapshot], tolerance: float = SAME_POSITION) -> list[int]:
    """Find structures that are equal up to periodic images and the order of their atoms.

    Parameters
    ----------
    snapshots
        Structures.
    tolerance
        Å: largest distance of an atom, and of a cell vector's end, between equal structures.

    Returns
    -------
    list of int
        For each structure the index of the first equal one; its own if there is none before it.
    """
    prints = Fingerprints()
    for snapshot in snapshots:
        prints.add(snapshot)
    pairs = close_pairs(prints, tolerance)
    return first_equal(len(snapshots), pairs, snapshots.__getitem__, tolerance)


def first_equal(
    count: int,
    pairs: Iterable[tuple[int, int]],
    snapshot_of: Callable[[int], Snapshot],
    tolerance: float = SAME_POSITION,
) -> list[int]:
    """Return for each of ``count`` structures the index of the first equal one.

    Parameters
    ----------
    count
        Number of structures.
    pairs
        Those that may be equal (:func:`close_pairs`).
    snapshot_of
        Gives a structure of a pair; it is compared atom by atom.
    tolerance
        As in :func:`find_duplicates`.
    """
    first = list(range(count))
    for one, other in pairs:
        if first[one] != one or first[other] != other:
            continue
        if match_atoms(snapshot_of(one), snapshot_of(other), tolerance) is not None:
            first[other] = one
    return first


def close_pairs(prints: Fingerprints, tolerance: float = SAME_POSITION) -> list[tuple[int, int]]:
    """Return pairs of structures that may be equal, ascending by the later one; no equal pair is missed.

    Structures are sorted by a mark, so that only near neighbours are compared: the time grows a little
    faster than their number.
    """
    pairs = []
    for n_atoms, members, cells, marks in prints.groups():
        for here, there in _near(n_atoms, cells, marks, tolerance):
            one, other = sorted((int(members[here]), int(members[there])))
            pairs.append((one, other))
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def match_atoms(
    one: Snapshot, other: Snapshot, tolerance: float = SAME_POSITION
) -> IntArray | None:
    """Return ``order`` such that atom ``order[i]`` of ``other`` is atom i of ``one``; None if unequal."""
    if one.numbers.shape != other.numbers.shape or np.abs(one.cell - other.cell).max() > tolerance:
        return None
    if np.array_equal(one.numbers, other.numbers):
        apart = _lengths(one.positions - other.positions, one.cell)
        if apart.max() <= tolerance:
            return np.arange(len(one.numbers))
    apart = _lengths(one.positions[:, None] - other.positions[None], one.cell)
    apart[one.numbers[:, None] != other.numbers[None]] = np.inf
    order = apart.argmin(axis=1)
    found = apart[np.arange(len(order)), order].max() <= tolerance
    return order if found and len(set(order.tolist())) == len(order) else None


def _lengths(fractional: FloatArray, cell: FloatArray) -> FloatArray:
    """Return the lengths of differences, Å, each component brought within half a cell vector."""
    lengths = np.linalg.norm((fractional - np.rint(fractional)) @ cell, axis=-1)
    return np.asarray(lengths, dtype=np.float64)


def _near(
    n_atoms: int, cells: FloatArray, marks: FloatArray, tolerance: float
) -> Iterator[tuple[int, int]]:
    """Yield the pairs among structures of the same atoms whose cells and marks are close."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cells), axis=1).max(axis=1)
    window = n_atoms * np.abs(_WAVES).sum(axis=1).max() * tolerance / heights.min()
    by_mark = np.argsort(marks[:, 0], kind="stable")
    ends = np.searchsorted(marks[by_mark, 0], marks[by_mark, 0] + window, side="right")
    for place, end in enumerate(ends):
        near = by_mark[place + 1 : end]
        here = int(by_mark[place])
        near = near[np.abs(marks[near] - marks[here]).max(axis=1, initial=0.0) <= window]
        near = near[np.abs(cells[near] - cells[here]).max(axis=(1, 2), initial=0.0) <= tolerance]
        for there in near:
            yield here, int(there)


def _bytes(values: FloatArray) -> bytes:
    """Return little-endian float64 bytes; minus zero counts as zero."""
    return (np.ascontiguousarray(values, dtype="<f8") + 0.0).tobytes()
