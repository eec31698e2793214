from __future__ import annotations

import pytest
from phonopy.structure.atomic_data import get_atomic_data
from pymatgen.core import Lattice, Structure

from phonotune.errors import StructureError
from phonotune.schemas.base import structure_hash
from phonotune.schemas.masses import (
    is_natural,
    isotope_masses,
    masses_in_words,
    mixes_isotopes,
    same_masses,
    site_kinds,
    with_masses,
    with_natural_masses,
)


@pytest.fixture
def water() -> Structure:
    """A cell of H, D, T and O."""
    sites = [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0.5]]
    return Structure(Lattice.cubic(6.0), ["H", "D", "T", "O"], sites)


def test_d_and_t_become_h_with_their_masses(water: Structure) -> None:
    found = with_masses(water)
    assert [site.specie.name for site in found] == ["H", "H", "H", "O"]
    assert isotope_masses(found) == [None, 2.014101778, 3.016049281, None]
    assert masses_in_words(found) == "H 2.0141 amu (1 of 3 atoms), H 3.0160 amu (1 of 3 atoms)"
    assert site_kinds(found) == [1, 1001, 2001, 8]
    assert mixes_isotopes(found)
    assert with_masses(found) is found or same_masses(with_masses(found), found)


def test_natural_masses_leave_nothing_behind(water: Structure) -> None:
    plain = with_natural_masses(water)
    assert isotope_masses(plain) == []
    assert plain.site_properties == {}
    assert with_natural_masses(plain) is plain
    stated = with_masses(plain, [1.008, 1.00794, 1.008, 15.9994])
    assert stated.site_properties == {}
    assert stated == plain
    assert masses_in_words(plain) == "natural"
    assert not mixes_isotopes(plain)


def test_an_isotope_is_another_material_and_the_natural_crystal_keeps_its_id(
    water: Structure,
) -> None:
    plain = with_natural_masses(water)
    assert structure_hash(plain) != structure_hash(with_masses(water))
    assert structure_hash(Structure.from_dict(with_masses(water).as_dict())) == structure_hash(
        with_masses(water)
    )
    assert structure_hash(with_masses(plain, [1.008] * 3 + [None])) == structure_hash(plain)


def test_every_mass_of_phonopys_table_is_natural() -> None:
    known = [row for row in get_atomic_data().atom_data[1:] if row[3] is not None]
    assert len(known) > 80
    assert [row[1] for row in known if row[0] < 100 and not is_natural(row[0], row[3])] == []


@pytest.mark.parametrize(
    ("number", "mass"), [(1, 1.007825), (3, 6.015), (6, 12.0), (8, 15.99491), (14, 27.97693)]
)
def test_pure_isotopes_are_not_natural(number: int, mass: float) -> None:
    assert not is_natural(number, mass)


@pytest.mark.parametrize("mass", [0.0, -1.0, 1836.0, float("nan")])
def test_what_is_no_mass_in_amu_is_refused(water: Structure, mass: float) -> None:
    with pytest.raises(StructureError, match="is not one in amu"):
        with_masses(water, [mass, None, None, None])
