from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.physics.interchange import to_pymatgen
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges, PhononDocument
from tests.physics.conftest import HARMONIC


@pytest.fixture(scope="module")
def polar(rocksalt: Structure, small_settings: PhononSettings, source: Source) -> PhononDocument:
    born = BornCharges(charges=np.array([np.eye(3), -np.eye(3)]), dielectric=2.5 * np.eye(3))
    plan = plan_displacements(rocksalt, small_settings, born)
    return analyse_forces(plan, HARMONIC(plan.structures), source, born)


def test_bands_are_those_of_the_document(polar: PhononDocument) -> None:
    bands, _ = to_pymatgen(polar)
    arrays = polar.data.arrays()
    np.testing.assert_array_equal(bands.bands, arrays["band_frequencies"].T)
    np.testing.assert_array_equal([q.frac_coords for q in bands.qpoints], arrays["band_q"])
    np.testing.assert_allclose(bands.distance, 2 * np.pi * arrays["band_distances"], atol=1e-9)


def test_branches_are_the_segments_of_the_path(polar: PhononDocument) -> None:
    bands, _ = to_pymatgen(polar)
    found = [(b["start_index"], b["end_index"]) for b in bands.branches]
    assert found == [tuple(s) for s in polar.data.arrays()["band_segments"].tolist()]
    first = polar.band_labels[0].label, polar.band_labels[1].label
    assert bands.branches[0]["name"] == "-".join(first)


def test_the_splitting_at_gamma_is_kept_for_each_direction(polar: PhononDocument) -> None:
    bands, _ = to_pymatgen(polar)
    assert bands.has_nac
    for _, frequencies in bands.nac_frequencies:
        assert frequencies.max() == pytest.approx(polar.highest_frequency, abs=0.5)
        assert np.ptp(np.sort(frequencies)[3:]) > 0.1


def test_the_dos_keeps_its_sites_and_its_heat_capacity(polar: PhononDocument) -> None:
    _, dos = to_pymatgen(polar)
    arrays = polar.data.arrays()
    np.testing.assert_array_equal(dos.densities, arrays["dos_total"])
    elements = {str(k): v.densities for k, v in dos.get_element_dos().items()}
    np.testing.assert_array_equal(elements["Na"], arrays["dos_projected"][0])
    np.testing.assert_array_equal(elements["Cl"], arrays["dos_projected"][1])
    assert dos.cv(300.0) == pytest.approx(polar.thermal_300.heat_capacity, rel=0.01)
