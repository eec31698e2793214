"""What is tested of a potential before it gets a name: elements, smoothness, precision, repeatability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from scipy.spatial.transform import Rotation

from phonotune.errors import FoundationError, PhonotuneError
from phonotune.ports import Evaluate
from phonotune.schemas.potential import PotentialTests

if TYPE_CHECKING:
    from pymatgen.core import Structure

DISPLACEMENTS: Final = (0.002, 0.01, 0.03)
"""Å: the smallest that people use for phonons, phonopy's default, and one that is large for most crystals."""
SMOOTH: Final = (0.01, 0.05)
"""How far the stiffness over each displacement but the last may differ from the next, as a share: the last one
has some anharmonicity of the crystal itself."""
FLOAT64: Final = 1e-8
FLOAT32: Final = 2e-4
"""Largest scatter of a force (eV/Å) that arithmetic of that precision explains."""
CONSERVATIVE: Final = 1e-3
"""Largest difference of a mean force and -ΔE/Δx, eV/Å."""
_CRYSTALS: Final = (
    *(("NaCl", "rocksalt", 5.64), ("MgO", "rocksalt", 4.21), ("Si", "diamond", 5.43)),
    *(("Al", "fcc", 4.05), ("Cu", "fcc", 3.61), ("Fe", "bcc", 2.87)),
)
_RATTLE: Final = 0.02


def known_elements(evaluate: Evaluate) -> tuple[str, ...]:
    """Return the chemical symbols that a potential answers, tried one by one: an fcc crystal of each.

    Raises
    ------
    FoundationError
        It answers none.
    """
    found = []
    for symbol in chemical_symbols[1:95]:
        try:
            evaluate([_structure(_close_packed(symbol))])
        except PhonotuneError:
            continue
        found.append(symbol)
    if not found:
        raise FoundationError(
            "The potential gave no answer for an fcc crystal of any element. State what it knows with "
            "--elements, e.g. --elements Na,Cl."
        )
    return tuple(found)


def crystal_of(elements: Sequence[str]) -> Atoms:
    """Return a cell of known elements: rock salt if it can be, else what a list has, else fcc."""
    for name, kind, length in _CRYSTALS:
        cell = bulk(name, kind, a=length, cubic=True)
        if set(cell.symbols) <= set(elements):
            return cell
    return _close_packed(elements[0])


def check_potential(
    evaluate: Evaluate, elements: Sequence[str], tell: Callable[[str], None] = lambda _: None
) -> PotentialTests:
    """Evaluate one crystal, a little rattled, in thirteen ways.

    Parameters
    ----------
    evaluate
        Answers structures.
    elements
        Chemical symbols that it knows.
    tell
        Called with what is being done.

    Raises
    ------
    PhonotuneError
        It gave no answer, or NaN or infinity.
    """
    cell = crystal_of(elements)
    tell(f"{cell.get_chemical_formula()}, {len(cell)} atoms")
    rng = np.random.default_rng(0)
    cell.positions += rng.normal(0.0, _RATTLE, cell.positions.shape)
    direction = np.array([1.0, 2.0, 3.0]) / np.sqrt(14.0)

    def displaced(step: float) -> Structure:
        moved = cell.copy()
        moved.positions[0] += step * direction
        return _structure(moved)

    def turned(rotation: np.ndarray) -> Structure:
        moved = cell.copy()
        moved.set_cell(cell.cell.array @ rotation.T)
        moved.positions = cell.positions @ rotation.T + rng.uniform(0.0, 1.0, 3)
        return _structure(moved)

    steps = [sign * step for step in DISPLACEMENTS for sign in (-1.0, 1.0)]
    asked = [_structure(cell), *map(displaced, steps)]
    rotations = Rotation.random(5, rng).as_matrix()
    asked += [turned(rotation) for rotation in rotations]
    answers = evaluate([*asked, asked[0]])
    first, again = answers[0], answers[-1]
    along = [float(answer.forces[0] @ direction) for answer in answers[1:7]]
    pairs = list(zip(along[::2], along[1::2], DISPLACEMENTS, strict=True))
    stiffness = tuple((below - above) / (2.0 * step) for below, above, step in pairs)
    changes = [abs(one - other) / max(abs(other), 0.1) for one, other in pairwise(stiffness)]
    below, above, longest = pairs[-1]
    mean = (below + 4.0 * float(first.forces[0] @ direction) + above) / 6.0
    work = mean + (answers[6].energy - answers[5].energy) / (2.0 * longest)
    back = [a.forces @ rotation for a, rotation in zip(answers[7:12], rotations, strict=True)]
    scatter = float(np.std([first.forces, *back], axis=0).max())
    repeat_error = float(np.abs(first.forces - again.forces).max())
    single = all((a.forces == a.forces.astype(np.float32)).all() for a in answers)
    precision = "float32" if single or scatter > FLOAT64 else "float64"
    return PotentialTests(
        crystal=cell.get_chemical_formula(),
        displacements=DISPLACEMENTS,
        stiffnesses=stiffness,
        smooth=all(change <= most for change, most in zip(changes, SMOOTH, strict=True)),
        scatter=scatter,
        precision="coarse" if scatter > FLOAT32 else precision,
        repeat_error=repeat_error,
        repeatable=repeat_error <= (FLOAT64 if precision == "float64" else FLOAT32),
        conservative=abs(work) <= CONSERVATIVE,
        work_error=work,
        stress=first.stress is not None,
    )


def verdict(tests: PotentialTests) -> list[str]:
    """Return what a user should know of a potential, a sentence each; none for a good one."""
    said = []
    if not tests.smooth:
        found = ", ".join(
            f"{k:.3f} at {d:g}" for k, d in zip(tests.stiffnesses, tests.displacements, strict=True)
        )
        said.append(
            f"It is not smooth: the stiffness of an atom of {tests.crystal} is {found} (eV/Å² at Å). Its "
            "phonons depend on the displacement."
        )
    if tests.precision == "coarse":
        said.append(
            f"Its forces scatter by {tests.scatter:.1e} eV/Å when the crystal is turned, more than single "
            "precision explains."
        )
    if not tests.conservative:
        said.append(
            f"Its forces are not the gradient of its energy: they differ by {abs(tests.work_error):.1e} eV/Å."
        )
    if not tests.repeatable:
        said.append(
            f"The same structure twice gives forces that differ by up to {tests.repeat_error:.1e} eV/Å."
        )
    if not tests.stress:
        said.append("It gives no stress: cells cannot be relaxed, nor elastic constants computed.")
    return said


def _close_packed(symbol: str) -> Atoms:
    distance = 2.0 * covalent_radii[atomic_numbers[symbol]]
    return bulk(symbol, "fcc", a=distance * np.sqrt(2.0), cubic=True)


def _structure(atoms: Atoms) -> Structure:
    from pymatgen.core import Lattice, Structure

    return Structure(
        Lattice(atoms.cell.array), atoms.numbers, atoms.positions, coords_are_cartesian=True
    )
