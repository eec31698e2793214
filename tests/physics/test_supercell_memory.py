from __future__ import annotations

import re

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.phonon.displacements import plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import as_matrix
from phonotune.physics.supercell_memory import available_memory, check_memory, estimate_memory

PRIMITIVE = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def test_the_estimate_grows_with_the_square_of_the_supercell(rocksalt: Structure) -> None:
    small, large = (estimate_memory(rocksalt, as_matrix([n, n, n]), PRIMITIVE) for n in (2, 4))
    assert (small.atoms, large.atoms) == (64, 512)
    assert large.square / small.square == pytest.approx(64)
    assert large.linear / small.linear == pytest.approx(8)


def test_the_force_constants_and_permutations_are_counted(rocksalt: Structure) -> None:
    need = estimate_memory(rocksalt, as_matrix([2, 2, 2]), PRIMITIVE)
    assert need.square > 48 * 32 * 64 * 8
    assert need.linear > 2 * 64 * 9 * 8


def test_a_small_supercell_passes(rocksalt: Structure) -> None:
    check_memory(rocksalt, as_matrix([2, 2, 2]), PRIMITIVE)


def test_a_supercell_too_large_is_refused_with_what_would_fit(rocksalt: Structure) -> None:
    with pytest.raises(InputError, match="GiB are available") as caught:
        check_memory(rocksalt, as_matrix([10, 10, 10]), PRIMITIVE, available=2 << 30)
    fitting = int(re.search(r"up to about (\d+) atoms", str(caught.value)).group(1))
    assert 64 < fitting < 8000
    edge = int((fitting / 8) ** (1 / 3))
    check_memory(rocksalt, as_matrix([edge] * 3), PRIMITIVE, available=2 << 30)


def test_an_enormous_supercell_is_refused_before_it_is_built(
    rocksalt: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*_: object) -> None:
        pytest.fail("the supercell was built")

    monkeypatch.setattr("phonotune.physics.phonon.displacements.build_phonopy", built)
    settings = PhononSettings(supercell_matrix=as_matrix([100, 100, 100]))
    with pytest.raises(InputError, match="8000000 atoms need about"):
        plan_displacements(rocksalt, settings)


def test_the_available_memory_is_known_here() -> None:
    found = available_memory()
    assert found is None or 1 << 20 < found < 1 << 50
