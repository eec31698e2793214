"""The space group of a crystal: its name, its standard cell, and forces projected on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from phonotune.errors import StructureError
from phonotune.ports import Evaluation, FloatArray, IntArray

_SPGLIB_ERROR: Final[type[Exception]] = getattr(spglib, "SpglibError", RuntimeError)


@dataclass(frozen=True)
class SpaceGroup:
    """A space group type.

    Attributes
    ----------
    symbol
        Hermann-Mauguin symbol, e.g. ``"P4mm"``.
    number
        1 to 230.
    """

    symbol: str
    number: int


@dataclass(frozen=True, eq=False)
class Operations:
    """The symmetry operations of one crystal, translations of a supercell included.

    Attributes
    ----------
    rotations
        shape (n_ops, 3, 3), Cartesian: a row vector v becomes ``v @ rotations[n]``.
    images
        shape (n_ops, n_atoms), the atom that each atom is sent to.
    """

    rotations: FloatArray
    images: IntArray


def space_group(structure: Structure, symprec: float) -> SpaceGroup:
    """Return the space group type by spglib.

    Parameters
    ----------
    structure
        The crystal.
    symprec
        Tolerance on positions, Å.

    Raises
    ------
    StructureError
        spglib finds no symmetry at this tolerance.
    """
    found = _ask(spglib.get_symmetry_dataset, structure, symprec=symprec)
    if found is None:
        raise _no_symmetry(structure, symprec)
    return SpaceGroup(str(found.international), int(found.number))


def standard_primitive(structure: Structure, symprec: float) -> Structure:
    """Return the standardised, idealised primitive cell (spglib's; it may be turned in space).

    Raises
    ------
    StructureError
        spglib finds no symmetry at this tolerance.
    """
    found = _ask(
        spglib.standardize_cell, structure, to_primitive=True, no_idealize=False, symprec=symprec
    )
    if found is None:
        raise _no_symmetry(structure, symprec)
    cell, positions, numbers = found
    return Structure(Lattice(cell), [int(z) for z in numbers], positions)


def count_operations(structure: Structure, symprec: float) -> int:
    """Return how many operations the space group has in the cell given, its translations included."""
    found = _ask(spglib.get_symmetry, structure, symprec=symprec)
    return 1 if found is None else len(found["rotations"])


def symmetry_operations(structure: Structure, symprec: float) -> Operations:
    """Return the operations of a crystal as Cartesian rotations and permutations of its atoms.

    Without any found, the identity alone.
    """
    lattice, x = structure.lattice.matrix, structure.frac_coords
    found = _ask(spglib.get_symmetry, structure, symprec=symprec)
    if found is None:
        return Operations(np.eye(3)[None], np.arange(len(structure))[None])
    back = np.linalg.inv(lattice)
    images = []
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        offsets = (x @ rotation.T + shift)[:, None] - x[None]
        offsets -= np.rint(offsets)
        images.append(np.argmin(np.sum((offsets @ lattice) ** 2, axis=2), axis=1))
    turned = np.swapaxes(np.asarray(found["rotations"], dtype=float), 1, 2)
    return Operations(back @ turned @ lattice, np.array(images))


def symmetrised(structure: Structure, answer: Evaluation, symprec: float) -> Evaluation:
    """Return an answer with forces and stress projected on the symmetry of its structure.

    A relaxation on projected forces keeps the symmetry it starts with: rounding errors cannot push
    a crystal off a saddle point.

    Parameters
    ----------
    structure
        What was evaluated.
    answer
        Its energy, forces and stress; the spread is not kept.
    symprec
        Tolerance on positions, Å.
    """
    operations = symmetry_operations(structure, symprec)
    forces = np.zeros_like(answer.forces)
    for rotation, images in zip(operations.rotations, operations.images, strict=True):
        forces[images] += answer.forces @ rotation
    turned = operations.rotations
    stress = answer.stress
    if stress is not None:
        stress = np.mean(np.swapaxes(turned, 1, 2) @ stress @ turned, axis=0)
    return Evaluation(answer.energy, forces / len(turned), stress)


def _ask(question: Callable[..., Any], structure: Structure, **settings: Any) -> Any:
    """Return spglib's answer, None where it has none: its versions differ in how they say so."""
    cell = (structure.lattice.matrix, structure.frac_coords, list(structure.atomic_numbers))
    try:
        return question(cell, **settings)
    except _SPGLIB_ERROR:
        return None


def _no_symmetry(structure: Structure, symprec: float) -> StructureError:
    return StructureError(
        f"spglib finds no space group of {structure.formula} with symprec {symprec} Å; even P1 "
        "needs atoms farther apart than that. Give a smaller symprec."
    )
