"""The space group of a crystal: its name, its standard cell, forces projected on it, ions it leaves free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from phonotune.errors import StructureError
from phonotune.physics.supercell import displaced
from phonotune.ports import Evaluation, FloatArray, IntArray
from phonotune.schemas.masses import isotope_masses, site_kinds, with_masses

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
    cell, positions, kinds = found
    masses = isotope_masses(structure)
    own = dict(zip(site_kinds(structure), masses, strict=True)) if masses else {}
    made = Structure(Lattice(cell), [int(kind) % 1000 for kind in kinds], positions)
    return with_masses(made, [own[int(kind)] for kind in kinds]) if own else made


def symmetry_operations(structure: Structure, symprec: float) -> Operations:
    """Return the operations of a crystal as Cartesian rotations and permutations of its atoms.

    If none is found, only the identity is returned.
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

    A relaxation with projected forces keeps the symmetry of its start: rounding errors cannot push a crystal
    off a saddle point.

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


def free_displacements(structure: Structure, symprec: float) -> FloatArray:
    """Return a basis of the displacements that every symmetry operation leaves unchanged.

    Uniform translations are left out. A crystal without such displacements (rock salt, perovskite)
    has no ions to relax when its cell is scaled; one with some (quartz, pyrite) has.

    Parameters
    ----------
    structure
        The crystal.
    symprec
        Symmetry tolerance, Å.

    Returns
    -------
    shape (n_free, 3 n_atoms), orthonormal, Cartesian.
    """
    n = len(structure)
    analyzer = SpacegroupAnalyzer(structure, symprec=symprec)
    projector = np.zeros((n, 3, n, 3))
    operations = analyzer.get_symmetry_operations(cartesian=True)
    for operation in operations:
        moved = operation.operate_multi(structure.cart_coords)
        scaled = structure.lattice.get_fractional_coords(moved)
        offsets = structure.lattice.get_all_distances(scaled, structure.frac_coords)
        images = np.argmin(offsets, axis=1)
        projector[images, :, np.arange(n), :] += operation.rotation_matrix / len(operations)
    uniform = np.tile(np.eye(3), (n, 1)) / np.sqrt(n)
    internal = np.eye(3 * n) - uniform @ uniform.T
    # the projector on free displacements has eigenvalues 0 and 1
    values, vectors = np.linalg.eigh(internal @ projector.reshape(3 * n, 3 * n) @ internal)
    return np.asarray(vectors[:, values > 0.5].T)


def keep_symmetry(start: Structure, relaxed: Structure, free: FloatArray) -> Structure:
    """Return the relaxed crystal without displacements that break the symmetry of the start.

    Parameters
    ----------
    start
        The cell before its ions relaxed.
    relaxed
        The same cell, sites in the same order, positions not wrapped.
    free
        :func:`free_displacements` of the crystal.
    """
    moves = (relaxed.cart_coords - start.cart_coords).ravel()
    kept = (free.T @ (free @ moves)).reshape(-1, 3)
    return displaced(start, kept)


def _ask(question: Callable[..., Any], structure: Structure, **settings: Any) -> Any:
    """Return spglib's answer, or None if it has none, which its versions report in different ways."""
    cell = (structure.lattice.matrix, structure.frac_coords, site_kinds(structure))
    try:
        return question(cell, **settings)
    except _SPGLIB_ERROR:
        return None


def _no_symmetry(structure: Structure, symprec: float) -> StructureError:
    return StructureError(
        f"spglib finds no space group of {structure.formula} with symprec {symprec} Å; even P1 "
        "needs atoms farther apart than that. Give a smaller symprec."
    )
