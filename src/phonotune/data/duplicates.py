"""Structures that occur twice, equal up to periodic images and the order of their atoms.

Two structures are compared by the distances of their atoms; fingerprints say which two are worth it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from phonotune.data.identity import IntArray, Snapshot
from phonotune.data.statistics import protocol_name
from phonotune.errors import FramesError

if TYPE_CHECKING:
    from phonotune.ports import FloatArray
    from phonotune.schemas.dataset import Frame

SAME_POSITION: Final = 2e-5
"""Å: atoms and cell vectors nearer than this are the same (an OUTCAR prints five decimals)."""
SAME_ENERGY: Final = 1e-4
"""eV/atom: labels of one structure that differ by more contradict each other."""
SAME_FORCE: Final = 1e-3
"""eV/Å: as SAME_ENERGY, for any force component."""
SAME_STRESS: Final = 1e-4
"""eV/Å^3: as SAME_ENERGY, for any stress component."""

_WAVES: Final = 2 * np.pi * np.array([[1, 2, 3], [3, -1, 2], [2, 3, -1]])
_PHASE: Final = 1.0


class DuplicateSearch:
    """Finds equal structures among those added; about a hundred bytes of each stay in memory.

    Kept are which atoms there are, the cell, and three periodic sums over the atoms, smooth in the
    positions and blind to their order.

    Parameters
    ----------
    tolerance
        Å: largest distance of an atom, and of a cell vector's end, between equal structures.
    """

    def __init__(self, tolerance: float = SAME_POSITION) -> None:
        self._tolerance = tolerance
        self._contents: dict[bytes, int] = {}
        self._sizes: list[int] = []
        self._content = array("q")
        self._numbers = array("d")

    def __len__(self) -> int:
        return len(self._content)

    def add(self, snapshot: Snapshot) -> None:
        """Add a structure."""
        content = hashlib.sha256(np.sort(snapshot.numbers).tobytes()).digest()
        if content not in self._contents:
            self._contents[content] = len(self._contents)
            self._sizes.append(len(snapshot.numbers))
        self._content.append(self._contents[content])
        marks = np.cos(snapshot.positions @ _WAVES.T + _PHASE).sum(axis=0)
        self._numbers.extend((*snapshot.cell.ravel().tolist(), *marks.tolist()))

    def first_equal(self, snapshots_at: Callable[[set[int]], Mapping[int, Snapshot]]) -> list[int]:
        """Return for each structure the index of the first equal one; its own if none is before it.

        Parameters
        ----------
        snapshots_at
            Gives the structures with these indices, which are compared atom by atom.
        """
        pairs = sorted(self._close_pairs(), key=lambda pair: (pair[1], pair[0]))
        close = snapshots_at({index for pair in pairs for index in pair})
        first = list(range(len(self)))
        for one, other in pairs:
            if first[one] != one or first[other] != other:
                continue
            if match_atoms(close[one], close[other], self._tolerance) is not None:
                first[other] = one
        return first

    def _close_pairs(self) -> Iterator[tuple[int, int]]:
        """Yield the pairs of structures that may be equal; no equal pair is missed.

        Structures are sorted by a mark, so that only near neighbours are compared: the time grows a
        little faster than their number.
        """
        content = np.array(self._content)
        table = np.array(self._numbers).reshape(-1, 12)
        for number, n_atoms in enumerate(self._sizes):
            members = np.flatnonzero(content == number)
            cells, marks = table[members, :9].reshape(-1, 3, 3), table[members, 9:]
            heights = 1.0 / np.linalg.norm(np.linalg.inv(cells), axis=1).max(axis=1)
            window = n_atoms * np.abs(_WAVES).sum(axis=1).max() * self._tolerance / heights.min()
            by_mark = np.argsort(marks[:, 0], kind="stable")
            ends = np.searchsorted(marks[by_mark, 0], marks[by_mark, 0] + window, side="right")
            for place, end in enumerate(ends):
                here, near = by_mark[place], by_mark[place + 1 : end]
                near = near[np.abs(marks[near] - marks[here]).max(axis=1, initial=0.0) <= window]
                apart = np.abs(cells[near] - cells[here]).max(axis=(1, 2), initial=0.0)
                for there in near[apart <= self._tolerance]:
                    one, other = sorted((int(members[here]), int(members[there])))
                    yield one, other


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
    """Return the lengths, Å, of fractional differences, each component within half a cell vector."""
    lengths = np.linalg.norm((fractional - np.rint(fractional)) @ cell, axis=-1)
    return np.asarray(lengths, dtype=np.float64)


def richer_copies(first: Sequence[int], frames: Mapping[int, Frame]) -> dict[int, Frame]:
    """Return, by the index of a kept frame, the copy with more labels that takes its place.

    Parameters
    ----------
    first
        For each frame the index of the first equal one.
    frames
        By its index, every frame that has a copy or is one.

    Raises
    ------
    FramesError
        Labels of one structure that contradict each other.
    """
    richer: dict[int, Frame] = {}
    for index, one in enumerate(first):
        if index == one:
            continue
        known, frame = richer.get(one, frames[one]), frames[index]
        _check_agreement(known, frame)
        if _n_labels(frame) > _n_labels(known):
            richer[one] = replace(frame, group=known.group)
    return richer


def _n_labels(frame: Frame) -> int:
    labels = (frame.energy, frame.forces, frame.stress, frame.magmoms)
    return sum(label is not None for label in labels)


def _check_agreement(first: Frame, second: Frame) -> None:
    def told(frame: Frame) -> str:
        return f"{frame.origin or 'a frame'} ({protocol_name(frame)})"

    off = {}
    if first.energy is not None and second.energy is not None:
        per_atom = abs(first.energy - second.energy) / len(first.structure)
        off["energies"] = (per_atom, SAME_ENERGY, "eV/atom")
    if first.forces is not None and second.forces is not None:
        order = match_atoms(Snapshot.of(first.structure), Snapshot.of(second.structure))
        again = second.forces if order is None else second.forces[order]
        off["forces"] = (float(np.abs(first.forces - again).max()), SAME_FORCE, "eV/Å")
    if first.stress is not None and second.stress is not None:
        off["stresses"] = (float(np.abs(first.stress - second.stress).max()), SAME_STRESS, "eV/Å^3")
    for name, (difference, allowed, unit) in off.items():
        if difference > allowed:
            raise FramesError(
                f"One structure has two labels: the {name} of {told(first)} and {told(second)} differ "
                f"by {difference:.3g} {unit} (at most {allowed:g}). Keep the frames of one labeller "
                "and one set-up."
            )
