"""The frames of the toy pair: strained and rattled supercells of a relaxed crystal. numpy and ase only.

A frame depends on nothing but its crystal's name, its kind and its number, so that an interrupted run
draws the same frames again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.neighborlist import neighbor_list

HELD_OUT = frozenset(
    {"CaSe", "RbBr", "GaP", "CaZrO3", "Na2Se", "RbCaF3", "GeO2", "SrF2", "ZrNiSn", "CsI"}
)
"""Formulas, in pymatgen's order, of which nothing is trained on: one in each of ten families."""
FIRST = (
    "rocksalt-NaCl", "rocksalt-MgO", "rocksalt-KCl", "diamond-Si", "diamond-C", "fcc-Al",
    "zincblende-GaAs", "fluorite-CaF2", "D0_3-K3Sb", "perovskite-BaTiO3", "perovskite-SrTiO3",
    "perovskite-CaTiO3", "perovskite-KNbO3", "GeS-SnSe", "wurtzite-ZnO", "zincblende-ZnO",
)  # fmt: skip
"""Crystals of the project's demos and studies: labelled before all others, with twice the frames."""
VALIDATION_SHARE = 0.06


@dataclass(frozen=True)
class Kind:
    """How one kind of frame is drawn.

    Attributes
    ----------
    count
        Frames of a crystal; twice as many for those of `FIRST`.
    atoms
        Fewest and most atoms of a supercell; never fewer than the primitive cell holds.
    volume, shear
        Largest relative change of the volume, and largest component of the traceless strain.
    rattle
        Standard deviation of every coordinate, Å: log-uniform between the two; (0, 0) for none.
    """

    count: int
    atoms: tuple[int, int]
    volume: float
    shear: float
    rattle: tuple[float, float]


KINDS = {
    "near": Kind(8, (12, 40), 0.015, 0.005, (0.01, 0.03)),
    "thermal": Kind(9, (4, 32), 0.06, 0.02, (0.03, 0.15)),
    "strained": Kind(4, (1, 14), 0.08, 0.03, (0.0, 0.0)),
    "large": Kind(1, (40, 64), 0.0, 0.0, (0.02, 0.04)),
    "polar": Kind(6, (5, 5), 0.03, 0.01, (0.01, 0.04)),
}
"""`near` carries the force constants, `thermal` anharmonicity, `strained` the equation of state and elasticity,
`large` the long-range part, `polar` the ferroelectric wells of cubic perovskites, which random frames miss."""
LARGEST_RATTLE = 0.05
"""Of the shortest distance: stiff crystals have short bonds, and their atoms move less."""
_OBLIQUE = ([[-1, 1, 1], [1, -1, 1], [1, 1, -1]], [[0, 1, 1], [1, 0, 1], [1, 1, 0]],
            [[1, 1, 0], [1, -1, 0], [0, 0, 1]], [[1, 1, 0], [1, -1, 0], [0, 0, 2]])  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One frame; rattle in Å."""

    kind: str
    number: int
    rattle: float
    atoms: Atoms


def formula_of(name: str) -> str:
    """The formula at the end of a crystal's name."""
    return name.rsplit("-", 1)[-1]


def split_of(name: str, kind: str, number: int) -> str:
    """`train`, `validation` (frames) or `held_out` (crystals); by hash, never by a position in a list."""
    if formula_of(name) in HELD_OUT:
        return "held_out"
    share = int.from_bytes(_digest("split", name, kind, number)[:4], "little") / 2**32
    return "validation" if share < VALIDATION_SHARE else "train"


def frames(name: str, relaxed: Atoms) -> Iterator[Frame]:
    """Draw all frames of one crystal around its relaxed primitive cell."""
    largest = LARGEST_RATTLE * shortest_distance(relaxed)
    for kind, plan in KINDS.items():
        if kind == "polar" and not (name.startswith("perovskite-") and len(relaxed) == 5):
            continue
        for number in range(plan.count * (2 if name in FIRST else 1)):
            seed = int.from_bytes(_digest(name, kind, number)[:8], "little")
            yield _frame(relaxed, kind, number, largest, np.random.default_rng(seed))


def _digest(*words: object) -> bytes:
    return sha256("/".join(map(str, words)).encode()).digest()


def _frame(
    relaxed: Atoms, kind: str, number: int, largest: float, rng: np.random.Generator
) -> Frame:
    plan = KINDS[kind]
    atoms = make_supercell(relaxed, supercell_matrix(relaxed, plan.atoms, rng))
    shear = rng.uniform(-plan.shear, plan.shear, (3, 3)) * (number % 3 != 0)
    shear = 0.5 * (shear + shear.T)
    shear -= np.eye(3) * np.trace(shear) / 3
    scale = (1 + rng.uniform(-plan.volume, plan.volume)) ** (1 / 3)
    atoms.set_cell(atoms.cell.array @ (scale * (np.eye(3) + shear)), scale_atoms=True)
    if kind == "polar":
        _shift_cation(atoms, number, rng)
    low, high = plan.rattle
    if high == 0.0:
        return Frame(kind, number, 0.0, atoms)
    high = max(low, min(high, largest))
    rattle = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    atoms.positions += rng.normal(0.0, rattle, (len(atoms), 3))
    return Frame(kind, number, rattle, atoms)


def _shift_cation(atoms: Atoms, number: int, rng: np.random.Generator) -> None:
    """Move the octahedral cation of a five-atom perovskite against its anions, by up to 0.25 Å in all."""
    anion = max(set(atoms.symbols), key=list(atoms.symbols).count)
    anions = np.array([symbol == anion for symbol in atoms.symbols])
    distances = atoms.get_all_distances(mic=True)[:, anions].min(axis=1) + 9.0 * anions
    axis = np.array([(0, 0, 1), (0, 1, 1), (1, 1, 1)][number % 3]) + rng.normal(0, 0.15, 3)
    shift = rng.uniform(0.0, 0.25) * axis / np.linalg.norm(axis)
    share = rng.uniform(0.5, 0.9)
    atoms.positions[int(np.argmin(distances))] += share * shift
    atoms.positions[anions] -= (1 - share) * shift


def supercell_matrix(cell: Atoms, atoms: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a supercell of `atoms` (fewest, most) atoms; compact ones are likelier.

    The weight of a supercell is the third power of its thinnest layer's thickness, relative to a cube of
    its volume. If none has a size in that range the primitive cell is taken.
    """
    candidates = [np.diag(d) for d in product((1, 2, 3, 4), repeat=3)]
    candidates += [np.array(m) @ np.diag(d) for m in _OBLIQUE for d in ((1, 1, 1), (2, 2, 2))]
    sizes = np.array([round(abs(np.linalg.det(m))) * len(cell) for m in candidates])
    fitting = [m for m, n in zip(candidates, sizes, strict=True) if atoms[0] <= n <= atoms[1]]
    if not fitting:
        return np.eye(3, dtype=int)
    lattices = [m @ cell.cell.array for m in fitting]
    thickness = np.array([1 / np.linalg.norm(np.linalg.inv(x), axis=0).max() for x in lattices])
    weights = thickness**3 / np.array([abs(np.linalg.det(x)) for x in lattices])
    return np.asarray(fitting[rng.choice(len(fitting), p=weights / weights.sum())])


def shortest_distance(atoms: Atoms) -> float:
    """Shortest distance between atoms, Å; 6 if none is closer."""
    return float(min([6.0, *neighbor_list("d", atoms, 6.0)]))
