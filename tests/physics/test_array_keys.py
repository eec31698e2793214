"""Keys of caches: equal when every bit is, whatever the object."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.physics.array_keys import ArrayKey, structure_key
from phonotune.physics.residual.basis import ForceConstantBasis


def salt() -> Structure:
    return Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_equal_structures_are_one_key() -> None:
    assert {structure_key(salt()), structure_key(salt())} == {structure_key(salt())}


@pytest.mark.parametrize(
    "other",
    [
        Structure(Lattice.cubic(np.nextafter(4.0, 5.0)), ["Na", "Cl"], salt().frac_coords),
        Structure(Lattice.cubic(4.0), ["Na", "Cl"], np.nextafter(salt().frac_coords, 1.0)),
        Structure(Lattice.cubic(4.0), ["Na", "F"], salt().frac_coords),
    ],
    ids=["last bit of the cell", "last bit of a position", "element"],
)
def test_the_last_bit_and_an_element_make_another_key(other: Structure) -> None:
    assert structure_key(other) != structure_key(salt())


def test_shape_and_type_belong_to_the_key() -> None:
    ones = np.ones(4)
    keys = {ArrayKey.of(0, a) for a in (ones, ones.reshape(2, 2), ones.astype(np.float32), None)}
    assert len(keys) == 4


def test_the_basis_of_a_supercell_is_found_once() -> None:
    first = ForceConstantBasis.find(salt() * (2, 2, 2), None, 1e-5)
    assert ForceConstantBasis.find(salt() * (2, 2, 2), None, 1e-5) is first
    assert ForceConstantBasis.find(salt() * (2, 2, 2), None, 1e-4) is not first
