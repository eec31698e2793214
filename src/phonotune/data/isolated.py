"""Isolated atoms: their energies are the atomic energies E0, and they are never frames to train on.

Training files of MACE and GAP hold them as frames of one atom with ``config_type=IsolatedAtom``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pymatgen.core import Lattice, Structure

from phonotune.data.duplicates import SAME_ENERGY
from phonotune.errors import FramesError
from phonotune.schemas.dataset import Frame

if TYPE_CHECKING:
    from ase import Atoms

CONFIG_TYPE: Final = "IsolatedAtom"
"""What ``config_type`` calls such a frame, in any case of letters and with any dashes."""
NEIGHBOURS: Final = 6.0
"""Å: an atom without a neighbour, or image of its own, within this distance is isolated."""
BOX: Final = 20.0
"""Å: edge of the cell that an isolated atom is written with if it has none of its own."""


def has_volume(atoms: Atoms) -> bool:
    """Return whether the cell of an image has three independent vectors of a sensible length."""
    with np.errstate(all="ignore"):
        return 1e-3 < abs(float(np.linalg.det(atoms.cell.array))) < 1e12


def is_isolated(structure: Structure) -> bool:
    """Return whether a structure is one atom without a neighbour within :data:`NEIGHBOURS`."""
    return len(structure) == 1 and not len(structure.get_neighbor_list(NEIGHBOURS)[3])


def isolated_atom(atoms: Atoms, where: str) -> Structure | None:
    """Return the structure of an image that is an isolated atom, by name or by its cell; None if it is none.

    Parameters
    ----------
    atoms
        An image as ASE sees it; without a cell, or not periodic, one atom is isolated.
    where
        The frame, for messages.

    Raises
    ------
    FramesError
        Several atoms are called an isolated one.
    """
    said = str(atoms.info.get("config_type", ""))
    named = "".join(filter(str.isalnum, said)).lower() == CONFIG_TYPE.lower()
    if named and len(atoms) != 1:
        raise FramesError(
            f"{where}: config_type is {said}, but there are {len(atoms)} atoms; an isolated atom is one."
        )
    if len(atoms) != 1 or not 1 <= atoms.numbers[0] <= 118:
        return None
    species = [int(atoms.numbers[0])]
    if atoms.pbc.all() and has_volume(atoms):
        structure = Structure(
            Lattice(atoms.cell.array), species, atoms.positions, coords_are_cartesian=True
        )
        if is_isolated(structure):
            return structure
    return _boxed(species) if named or not atoms.pbc.any() else None


def _boxed(species: list[Any]) -> Structure:
    return Structure(Lattice.cubic(BOX), species, [[0.0, 0.0, 0.0]])


class IsolatedAtoms:
    """Collects the energies of isolated atoms, one per element.

    Attributes
    ----------
    energies
        eV by symbol.
    """

    def __init__(self, energies: Mapping[str, float] | None = None) -> None:
        self.energies = dict(energies or {})
        self._origins = dict.fromkeys(self.energies, "the dataset")

    def __len__(self) -> int:
        return len(self.energies)

    def __str__(self) -> str:
        listed = ", ".join(f"{symbol} {energy:g} eV" for symbol, energy in self.energies.items())
        return f"Isolated atoms give the atomic energies E0 and do not train: {listed}."

    def take(self, frame: Frame) -> bool:
        """Take the energy of a frame if it is an isolated atom; return whether it is one.

        Raises
        ------
        FramesError
            It has no energy, or another than the one before of the same element.
        """
        if not is_isolated(frame.structure):
            return False
        symbol, origin = frame.structure[0].specie.symbol, frame.origin or "a frame"
        if frame.energy is None:
            raise FramesError(
                f"{origin} is an isolated atom of {symbol} without an energy; label it or leave it out."
            )
        known = self.energies.setdefault(symbol, frame.energy)
        first = self._origins.setdefault(symbol, origin)
        if abs(known - frame.energy) > SAME_ENERGY:
            raise FramesError(
                f"An isolated atom of {symbol} has two energies: {known:g} eV ({first}) and "
                f"{frame.energy:g} eV ({origin}). Keep the one of the set-up that labelled the frames."
            )
        return True

    def left_out(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames that are no isolated atoms, and take those that are."""
        return (frame for frame in frames if not self.take(frame))

    def frames(self) -> Iterator[Frame]:
        """Yield a frame for each atom, as files of frames hold them."""
        for symbol, energy in self.energies.items():
            yield Frame(
                _boxed([symbol]),
                energy,
                np.zeros((1, 3)),
                group=CONFIG_TYPE,
                origin=f"isolated {symbol}",
            )
