from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase.units import GPa, kcal, mol

from phonotune.data.statistics import describe
from phonotune.schemas.dataset import Frame

MakeFrame = Callable[..., Frame]


@pytest.fixture
def frames(make_frame: MakeFrame) -> list[Frame]:
    """Three frames with plain numbers: -3, -2, -1 eV/atom; one without any label but forces."""
    forces = np.zeros((8, 3))
    forces[2] = [0.3, 0.0, 0.4]
    labels = [{"energy": -8.0 * n, "stress": n * GPa * np.eye(3)} for n in (3, 2, 1)]
    labels.append({"energy": None, "stress": None, "group": "other", "protocol": "p"})
    return [make_frame(forces=forces, **label) for label in labels]


def test_statistics_count_and_span(frames: list[Frame]) -> None:
    found = describe(frames)
    assert (found.n_frames, found.n_groups, found.smallest, found.largest) == (4, 2, 8, 8)
    assert (found.with_energy, found.with_forces, found.with_stress) == (3, 4, 3)
    assert (found.energy_lowest, found.energy_highest) == (-3.0, -1.0)
    assert found.force_largest == pytest.approx(0.5)
    assert found.force_rms == pytest.approx(0.5 / np.sqrt(24))
    assert found.pressure_lowest == pytest.approx(-3.0)
    assert found.pressure_highest == pytest.approx(-1.0)
    assert found.compositions == {"NaCl": 4}
    assert found.protocols == {"unknown": 3, "p": 1}
    assert found.warnings == []


def test_energies_in_kcal_per_mol_are_flagged(frames: list[Frame]) -> None:
    factor = mol / kcal
    assert factor == pytest.approx(23.06, abs=0.01)
    wrong = [replace(frame, energy=-8 * 3.4 * factor) for frame in frames]
    (warning,) = describe(wrong).warnings
    assert "78 eV/atom" in warning
    assert "kcal/mol" in warning


def test_stresses_in_kilobar_and_forces_of_colliding_atoms_are_flagged(frames: list[Frame]) -> None:
    wrong = replace(frames[0], stress=30.0 * np.eye(3), forces=200.0 * np.ones((8, 3)))
    forces, pressure = describe([wrong]).warnings
    assert "346 eV/Å" in forces
    assert "GPa" in pressure


def test_no_label_gives_no_number(make_frame: MakeFrame) -> None:
    found = describe([make_frame(energy=None, forces=None, stress=None)])
    assert found.energy_lowest is None
    assert found.force_rms is None
    assert found.pressure_highest is None


def test_forces_whose_square_is_infinite_are_warned_of(make_frame: Callable[..., Frame]) -> None:
    statistics = describe([make_frame(forces=np.full((8, 3), 1e200))])
    assert statistics.force_rms is None
    assert any("Forces reach" in warning for warning in statistics.warnings)
