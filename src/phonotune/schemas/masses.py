"""Masses of atoms: natural, unless the site property ``mass`` (amu) states another one, as for isotopes.

Energies and forces do not depend on it: labellers and models see the element. Frequencies do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phonotune.errors import StructureError

if TYPE_CHECKING:
    from pymatgen.core import Structure

MASS: Final = "mass"
"""The site property, amu. It is absent where all masses are natural; else every site has it."""

ISOTOPES: Final = {"D": 2.014101778, "T": 3.016049281}
"""amu, AME2020; pymatgen has elements of these names, with the symbol H."""
_SAME: Final = 1.1e-4
"""Relative; tables of standard atomic weights differ by as much, masses of isotopes by more."""
_HEAVIEST: Final = 300.0
"""amu; beyond, a mass is in other units (electron masses, for example)."""


def isotope_masses(structure: Structure) -> list[float | None]:
    """Return the mass of each site, amu, None where it is natural; an empty list if all are."""
    stated = [site.properties.get(MASS) for site in structure]
    if all(mass is None for mass in stated):
        return []
    found = [
        None if mass is None or is_natural(site.specie.Z, mass) else float(mass)
        for site, mass in zip(structure, stated, strict=True)
    ]
    return found if any(mass is not None for mass in found) else []


def mass_property(structure: Structure) -> dict[str, Any]:
    """Return the masses as pymatgen's ``site_properties`` of another structure with the same sites."""
    masses = isotope_masses(structure)
    return {MASS: [site.properties.get(MASS) for site in structure]} if masses else {}


def with_masses(structure: Structure, masses: Sequence[float | None] | None = None) -> Structure:
    """Return a structure of elements whose isotopes are told by their masses.

    D and T become H with their mass. Natural masses are left out, so that a file that states them for
    every atom gives the same structure as one that states none.

    Parameters
    ----------
    structure
        The crystal; returned itself if there is nothing to change.
    masses
        amu, one per site; None takes those of the site property.

    Raises
    ------
    StructureError
        A mass is not positive, or is not in amu.
    """
    if not structure.is_ordered:  # refused where it is used
        return structure
    from ase.data import atomic_masses

    stated = [s.properties.get(MASS) for s in structure] if masses is None else list(masses)
    named = [ISOTOPES.get(getattr(s.specie, "element", s.specie).name) for s in structure]
    if MASS not in structure.site_properties and all(m is None for m in (*stated, *named)):
        return structure
    known: list[float] = []
    for site, own, name in zip(structure, stated, named, strict=True):
        mass = name if own is None else own
        if mass is not None and not 0 < mass < _HEAVIEST:
            raise StructureError(
                f"A mass of {mass:g} for {site.specie.symbol} is not one in amu; allowed: 0 to {_HEAVIEST:g}. "
                "Correct it, or leave it out: then it is natural."
            )
        known.append(float(atomic_masses[site.specie.Z] if mass is None else mass))
    made: Structure = structure.copy()
    for site, name in zip(made, named, strict=True):
        if name is not None:
            site.species = "H"
    if all(is_natural(site.specie.Z, mass) for site, mass in zip(made, known, strict=True)):
        if MASS in made.site_properties:
            made.remove_site_property(MASS)
    else:
        made.add_site_property(MASS, known)
    return made


def with_natural_masses(structure: Structure) -> Structure:
    """Return a structure of elements with natural masses; itself if it is one."""
    made = with_masses(structure)
    if isotope_masses(made):
        made = made.copy()
        made.remove_site_property(MASS)
    return made


@lru_cache(maxsize=1024)
def is_natural(number: int, mass: float) -> bool:
    """Return whether a mass (amu) is that of an element in any table of standard atomic weights."""
    from ase.data import atomic_masses
    from pymatgen.core import Element

    tables = (atomic_masses[number], float(Element.from_Z(number).atomic_mass))
    return any(abs(mass / table - 1) < _SAME for table in tables)


def site_kinds(structure: Structure) -> list[int]:
    """Return an integer per site for a search of symmetry that tells isotopes apart.

    It is the atomic number, plus 1000 for each further mass of that element.
    """
    numbers = [int(z) for z in structure.atomic_numbers]
    masses = isotope_masses(structure)
    if not masses:
        return numbers
    known: dict[int, list[float | None]] = {}
    kinds = []
    for number, mass in zip(numbers, masses, strict=True):
        own = known.setdefault(number, [])
        if mass not in own:
            own.append(mass)
        kinds.append(number + 1000 * own.index(mass))
    return kinds


def mixes_isotopes(structure: Structure) -> bool:
    """Return whether atoms of one element have different masses, which lowers the symmetry of frequencies."""
    return max(site_kinds(structure)) >= 1000


def masses_in_words(structure: Structure) -> str:
    """Return the masses that are not natural, e.g. ``H 2.0141 amu (1 of 4 atoms)``; else ``natural``."""
    symbols = [site.specie.symbol for site in structure]
    masses = isotope_masses(structure) or [None] * len(structure)
    pairs = list(zip(symbols, masses, strict=True))
    stated = dict.fromkeys((symbol, mass) for symbol, mass in pairs if mass is not None)
    return (
        ", ".join(
            f"{symbol} {mass:.4f} amu ({pairs.count((symbol, mass))} of {symbols.count(symbol)} atoms)"
            for symbol, mass in stated
        )
        or "natural"
    )


def same_masses(first: Structure, second: Structure) -> bool:
    """Return whether two structures with the same sites have the same masses, to 1e-5."""
    one, other = (
        np.array(isotope_masses(s) or [None] * len(s), dtype=float) for s in (first, second)
    )
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-5, atol=0, equal_nan=True)
