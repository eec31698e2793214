"""Mode Grüneisen parameters against phonopy's own and against differences of frequencies."""

from __future__ import annotations

import numpy as np
import pytest
from phonopy import PhonopyGruneisen
from pymatgen.core import Lattice, Structure

from phonotune.physics.expansion.equation_of_state import VolumeFit
from phonotune.physics.phonon.displacements import PhononPlan, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.volumes import VolumePhonons, mode_gruneisen, phonons_at_volumes
from tests.physics.conftest import silicon_potential

SETTINGS = PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)))
STEP = 0.002


def plan_at(change: float) -> PhononPlan:
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
    silicon.scale_lattice(silicon.volume * (1 + change))
    return plan_displacements(silicon, SETTINGS)


@pytest.fixture(scope="module")
def found() -> VolumePhonons:
    plans = [plan_at(n * STEP) for n in (-2, -1, 0, 1, 2)]
    forces = [np.array([a.forces for a in silicon_potential()(plan.structures)]) for plan in plans]
    return phonons_at_volumes(plans, forces, 16.0)


@pytest.fixture(scope="module")
def fit(found: VolumePhonons) -> VolumeFit:
    return VolumeFit(np.array([phonon.primitive.volume for phonon in found.phonons]))


def test_frequencies_at_the_middle_volume_are_reproduced(
    found: VolumePhonons, fit: VolumeFit
) -> None:
    volume = float(fit.volumes[2])
    nu, _ = mode_gruneisen(found, fit.value_weights(volume), fit.slope_weights(volume), volume)
    np.testing.assert_allclose(nu[1:], found.frequencies[2][1:], atol=1e-6)


def test_phonopy_gives_the_same_mode_gruneisen_parameters(
    found: VolumePhonons, fit: VolumeFit
) -> None:
    minus, middle, plus = (found.phonons[i] for i in (1, 2, 3))
    theirs = PhonopyGruneisen(middle, plus, minus)
    theirs.set_mesh(list(found.mesh), is_gamma_center=True)
    q, weights, _, _, gamma = theirs.get_mesh()
    volume = float(fit.volumes[2])
    own_nu, own = mode_gruneisen(
        found, fit.value_weights(volume), fit.slope_weights(volume), volume
    )
    np.testing.assert_allclose(q, found.q, atol=1e-9)
    np.testing.assert_array_equal(weights, found.weights)
    counted = own_nu > 0.1
    for row, mask in enumerate(counted):
        np.testing.assert_allclose(np.sort(gamma[row][mask]), np.sort(own[row][mask]), atol=3e-3)


def test_their_mean_is_the_logarithmic_derivative_of_the_mean_frequency(
    found: VolumePhonons, fit: VolumeFit
) -> None:
    volume = float(fit.volumes[2])
    nu, gamma = mode_gruneisen(found, fit.value_weights(volume), fit.slope_weights(volume), volume)
    counted = nu > 0.1
    logs = [np.log(found.frequencies[i][counted]).sum() for i in (1, 3)]
    expected = -(logs[1] - logs[0]) / np.log(fit.volumes[3] / fit.volumes[1])
    assert gamma[counted].sum() == pytest.approx(expected, rel=1e-3)


def test_lowest_frequencies_leave_out_the_acoustic_modes_at_gamma(found: VolumePhonons) -> None:
    assert (found.lowest > 0.5).all()
    assert np.abs(found.frequencies[:, 0, :3]).max() < 1e-2
