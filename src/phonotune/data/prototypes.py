"""Crystals written down as space group, lattice and sites, or as a named prototype and its lattice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from pydantic import Field, model_validator
from pymatgen.core import Element, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.symmetry.groups import SpaceGroup

from phonotune.errors import StructureError, unknown_name
from phonotune.physics.supercell import check_structure
from phonotune.schemas.base import Part

_SAME_SITE: Final = 1e-2
"""Å: symmetry is looked for within this distance; published coordinates have three to five digits."""
_ROUNDING: Final = 5e-4
"""A fractional coordinate within this of 1/6, 1/3, 2/3 or 5/6 is meant as it: 1/3 may be written 0.333."""


@dataclass(frozen=True)
class Prototype:
    """A structure type: its space group, and the place of every species, some of them at the parameter u."""

    spacegroup: str
    sites: tuple[tuple[float | str, float | str, float | str], ...]

    @property
    def needs_u(self) -> bool:
        """Whether a coordinate is free."""
        return any("u" in site for site in self.sites)


_H, _Q, _E, _T = 1 / 2, 1 / 4, 1 / 8, 1 / 3
PROTOTYPES: Final[dict[str, Prototype]] = {
    "fcc": Prototype("Fm-3m", ((0, 0, 0),)),
    "bcc": Prototype("Im-3m", ((0, 0, 0),)),
    "diamond": Prototype("Fd-3m", ((0, 0, 0),)),
    "rocksalt": Prototype("Fm-3m", ((0, 0, 0), (_H, _H, _H))),
    "caesium chloride": Prototype("Pm-3m", ((0, 0, 0), (_H, _H, _H))),
    "zincblende": Prototype("F-43m", ((0, 0, 0), (_Q, _Q, _Q))),
    "fluorite": Prototype("Fm-3m", ((0, 0, 0), (_Q, _Q, _Q))),
    "half-Heusler": Prototype("F-43m", ((_H, _H, _H), (_Q, _Q, _Q), (0, 0, 0))),
    "D0_3": Prototype("Fm-3m", ((0, 0, 0), (_H, _H, _H), (_Q, _Q, _Q))),
    "perovskite": Prototype("Pm-3m", ((0, 0, 0), (_H, _H, _H), (_H, _H, 0))),
    "wurtzite": Prototype("P6_3mc", ((_T, 2 * _T, 0), (_T, 2 * _T, "u"))),
    "rutile": Prototype("P4_2/mnm", ((0, 0, 0), ("u", "u", 0))),
    "chalcopyrite": Prototype("I-42d", ((0, 0, 0), (0, 0, _H), ("u", _Q, _E))),
}
"""Structure types by name; species are given in the order of their sites."""


class CrystalText(Part):
    """A crystal as a campaign's file states it, lengths in Å and angles in degrees."""

    prototype: str | None = Field(default=None, description="name of a prototype")
    spacegroup: str | None = Field(default=None, description="Hermann-Mauguin symbol")
    species: tuple[str, ...] = Field(min_length=1, description="element of each site")
    coords: tuple[tuple[float, float, float], ...] = Field(
        default=(), description="fractional coordinates of one site per orbit, in the standard cell"
    )
    a: float = Field(gt=0, description="Å, of the conventional cell, in hexagonal axes if trigonal")
    b: float | None = Field(default=None, gt=0, description="Å; left out: a")
    c: float | None = Field(default=None, gt=0, description="Å; left out: a")
    alpha: float = Field(default=90.0, gt=0, lt=180, description="degrees")
    beta: float = Field(default=90.0, gt=0, lt=180, description="degrees")
    gamma: float | None = Field(
        default=None, gt=0, lt=180, description="degrees; left out: 90, or 120 in hexagonal axes"
    )
    u: float | None = Field(default=None, description="free coordinate of the prototype")
    source: str = Field(min_length=1, description="who measured it: paper, book or database number")
    name: str | None = Field(default=None, description="what the campaign calls it")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.prototype is None) == (self.spacegroup is None):
            raise StructureError(
                "A crystal needs either `prototype` or `spacegroup` with `coords`."
            )
        if self.prototype is not None and self.prototype not in PROTOTYPES:
            raise unknown_name("prototype", self.prototype, PROTOTYPES)
        for species in self.species:
            if not Element.is_valid_symbol(species):
                raise StructureError(f"{species!r} is not the symbol of an element.")
        n_sites = len(self.sites)
        if len(self.species) != n_sites:
            raise StructureError(
                f"{len(self.species)} species ({', '.join(self.species)}) for {n_sites} sites; give one "
                "element for each."
            )
        return self

    @property
    def group(self) -> str:
        """Hermann-Mauguin symbol of the space group."""
        return self.spacegroup or PROTOTYPES[self.prototype or ""].spacegroup

    @property
    def sites(self) -> list[tuple[float, ...]]:
        """Fractional coordinates of one site per orbit."""
        if self.prototype is None:
            return list(self.coords)
        prototype = PROTOTYPES[self.prototype]
        if self.coords or prototype.needs_u != (self.u is not None):
            raise StructureError(
                f"Prototype {self.prototype!r} takes its coordinates from "
                f"{'`u`, which is missing' if prototype.needs_u else 'its name'}; leave out `coords`"
                f"{' and `u`' if not prototype.needs_u else ''}."
            )
        return [tuple(float(self.u if x == "u" else x) for x in s) for s in prototype.sites]  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """What the crystal is called: its name, or its formula with what tells polymorphs apart."""
        return self.name or f"{self.structure().reduced_formula} {self.prototype or self.group}"

    def structure(self) -> Structure:
        """Return the primitive cell.

        Raises
        ------
        StructureError
            No such space group, a lattice that it forbids, sites that make another space group than the
            one stated, or atoms that overlap.
        """
        try:
            group = SpaceGroup(self.group)
            hexagonal = group.crystal_system in ("hexagonal", "trigonal")
            lattice = Lattice.from_parameters(
                self.a,
                self.b or self.a,
                self.c or self.a,
                self.alpha,
                self.beta,
                self.gamma or (120.0 if hexagonal else 90.0),
            )
            stated = np.array(self.sites)
            sixths = np.round(6 * stated) / 6
            coords = np.where(np.abs(stated - sixths) < _ROUNDING, sixths, stated)
            whole = Structure.from_spacegroup(self.group, lattice, self.species, coords)
        except ValueError as error:
            raise StructureError(
                f"Space group {self.group!r} and this lattice make no crystal: {error}."
            ) from error
        check_structure(whole)
        symmetry = SpacegroupAnalyzer(whole, symprec=_SAME_SITE)
        found = symmetry.get_space_group_number()
        if found != group.int_number:
            raise StructureError(
                f"These sites make a crystal of space group {symmetry.get_space_group_symbol()}, and "
                f"{self.group} was stated. Correct the coordinates, or state the space group that they have."
            )
        primitive = symmetry.find_primitive()
        assert primitive is not None  # spglib has just found its space group
        numbers = [int(z) for z in primitive.atomic_numbers]
        return Structure(primitive.lattice, numbers, primitive.frac_coords)
