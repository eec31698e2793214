"""Rattled and strained supercells: where the sampling of a crystal starts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np
from ase.data import covalent_radii
from pymatgen.core import Lattice, Structure
from scipy.linalg import polar

from phonotune.errors import InputError
from phonotune.sampling.displace import Displacer, equal_lengths, find_displacer
from phonotune.sampling.settings import RattleSettings as RattleSettings
from phonotune.schemas.dataset import Candidate

if TYPE_CHECKING:
    from phonotune.ports import FloatArray

MAX_DRAWS: Final = 50
"""Draws of one cell before giving up on the smallest allowed distance."""


def rattle(
    supercell: Structure,
    settings: RattleSettings,
    rng: np.random.Generator,
    modes: Displacer | None = None,
) -> list[Candidate]:
    """Displace the atoms and strain the cell, ``settings.n_cells`` times.

    The three lengths and three angles of the cell change by independent uniform factors within
    ±strain; then the cell is scaled to the wanted volume, and ``settings.method`` moves the atoms
    (:mod:`phonotune.sampling.displace`). No rotation is added: the change of the cell is a symmetric
    matrix. A cell with two atoms closer than ``min_distance`` is drawn again, cell and displacements
    both.

    Parameters
    ----------
    supercell
        The supercell, already made, as cubic as possible.
    settings
        Amplitudes and volumes.
    rng
        Source of every random number.
    modes
        Draws displacements along the modes of ``supercell``; needed by the method ``phonon``.

    Returns
    -------
    list of Candidate
        One per cell, each its own group, named by its volume: ``"volume -2.5 %"``, with ``#2``
        where a volume comes again, and ``"undeformed"`` where neither volume nor shape change.

    Raises
    ------
    InputError
        No draw of a cell, in 50, kept all atoms apart.
    ConfigError
        The method needs a package that is not installed, or modes that are not given.
    """
    displacer = find_displacer(settings.method, settings.amplitude, modes)
    candidates: list[Candidate] = []
    seen: Counter[str] = Counter()
    for cell in range(settings.n_cells):
        volume = settings.volumes[cell % len(settings.volumes)] + 0.0
        digits = "+.1f" if round(volume, 1) == volume else "+g"
        deformed = volume != 0.0 or settings.strain != 0.0
        name = f"volume {volume:{digits}} %" if deformed else "undeformed"
        seen[name] += 1
        group = name if seen[name] == 1 else f"{name} #{seen[name]}"
        (structure,), moved = _draw_apart(supercell, volume, settings, displacer, rng)
        reason = (
            f"{name}, lengths and angles within ±{settings.strain:g} %, "
            if settings.strain
            else f"{name}, "
        )
        candidates.append(
            Candidate(structure, group, reason + f"atoms displaced by {moved:.3f} Å on average")
        )
    return candidates


def small_rattles(
    supercell: Structure,
    settings: RattleSettings,
    rng: np.random.Generator,
    mirrored: bool = False,
) -> list[Candidate]:
    """Displace every atom of the undeformed supercell by a small length, for residual force constants.

    Parameters
    ----------
    supercell
        The supercell of the relaxed crystal.
    settings
        One length, Å, for each rattle in ``settings.small``; directions are uniform on the sphere.
    rng
        Source of every random number.
    mirrored
        Every second one has the displacements of the one before it, in opposite direction.

    Returns
    -------
    list of Candidate
        Labelled as they are (``fixed``), in the groups ``"small rattle"``, ``"small rattle #2"``, ...;
        a mirrored one is of the group of its twin, so that no split tears them apart.

    Raises
    ------
    InputError
        No draw, in 50, kept all atoms apart.
    """
    candidates: list[Candidate] = []
    still = settings.model_copy(update={"strain": 0.0})
    wanted = settings.small
    while len(candidates) < len(wanted):
        length, twice = wanted[len(candidates)], mirrored and len(candidates) + 1 < len(wanted)
        drawn, _ = _draw_apart(supercell, 0.0, still, equal_lengths(length), rng, twice)
        group = f"small rattle #{len(candidates) + 1}" if candidates else "small rattle"
        reason = f"undeformed cell, every atom displaced by {length:g} Å"
        reasons = (reason, f"{reason}, opposite to the one before")
        candidates += [
            Candidate(structure, group, why, fixed=True)
            for structure, why in zip(drawn, reasons, strict=False)
        ]
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


def _draw_apart(
    supercell: Structure,
    volume: float,
    settings: RattleSettings,
    displacer: Displacer,
    rng: np.random.Generator,
    mirrored: bool = False,
) -> tuple[list[Structure], float]:
    """Draw until all atoms are apart; return the structure and the mean displacement, Å.

    With ``mirrored`` a second structure has the opposite displacements.
    """
    closest, wanted = (0.0, ""), supercell.volume * (1.0 + volume / 100.0)
    for _ in range(MAX_DRAWS):
        matrix = _strained(supercell.lattice, settings.strain / 100.0, rng)
        matrix *= (wanted / abs(np.linalg.det(matrix))) ** (1.0 / 3.0)
        ideal = Structure(
            Lattice(matrix), [int(z) for z in supercell.atomic_numbers], supercell.frac_coords
        )
        moves = displacer(ideal, rng)
        drawn = [
            Structure(ideal.lattice, ideal.species, positions, coords_are_cartesian=True)
            for positions in (ideal.cart_coords + moves, ideal.cart_coords - moves)[: 1 + mirrored]
        ]
        ratio, pair = min(closest_pair(one) for one in drawn)
        if ratio >= settings.min_distance:
            return drawn, float(np.linalg.norm(moves, axis=1).mean())
        closest = max(closest, (ratio, pair))
    raise InputError(
        f"No rattled cell of {supercell.composition.reduced_formula} at volume {volume:+g} % keeps "
        f"its atoms apart: in {MAX_DRAWS} draws the best had {closest[1]}, {closest[0]:.2f} of the "
        f"sum of covalent radii; {settings.min_distance:g} is needed. Lower amplitude (or "
        "temperature), strain or min_distance."
    )


def _strained(lattice: Lattice, strain: float, rng: np.random.Generator) -> FloatArray:
    """Change lengths and angles by uniform factors; rows are vectors, Å, not rotated."""
    lengths = np.asarray(lattice.abc) * (1.0 + rng.uniform(-strain, strain, size=3))
    angles = np.asarray(lattice.angles) * (1.0 + rng.uniform(-strain, strain, size=3))
    target = Lattice.from_parameters(*lengths, *angles).matrix
    if np.linalg.det(lattice.matrix) < 0:
        target = -target
    _, stretch = polar(np.linalg.solve(lattice.matrix, target), side="left")
    return np.asarray(lattice.matrix @ stretch, dtype=np.float64)
