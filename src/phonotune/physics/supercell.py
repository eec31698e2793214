"""Supercells: integer matrices, the choice of a cell, and the checks of a structure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import gcd, lcm
from typing import Any, Final

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure
from pymatgen.util.coord import lattice_points_in_supercell

from phonotune.errors import ConfigError, InputError, StructureError
from phonotune.physics.array_keys import ArrayKey, structure_key
from phonotune.ports import FloatArray, IntArray
from phonotune.schemas.base import Matrix3
from phonotune.schemas.masses import mass_property, site_kinds

SHORTEST_DISTANCE: Final[float] = 0.5
"""Two atoms closer than this (Å) overlap."""

FARTHEST: Final[float] = 1e6
"""Fractional coordinates beyond this are no positions, and a search for neighbours would not end."""

LONGEST: Final[float] = 3e3
EMPTIEST: Final[float] = 1e6
"""Longer vectors (Å) or more Å^3 an atom are not those of a crystal; a search for neighbours takes minutes."""

_CENTRINGS: Final[tuple[NDArray[np.int64], ...]] = (
    np.eye(3, dtype=np.int64),
    np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]),
    np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]),
)
_NEIGHBOURS: Final[NDArray[np.int64]] = np.array(
    [n for n in product(range(-2, 3), repeat=3) if any(n)]
)


def as_matrix(value: Sequence[int] | Sequence[Sequence[int]] | NDArray[Any]) -> Matrix3:
    """Return an integer supercell matrix from 3 or 9 integers or a 3x3 array.

    Rows are the supercell vectors in units of the cell vectors (pymatgen's and ASE's convention;
    phonopy's is the transpose).

    Raises
    ------
    ConfigError
        Not 3 or 9 numbers, not integers, or a determinant that is not positive.
    """
    array = np.asarray(value)
    if array.size == 3:
        array = np.diag(array.ravel())
    if array.size != 9 or array.dtype.kind not in "iuf":
        raise ConfigError(
            f"A supercell is 3 or 9 integers; found {value!r}. Give for example 2 2 2."
        )
    rounded = np.rint(array.reshape(3, 3)).astype(np.int64)
    if not np.allclose(rounded, array.reshape(3, 3), atol=1e-8):
        raise ConfigError(f"A supercell matrix holds integers only; found {value!r}.")
    if round(np.linalg.det(rounded)) < 1:
        raise ConfigError(
            f"A supercell matrix needs a positive determinant; {rounded.tolist()} has "
            f"{round(np.linalg.det(rounded))}. Check the order and sign of its rows."
        )
    rows = [tuple(int(x) for x in row) for row in rounded]
    return (rows[0], rows[1], rows[2])  # type: ignore[return-value]


def supercell_matrix(
    structure: Structure, min_length: float = 10.0, max_atoms: int = 300
) -> Matrix3:
    """Return the smallest compact supercell whose periodic images are far apart.

    The candidates are multiples of the given and the conventional cell, with primitive, face- or
    body-centred shape, that keep the crystal's point group (a cell that breaks it costs displacements and
    accuracy). The one with the fewest atoms whose shortest lattice vector reaches ``min_length`` is taken;
    of equal ones, the roundest. Where ``max_atoms`` forbids that length, it is the allowed cell with the
    longest shortest vector.

    Parameters
    ----------
    structure
        The cell to repeat.
    min_length
        Shortest distance between periodic images, Å.
    max_atoms
        Most atoms in the supercell; a structure that is already larger is not repeated.
    """
    return _smallest(structure_key(structure), min_length, max_atoms)


@lru_cache(maxsize=32)
def _smallest(key: ArrayKey[Structure], min_length: float, max_atoms: int) -> Matrix3:
    structure = key.value
    cell = (structure.lattice.matrix, structure.frac_coords, site_kinds(structure))
    dataset = spglib.get_symmetry_dataset(cell, symprec=1e-3)
    rotations = np.eye(3)[None] if dataset is None else dataset.rotations
    conventional = np.eye(3) if dataset is None else np.linalg.inv(dataset.transformation_matrix).T
    bases = [np.eye(3, dtype=np.int64)]
    if np.allclose(conventional, np.rint(conventional), atol=1e-3):
        bases.append(np.rint(conventional).astype(np.int64))

    # matrices within max_atoms; the identity always
    found = {as_matrix(bases[0]): bases[0]}
    for base, centring in product(bases, _CENTRINGS):
        limit = max_atoms / len(structure) / abs(np.linalg.det(base @ centring))
        heights = 1 / np.linalg.norm(np.linalg.inv(base @ structure.lattice.matrix), axis=0)
        tops = np.minimum(np.ceil(min_length / heights) + 1, max(limit, 1)).astype(int)
        for n in product(*(range(1, top + 1) for top in tops)):
            matrix = centring @ np.diag(n) @ base
            if np.prod(n) <= limit + 1e-6 and np.linalg.det(matrix) > 0.5:
                found.setdefault(as_matrix(matrix), matrix)

    # those that keep the point group
    matrices = np.array(list(found.values()))
    inverse = np.linalg.inv(np.swapaxes(matrices, 1, 2))
    turned = np.einsum("cij,rjk,clk->cril", inverse, rotations, matrices)
    kept = np.isclose(turned, np.rint(turned), atol=1e-6).all(axis=(1, 2, 3))
    kept[0] = True
    candidates = matrices[kept]

    cells = candidates @ structure.lattice.matrix
    images = np.linalg.norm(np.einsum("nk,ckx->cnx", _NEIGHBOURS, cells), axis=2).min(axis=1)
    sizes = np.rint(np.linalg.det(candidates)).astype(int)
    roundness = images / np.cbrt(sizes)
    long_enough = images >= min_length - 1e-6
    ranks = [
        (
            not good,
            size if good else 0,
            -round(r if good else image, 6),
            bool(np.any(m - np.diag(np.diag(m)))),
            i,
        )
        for i, (good, size, r, image, m) in enumerate(
            zip(long_enough, sizes, roundness, images, candidates, strict=True)
        )
    ]
    return as_matrix(candidates[min(ranks)[-1]])


def lattice_translations(matrix: Matrix3) -> IntArray:
    """Return the cells inside a supercell as lattice translations.

    Returns
    -------
    shape (n_cells, 3), in units of the cell vectors; the first is zero.
    """
    rows = np.array(matrix)
    points = np.rint(lattice_points_in_supercell(rows) @ rows).astype(np.int64)
    order = np.lexsort(points.T[::-1])
    origin = int(np.flatnonzero(~points[order].any(axis=1))[0])
    return np.roll(points[order], -origin, axis=0)


def make_supercell(structure: Structure, matrix: Matrix3) -> Structure:
    """Repeat a cell: site by site, each with its images in the order of :func:`lattice_translations`.

    Fractional coordinates are not wrapped, so that the n-th image of a site is that site plus the n-th
    translation. phonopy's order is different: never mix the two.
    """
    shifts = lattice_translations(matrix) @ structure.lattice.matrix
    return Structure(
        Lattice(np.array(matrix) @ structure.lattice.matrix),
        [site.specie.symbol for site in structure for _ in shifts],
        (structure.cart_coords[:, None, :] + shifts[None]).reshape(-1, 3),
        coords_are_cartesian=True,
        site_properties={
            name: [mass for mass in masses for _ in shifts]
            for name, masses in mass_property(structure).items()
        },
    )


def displaced(structure: Structure, displacements: FloatArray) -> Structure:
    """Return a structure with displaced atoms; positions are not wrapped.

    Parameters
    ----------
    structure
        The undisplaced atoms.
    displacements
        shape (n_atoms, 3), Å, Cartesian.
    """
    return Structure(
        structure.lattice,
        structure.species_and_occu,
        structure.cart_coords + displacements,
        coords_are_cartesian=True,
        site_properties=mass_property(structure),
    )


def commensurate_matrix(
    q: Sequence[float], max_size: int = 16, lattice: Lattice | None = None
) -> Matrix3:
    """Return the smallest supercell in which a wave of wavevector q is periodic.

    The lattice vectors R with integer q·R form a sublattice whose index is the common denominator of q.
    It is found among the Hermite normal forms and returned in its most compact (LLL-reduced) basis.

    Parameters
    ----------
    q
        Wavevector in reciprocal vectors of the cell, rational with a small denominator.
    max_size
        Most cells in the supercell.
    lattice
        Lattice of the cell, by which compactness is judged; cubic if not given.

    Raises
    ------
    InputError
        q needs more than ``max_size`` cells.
    """
    parts = [Fraction(float(x)).limit_denominator(max_size) for x in q]
    size = lcm(*(p.denominator for p in parts))
    if size > max_size or not np.allclose([float(p) for p in parts], q, atol=1e-5):
        raise InputError(
            f"q = {[round(float(x), 5) for x in q]} is not commensurate with a supercell of at "
            f"most {max_size} cells. Choose a q-point with a smaller denominator or raise max_size."
        )
    metric = np.eye(3) if lattice is None else lattice.matrix
    for form in _hermite_forms(size):
        if all(
            sum(n * p for n, p in zip(row, parts, strict=True)).denominator == 1 for row in form
        ):
            reduced = Lattice(np.array(form) @ metric).get_lll_reduced_lattice()
            matrix = np.rint(reduced.matrix @ np.linalg.inv(metric)).astype(np.int64)
            return as_matrix(matrix if np.linalg.det(matrix) > 0 else -matrix)
    raise InputError(f"No supercell of {size} cells holds q = {list(q)}.")


def _hermite_forms(size: int) -> Iterable[list[list[int]]]:
    """Yield the sublattices of an index, one Hermite normal form (rows) each."""
    for a in (n for n in range(1, size + 1) if size % n == 0):
        for b in (n for n in range(1, size // a + 1) if (size // a) % n == 0):
            c = size // a // b
            for i, j, k in product(range(b), range(c), range(c)):
                yield [[a, i, j], [0, b, k], [0, 0, c]]


def formula_units(structure: Structure) -> int:
    """Return how many reduced formula units the cell holds (an element counts per atom)."""
    amounts = [round(n) for n in structure.composition.get_el_amt_dict().values()]
    return gcd(*amounts)


def check_structure(
    structure: Structure, elements: Iterable[str] | None = None, owner: str = ""
) -> None:
    """Refuse a structure that no evaluator can handle.

    Parameters
    ----------
    structure
        The crystal.
    elements
        Symbols that the foundation model knows; None skips that check.
    owner
        Name of the model, for the message.

    Raises
    ------
    StructureError
        No atoms, disorder, NaN, atoms far outside the cell, a flat, left-handed or nearly empty cell,
        overlapping atoms, unknown element.
    """
    if len(structure) == 0:
        raise StructureError("The structure holds no atoms; give a crystal with at least one.")
    if not structure.is_ordered:
        raise StructureError(
            f"{structure.formula} has partly occupied sites; give an ordered structure."
        )
    cell: FloatArray = structure.lattice.matrix
    if not (np.isfinite(cell).all() and np.isfinite(structure.frac_coords).all()):
        raise StructureError(
            f"Cell or positions of {structure.formula} hold NaN or infinity; check the file."
        )
    if np.abs(structure.frac_coords).max() > FARTHEST:
        raise StructureError(
            f"An atom of {structure.formula} stands more than {FARTHEST:g} cell vectors away; check the file."
        )
    volume = float(np.linalg.det(cell))
    if abs(volume) < 1e-3 or abs(volume) / len(structure) < 0.5:
        raise StructureError(
            f"The cell of {structure.formula} has {abs(volume):.3g} Å^3 for {len(structure)} "
            "atoms; give three independent vectors in Å."
        )
    if volume < 0:
        raise StructureError(
            f"The cell of {structure.formula} is left-handed; swap two of its vectors."
        )
    longest = max(structure.lattice.abc)
    if longest > LONGEST or volume > EMPTIEST * len(structure):
        raise StructureError(
            f"The cell of {structure.formula} is {longest:.4g} Å long and has {volume:.3g} Å^3 for "
            f"{len(structure)} atoms; at most {LONGEST:g} Å and {EMPTIEST:g} Å^3 an atom are allowed. Check "
            "the file and its unit."
        )
    far = np.abs(structure.frac_coords).max() > 2.0  # the search takes a grid from atom to atom
    inside = Structure.from_sites(structure.sites, to_unit_cell=True) if far else structure
    centres, neighbours, _, distances = inside.get_neighbor_list(r=SHORTEST_DISTANCE)
    if len(distances):
        worst = int(np.argmin(distances))
        i, j = int(centres[worst]), int(neighbours[worst])
        raise StructureError(
            f"Atoms {i} ({structure[i].specie.symbol}) and {j} ({structure[j].specie.symbol}) are "
            f"{distances[worst]:.3f} Å apart; at least {SHORTEST_DISTANCE} Å is needed. "
            "Remove the duplicate or check the coordinates."
        )
    if elements is not None:
        known = set(elements)
        foreign = sorted({site.specie.symbol for site in structure} - known)
        if foreign:
            listed = ", ".join(sorted(known, key=lambda s: Element(s).Z))
            raise StructureError(
                f"{', '.join(foreign)} in {structure.reduced_formula} is unknown to the foundation "
                f"{owner or 'model'}; it knows {listed}. Choose another foundation."
            )
