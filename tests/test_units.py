from __future__ import annotations

import pytest
from ase import units

from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA


def test_stresses_are_converted_as_ase_converts_them() -> None:
    assert pytest.approx(1.0 / units.GPa, rel=1e-12) == EV_PER_CUBIC_ANGSTROM_IN_GPA
