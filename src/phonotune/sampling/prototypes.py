"""Prototype crystals of any elements: the common structure types, as small primitive cells."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isnan, sqrt
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from ase.data import covalent_radii
from pymatgen.core import Element, Lattice, Structure

from phonotune.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonotune.ports import FloatArray

Order = Literal["electronegativity", "any"]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Prototype:
    """A structure type whose free parameters have their ideal values.

    Attributes
    ----------
    name
        E.g. ``"rocksalt"``.
    space_group
        Hermann-Mauguin symbol.
    sites
        One fractional position of the conventional cell for each Wyckoff position.
    slots
        For each of ``sites`` the number of its element.
    ratio
        c/a of a tetragonal or hexagonal cell; 1 for a cubic one.
    order
        ``"electronegativity"``: slot 0 takes the least electronegative element, the last slot the
        most; ``"any"``: elements are taken as they were drawn.
    """

    name: str
    space_group: str
    sites: tuple[Point, ...]
    slots: tuple[int, ...]
    ratio: float = 1.0
    order: Order = "electronegativity"

    @property
    def n_elements(self) -> int:
        """Number of elements that it holds."""
        return max(self.slots) + 1


_O: Final[Point] = (0.0, 0.0, 0.0)
_BODY: Final[Point] = (0.5, 0.5, 0.5)
_FACE: Final[Point] = (0.5, 0.5, 0.0)
_EDGE: Final[Point] = (0.5, 0.0, 0.0)
_QUARTER: Final[Point] = (0.25, 0.25, 0.25)
_THREE_QUARTERS: Final[Point] = (0.75, 0.75, 0.75)
_CLOSE: Final = sqrt(8 / 3)
_HEXAGONAL: Final = ("P6_3/mmc", "P6_3mc")

PROTOTYPES: Final[tuple[Prototype, ...]] = (
    Prototype("bcc", "Im-3m", (_O,), (0,)),
    Prototype("fcc", "Fm-3m", (_O,), (0,)),
    Prototype("diamond", "Fd-3m", (_O,), (0,)),
    Prototype("hcp", "P6_3/mmc", ((1 / 3, 2 / 3, 0.25),), (0,), _CLOSE),
    Prototype("rocksalt", "Fm-3m", (_O, _BODY), (0, 1)),
    Prototype("CsCl", "Pm-3m", (_O, _BODY), (0, 1)),
    Prototype("zincblende", "F-43m", (_O, _QUARTER), (0, 1)),
    Prototype("wurtzite", "P6_3mc", ((1 / 3, 2 / 3, 0.0), (1 / 3, 2 / 3, 0.375)), (0, 1), _CLOSE),
    Prototype("nickeline", "P6_3/mmc", (_O, (1 / 3, 2 / 3, 0.25)), (0, 1), 1.5),
    Prototype("fluorite", "Fm-3m", (_O, _QUARTER), (0, 1)),
    Prototype("antifluorite", "Fm-3m", (_O, _QUARTER), (1, 0)),
    Prototype("rutile", "P4_2/mnm", (_O, (0.305, 0.305, 0.0)), (0, 1), 0.66),
    Prototype("Cu3Au", "Pm-3m", (_O, _FACE), (0, 1), order="any"),
    Prototype("D0_3", "Fm-3m", (_O, _QUARTER, _BODY), (0, 1, 1), order="any"),
    Prototype("perovskite", "Pm-3m", (_O, _BODY, _FACE), (0, 1, 2)),
    Prototype("antiperovskite", "Pm-3m", (_O, _BODY, _FACE), (2, 1, 0)),
    Prototype("half-Heusler", "F-43m", (_O, _QUARTER, _BODY), (0, 1, 2), order="any"),
    Prototype("Heusler", "Fm-3m", (_O, _QUARTER, _BODY), (0, 1, 2), order="any"),
)
"""Four of one element, ten of two, four of three; one to six atoms in the primitive cell."""


def prototypes(
    elements: Sequence[str],
    count: int,
    rng: np.random.Generator,
    holding: Sequence[str] = (),
) -> list[Structure]:
    """Draw prototype crystals: the structure type first, each as likely as any other, then elements.

    Parameters
    ----------
    elements
        Chemical symbols to draw from; order and repetition do not matter.
    count
        Number of crystals; a crystal may come twice.
    rng
        Source of every random number.
    holding
        If given, each crystal holds at least one of these elements.

    Returns
    -------
    list of Structure
        Primitive cells of 1 to 6 atoms, ideal in their free parameters, so large that the closest
        pair (relative to the sum of its covalent radii, Cordero et al., Dalton Trans. 2832 (2008),
        from ASE) stands at that sum: a start for a scan of
        the volume, not an equilibrium. ``properties["prototype"]`` is the name.

    Raises
    ------
    InputError
        No element, a symbol that is not an element, a negative count.
    """
    known, wanted = _checked(elements, "elements"), _checked(holding, "holding")
    if not known and not wanted:
        raise InputError("No element to build prototype crystals of; give at least one symbol.")
    if count < 0:
        raise InputError(f"{count} prototype crystals were asked for; give a number from 0 on.")
    available = sorted({*known, *wanted})
    fitting = [p for p in PROTOTYPES if p.n_elements <= len(available)]
    crystals = []
    for _ in range(count):
        prototype = fitting[int(rng.integers(len(fitting)))]
        drawn = [str(rng.choice(wanted))] if wanted else []
        others = [symbol for symbol in available if symbol not in drawn]
        missing = prototype.n_elements - len(drawn)
        if missing:
            drawn += [str(symbol) for symbol in rng.choice(others, missing, replace=False)]
        if prototype.order == "any":
            chosen = [drawn[i] for i in rng.permutation(len(drawn))]
        else:
            chosen = sorted(drawn, key=lambda symbol: (electronegativity(symbol), symbol))
        crystals.append(prototype_crystal(prototype, chosen))
    return crystals


def prototype_crystal(prototype: Prototype, elements: Sequence[str]) -> Structure:
    """Build the primitive cell of a structure type, scaled as :func:`prototypes` says.

    Parameters
    ----------
    prototype
        One of :data:`PROTOTYPES`.
    elements
        One symbol for each slot, in the order of the slots.

    Raises
    ------
    InputError
        The number of elements is not that of the structure type.
    """
    if len(elements) != prototype.n_elements:
        raise InputError(
            f"The prototype {prototype.name} holds {prototype.n_elements} element(s), not "
            f"{len(elements)} ({', '.join(elements)})."
        )
    shape = _shape(prototype)
    radii = covalent_radii[[Element(symbol).Z for symbol in elements]]
    scale = float(((radii[:, None] + radii[None, :]) / shape.nearest).max())
    return Structure(
        Lattice(shape.cell * scale),
        [elements[slot] for slot in shape.slots],
        shape.positions,
        properties={"prototype": prototype.name},
    )


def _checked(symbols: Sequence[str], what: str) -> list[str]:
    if wrong := [symbol for symbol in symbols if not Element.is_valid_symbol(symbol)]:
        raise InputError(
            f"{', '.join(map(repr, wrong))} in {what} is not a chemical symbol; give e.g. 'Na'."
        )
    return sorted(set(symbols))


@lru_cache(maxsize=128)
def electronegativity(symbol: str) -> float:
    """Return it on Pauling's scale; 0 for the noble gases, which have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(Element(symbol).X)
    return 0.0 if isnan(value) else value


@dataclass(frozen=True, eq=False)
class _Shape:
    """A primitive cell of arbitrary scale.

    Attributes: cell (3, 3); slot of each atom; fractional positions (n, 3); shortest distance
    between atoms of two slots (n_elements, n_elements), in the units of the cell.
    """

    cell: FloatArray
    slots: tuple[int, ...]
    positions: FloatArray
    nearest: FloatArray


@lru_cache(maxsize=len(PROTOTYPES))
def _shape(prototype: Prototype) -> _Shape:
    # Hydrogen, helium and lithium stand for slots 0, 1 and 2; a cell of 4 Å tells them apart.
    hexagonal = prototype.space_group in _HEXAGONAL
    make: Callable[..., Lattice] = Lattice.hexagonal if hexagonal else Lattice.tetragonal
    lattice = make(4.0, 4.0 * prototype.ratio)
    symbols = [Element.from_Z(slot + 1).symbol for slot in prototype.slots]
    full = Structure.from_spacegroup(prototype.space_group, lattice, symbols, prototype.sites)
    primitive = full.get_primitive_structure()
    slots = np.asarray(primitive.atomic_numbers) - 1
    nearest = np.full((prototype.n_elements, prototype.n_elements), np.inf)
    first, second, _, distances = primitive.get_neighbor_list(8.0)
    np.minimum.at(nearest, (slots[first], slots[second]), distances)
    return _Shape(
        np.array(primitive.lattice.matrix),
        tuple(int(slot) for slot in slots),
        np.array(primitive.frac_coords),
        nearest,
    )
