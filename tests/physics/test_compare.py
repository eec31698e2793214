from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.compare import PropertySet, compare, dos_error
from phonotune.physics.elastic import ElasticSettings, analyse_stresses, plan_strains
from phonotune.physics.phonon import PhononSettings, analyse_forces, plan_displacements
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument
from tests.physics.conftest import RocksaltWell, emt

MODEL = Source(role="untuned", evaluator="stiffer")


@pytest.fixture
def stiffer(copper: Structure, small_settings: PhononSettings) -> PhononDocument:
    """Copper with every frequency 10 % higher."""
    plan = plan_displacements(copper, small_settings)
    answers = [Evaluation(a.energy, 1.21 * a.forces) for a in emt()(plan.structures)]
    return analyse_forces(plan, answers, MODEL)


def test_a_model_that_is_its_reference_deviates_nowhere(
    copper_phonons: PhononDocument, source: Source
) -> None:
    same = PropertySet(source, phonon=copper_phonons)
    deviations = compare(same, [same]).rows[0].deviations
    assert deviations.frequency_mae == deviations.frequency_max == deviations.dos_error == 0
    assert deviations.bulk_modulus is None


def test_a_uniformly_stiffer_model_gives_the_known_deviations(
    copper_phonons: PhononDocument, stiffer: PhononDocument, source: Source
) -> None:
    row = compare(PropertySet(source, copper_phonons), [PropertySet(MODEL, stiffer)]).rows[0]
    arrays = copper_phonons.data.arrays()
    nu, weights = np.abs(arrays["mesh_frequencies"]), arrays["mesh_weights"]
    mean = weights @ nu.mean(axis=1) / weights.sum()
    mean_square = weights @ (nu**2).mean(axis=1) / weights.sum()
    assert row.deviations.frequency_mae == pytest.approx(0.1 * mean, rel=1e-6)
    assert row.deviations.frequency_rmse == pytest.approx(0.1 * np.sqrt(mean_square), rel=1e-6)
    assert row.deviations.frequency_max == pytest.approx(0.1 * nu.max(), rel=1e-6)
    assert row.deviations.highest_frequency_bias == pytest.approx(10, rel=1e-6)
    assert 5 < row.deviations.dos_error < 50
    assert row.deviations.entropy_300 < 0
    assert row.properties.highest_frequency == pytest.approx(1.1 * copper_phonons.highest_frequency)


def test_dos_error_is_zero_for_equal_and_100_for_disjoint_spectra() -> None:
    f = np.linspace(0, 10, 1001)
    low, high = np.exp(-((f - 2) ** 2) * 9), np.exp(-((f - 8) ** 2) * 9)
    assert dos_error((f, low), (f, 3 * low)) == pytest.approx(0, abs=1e-9)
    assert dos_error((f, low), (f, high)) == pytest.approx(100, abs=1e-6)
    shifted = f + 0.25
    coarse = dos_error((f, low), (shifted, low))
    assert 0 < coarse < 100


def test_imaginary_modes_are_counted_over_the_whole_zone(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    plan = plan_displacements(rocksalt, small_settings)
    documents = [
        analyse_forces(plan, RocksaltWell(k, 0.0)(plan.structures), s)
        for k, s in ((-8.0, source), (2.0, MODEL))
    ]
    soft, stable = documents
    row = compare(PropertySet(source, soft), [PropertySet(MODEL, stable)]).rows[0]
    found = row.deviations.imaginary
    arrays = soft.data.arrays()
    expected = arrays["mesh_weights"] @ (arrays["mesh_frequencies"] < -0.1).sum(axis=1)
    assert found.only_reference == expected > 0
    assert found.both == found.only_model == 0
    assert sum(found.model_dump().values()) == 6 * np.prod(soft.mesh)


def test_documents_of_other_settings_are_refused_by_name(
    copper: Structure,
    copper_phonons: PhononDocument,
    small_settings: PhononSettings,
    source: Source,
) -> None:
    other = small_settings.model_copy(update={"mesh_density": 30.0, "displacement": 0.02})
    plan = plan_displacements(copper, other)
    document = analyse_forces(plan, emt()(plan.structures), MODEL)
    with pytest.raises(
        InputError, match=r"mesh, settings.displacement, settings.mesh_density differ"
    ):
        compare(PropertySet(source, copper_phonons), [PropertySet(MODEL, document)])


def test_how_the_supercell_was_chosen_does_not_matter(
    copper: Structure,
    copper_phonons: PhononDocument,
    small_settings: PhononSettings,
    source: Source,
) -> None:
    plan = plan_displacements(copper, small_settings.model_copy(update={"min_length": 7.0}))
    document = analyse_forces(plan, emt()(plan.structures), MODEL)
    rows = compare(PropertySet(source, copper_phonons), [PropertySet(MODEL, document)]).rows
    assert rows[0].deviations.frequency_mae == 0


def test_elastic_constants_are_compared_in_percent(copper: Structure, source: Source) -> None:
    plan = plan_strains(copper, ElasticSettings())
    answers = emt()(plan.structures)
    softer = [Evaluation(a.energy, a.forces, 0.9 * a.stress) for a in answers]
    ours, theirs = analyse_stresses(plan, answers, source), analyse_stresses(plan, softer, MODEL)
    rows = compare(PropertySet(source, elastic=ours), [PropertySet(MODEL, elastic=theirs)]).rows
    assert rows[0].deviations.bulk_modulus == pytest.approx(-10)
    assert rows[0].deviations.shear_modulus == pytest.approx(-10)


def test_a_reference_without_documents_is_refused(source: Source) -> None:
    with pytest.raises(InputError, match="no property document"):
        compare(PropertySet(source), [])
