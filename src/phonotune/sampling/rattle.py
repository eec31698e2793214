"""Rattled and strained supercells: where the sampling of a crystal starts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np
from ase.data import covalent_radii
from pydantic import Field
from pymatgen.core import Lattice, Structure
from scipy.linalg import polar

from phonotune.errors import InputError
from phonotune.schemas.base import Part
from phonotune.schemas.dataset import Candidate
from phonotune.units import Angstrom, Dimensionless, Percent

if TYPE_CHECKING:
    from phonotune.ports import FloatArray

MAX_DRAWS: Final = 50
"""Draws of one cell before giving up on the smallest allowed distance."""


class RattleSettings(Part):
    """How cells are rattled; the defaults are the recipe of arXiv 2604.01017.

    ``min_length`` and ``max_atoms`` bound the supercell that is made before it is rattled.
    """

    n_cells: int = Field(default=5, ge=1, description="rattled cells; volumes are taken in turn")
    volumes: tuple[Percent, ...] = Field(
        default=(-5.0, -2.5, 0.0, 2.5, 5.0), min_length=1, description="change of the volume"
    )
    amplitude: Angstrom = Field(
        default=0.1, ge=0, description="most frequent length of an atom's displacement"
    )
    strain: Percent = Field(
        default=2.0, ge=0, le=10, description="largest relative change of a cell length or angle"
    )
    min_distance: Dimensionless = Field(
        default=0.6,
        ge=0,
        le=1,
        description="of the sum of two covalent radii; closer is drawn again",
    )
    min_length: Angstrom = Field(default=10.0, gt=0, description="shortest supercell vector")
    max_atoms: int = Field(default=300, ge=1, description="most atoms in the supercell")


def rattle(
    supercell: Structure, settings: RattleSettings, rng: np.random.Generator
) -> list[Candidate]:
    """Displace the atoms and strain the cell, ``settings.n_cells`` times.

    Each Cartesian component of a displacement is normal with standard deviation amplitude /
    sqrt(2), so that the lengths follow a Maxwell distribution, whose peak is ``amplitude`` (its
    mean is 1.13 times that). The three lengths and three angles of the cell change by independent
    uniform factors within ±strain; then the cell is scaled to the wanted volume. No rotation is
    added: the change of the cell is a symmetric matrix. A cell with two atoms closer than
    ``min_distance`` is drawn again, cell and displacements both.

    Parameters
    ----------
    supercell
        The supercell, already made, as cubic as possible.
    settings
        Amplitudes and volumes.
    rng
        Source of every random number.

    Returns
    -------
    list of Candidate
        One per cell, each its own group, named by its volume: ``"volume -2.5 %"``, with ``#2``
        where a volume comes again, and ``"undeformed"`` where neither volume nor shape change.

    Raises
    ------
    InputError
        No draw of a cell, in 50, kept all atoms apart.
    """
    candidates: list[Candidate] = []
    seen: Counter[str] = Counter()
    for cell in range(settings.n_cells):
        volume = settings.volumes[cell % len(settings.volumes)] + 0.0
        name = _group(volume, settings.strain)
        seen[name] += 1
        group = name if seen[name] == 1 else f"{name} #{seen[name]}"
        structure, moved = _draw_apart(supercell, volume, settings, rng)
        reason = (
            f"{name}, lengths and angles within ±{settings.strain:g} %, "
            if settings.strain
            else f"{name}, "
        )
        candidates.append(
            Candidate(structure, group, reason + f"atoms displaced by {moved:.3f} Å on average")
        )
    return candidates


def closest_pair(structure: Structure) -> tuple[float, str]:
    """Return the smallest distance, in sums of covalent radii, and the pair in words.

    Periodic images of one atom count as pairs. Radii: Cordero et al., Dalton Trans. 2832 (2008),
    from ASE.
    """
    radii = covalent_radii[np.asarray(structure.atomic_numbers)]
    reach = 2.0 * float(radii.max())
    first, second, _, distances = structure.get_neighbor_list(reach)
    if len(distances) == 0:
        return np.inf, "no pair within reach"
    ratios = distances / (radii[first] + radii[second])
    nearest = int(np.argmin(ratios))
    pair = f"{structure[first[nearest]].specie.symbol}-{structure[second[nearest]].specie.symbol}"
    return float(ratios[nearest]), f"{pair} at {distances[nearest]:.2f} Å"


def _group(volume: float, strain: float) -> str:
    if volume == 0.0 and strain == 0.0:
        return "undeformed"
    return f"volume {volume:+.1f} %" if round(volume, 1) == volume else f"volume {volume:+g} %"


def _draw_apart(
    supercell: Structure, volume: float, settings: RattleSettings, rng: np.random.Generator
) -> tuple[Structure, float]:
    """Draw until all atoms are apart; return the structure and the mean displacement, Å."""
    closest = (0.0, "")
    for _ in range(MAX_DRAWS):
        structure, moved = _draw(supercell, volume, settings, rng)
        ratio, pair = closest_pair(structure)
        if ratio >= settings.min_distance:
            return structure, moved
        closest = max(closest, (ratio, pair))
    raise InputError(
        f"No rattled cell of {supercell.composition.reduced_formula} at volume {volume:+g} % keeps "
        f"its atoms apart: in {MAX_DRAWS} draws the best had {closest[1]}, {closest[0]:.2f} of the "
        f"sum of covalent radii; {settings.min_distance:g} is needed. Lower amplitude, strain or "
        "min_distance."
    )


def _draw(
    supercell: Structure, volume: float, settings: RattleSettings, rng: np.random.Generator
) -> tuple[Structure, float]:
    matrix = _strained(supercell.lattice, settings.strain / 100.0, rng)
    wanted = supercell.volume * (1.0 + volume / 100.0)
    matrix *= (wanted / abs(np.linalg.det(matrix))) ** (1.0 / 3.0)
    moves = rng.normal(scale=settings.amplitude / np.sqrt(2.0), size=(len(supercell), 3))
    structure = Structure(
        Lattice(matrix),
        [int(z) for z in supercell.atomic_numbers],
        supercell.frac_coords @ matrix + moves,
        coords_are_cartesian=True,
    )
    return structure, float(np.linalg.norm(moves, axis=1).mean())


def _strained(lattice: Lattice, strain: float, rng: np.random.Generator) -> FloatArray:
    """Change lengths and angles by uniform factors; rows are vectors, Å, not rotated."""
    lengths = np.asarray(lattice.abc) * (1.0 + rng.uniform(-strain, strain, size=3))
    angles = np.asarray(lattice.angles) * (1.0 + rng.uniform(-strain, strain, size=3))
    target = Lattice.from_parameters(*lengths, *angles).matrix
    if np.linalg.det(lattice.matrix) < 0:
        target = -target
    _, stretch = polar(np.linalg.solve(lattice.matrix, target), side="left")
    return np.asarray(lattice.matrix @ stretch, dtype=np.float64)
