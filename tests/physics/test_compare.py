from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.committee_spread import with_spread
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.deviations import dos_error, imaginary_confusion, phase_deviations
from phonotune.physics.elastic import ElasticSettings, analyse_stresses, plan_strains
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.transitions.phases import PhaseMatch
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
    same = PropertySet.of([copper_phonons])
    deviations = compare(same, [same]).rows[0].deviations
    assert deviations.frequency_mae == deviations.frequency_max == deviations.dos_error == 0
    assert deviations.bulk_modulus is None


def test_a_uniformly_stiffer_model_gives_the_known_deviations(
    copper_phonons: PhononDocument, stiffer: PhononDocument, source: Source
) -> None:
    row = compare(PropertySet.of([copper_phonons]), [PropertySet.of([stiffer])]).rows[0]
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
    row = compare(PropertySet.of([soft]), [PropertySet.of([stable])]).rows[0]
    found = row.deviations.imaginary
    arrays = soft.data.arrays()
    expected = arrays["mesh_weights"] @ (arrays["mesh_frequencies"] < -0.1).sum(axis=1)
    assert found.only_reference == expected > 0
    assert found.both == found.only_model == 0
    total = found.both + found.only_reference + found.only_model + found.neither
    assert total == 6 * np.prod(soft.mesh)
    assert found.recall == 0
    assert found.precision is None
    assert found.threshold == -0.1


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
        InputError, match=r"displacement 0.01 and 0.02; mesh density 20.0 and 30.0\."
    ):
        compare(PropertySet.of([copper_phonons]), [PropertySet.of([document])])


def test_how_the_supercell_was_chosen_does_not_matter(
    copper: Structure,
    copper_phonons: PhononDocument,
    small_settings: PhononSettings,
    source: Source,
) -> None:
    plan = plan_displacements(copper, small_settings.model_copy(update={"min_length": 7.0}))
    document = analyse_forces(plan, emt()(plan.structures), MODEL)
    rows = compare(PropertySet.of([copper_phonons]), [PropertySet.of([document])]).rows
    assert rows[0].deviations.frequency_mae == 0


def test_elastic_constants_are_compared_in_percent(copper: Structure, source: Source) -> None:
    plan = plan_strains(copper, ElasticSettings())
    answers = emt()(plan.structures)
    softer = [Evaluation(a.energy, a.forces, 0.9 * a.stress) for a in answers]
    ours, theirs = analyse_stresses(plan, answers, source), analyse_stresses(plan, softer, MODEL)
    rows = compare(PropertySet.of([ours]), [PropertySet.of([theirs])]).rows
    assert rows[0].deviations.bulk_modulus == pytest.approx(-10)
    assert rows[0].deviations.shear_modulus == pytest.approx(-10)


def test_a_reference_without_documents_is_refused(source: Source) -> None:
    with pytest.raises(InputError, match="no property document"):
        compare(PropertySet(source), [])


def test_every_branch_of_a_uniformly_stiffer_model_is_off_by_its_own_mean(
    copper_phonons: PhononDocument, stiffer: PhononDocument, source: Source
) -> None:
    row = compare(PropertySet.of([copper_phonons]), [PropertySet.of([stiffer])]).rows[0]
    arrays = copper_phonons.data.arrays()
    weights = arrays["mesh_weights"] / arrays["mesh_weights"].sum()
    expected = 0.1 * weights @ np.abs(arrays["mesh_frequencies"])
    np.testing.assert_allclose(row.deviations.branch_mae, expected, atol=1e-6)
    assert row.deviations.acoustic_mae == row.deviations.frequency_mae
    assert row.deviations.optical_mae is None


def test_acoustic_and_optical_branches_are_told_apart(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    """Stiffer cation coordinates leave the acoustic branches near Γ alone and lift the optical ones."""
    plan = plan_displacements(rocksalt, small_settings)
    soft, stiff = (
        analyse_forces(plan, RocksaltWell(k, 0.0)(plan.structures), s)
        for k, s in ((2.0, source), (4.0, MODEL))
    )
    found = compare(PropertySet.of([soft]), [PropertySet.of([stiff])]).rows[0].deviations
    assert len(found.branch_mae) == 6
    assert found.acoustic_mae == pytest.approx(np.mean(found.branch_mae[:3]), abs=1e-6)
    assert found.optical_mae == pytest.approx(np.mean(found.branch_mae[3:]), abs=1e-6)
    assert found.optical_mae > 2 * found.acoustic_mae > 0


def test_precision_and_recall_count_modes_of_the_full_zone() -> None:
    """Two q-points of weights 1 and 3: two right, three missed, one invented."""
    reference = np.array([[-1.0, -1.0, 5.0], [-1.0, 4.0, 5.0]])
    model = np.array([[-1.0, -1.0, -0.5], [-0.05, 4.0, 5.0]])
    found = imaginary_confusion(np.array([1.0, 3.0]), reference, model, -0.1)
    assert (found.both, found.only_reference, found.only_model, found.neither) == (2, 3, 1, 6)
    assert found.recall == pytest.approx(40)
    assert found.precision == pytest.approx(200 / 3)


def test_thermal_deviations_are_differences_with_their_sign(
    copper_phonons: PhononDocument, stiffer: PhononDocument, source: Source
) -> None:
    rows = compare(PropertySet.of([copper_phonons]), [PropertySet.of([stiffer])]).rows
    found = rows[0].deviations.thermal
    ours, theirs = copper_phonons.data.arrays(), stiffer.data.arrays()
    assert found.highest_temperature == ours["temperatures"].max() == 400
    entropy = theirs["entropy"] - ours["entropy"]
    assert 0 > found.entropy_largest == pytest.approx(entropy.min())
    assert found.helmholtz_largest == pytest.approx((theirs["helmholtz"] - ours["helmholtz"]).max())
    warm = stiffer.thermal_300.heat_capacity - copper_phonons.thermal_300.heat_capacity
    assert 0 > found.heat_capacity_300 == pytest.approx(warm)
    assert abs(found.heat_capacity_largest) > abs(found.heat_capacity_300)


def test_every_elastic_constant_is_compared_by_name(copper: Structure, source: Source) -> None:
    plan = plan_strains(copper, ElasticSettings())
    answers = emt()(plan.structures)
    softer = [Evaluation(a.energy, a.forces, 0.9 * a.stress) for a in answers]
    ours, theirs = analyse_stresses(plan, answers, source), analyse_stresses(plan, softer, MODEL)
    rows = compare(PropertySet.of([ours]), [PropertySet.of([theirs])]).rows
    found = rows[0].deviations.elastic
    names = {"C11", "C22", "C33", "C12", "C13", "C23", "C44", "C55", "C66"}
    assert set(found.constants) == names
    tensor = ours.elastic_tensor
    assert found.constants["C44"] == pytest.approx(-0.1 * tensor[3][3])
    assert found.constants["C12"] == pytest.approx(-0.1 * tensor[0][1])
    assert found.largest in {"C11", "C22", "C33"}
    assert found.clamped_largest == pytest.approx(-0.1 * tensor[0][0])
    assert found.young_modulus == pytest.approx(-10)


def test_meshes_that_converged_differently_are_compared_on_the_denser_one(
    copper: Structure,
    copper_phonons: PhononDocument,
    small_settings: PhononSettings,
    source: Source,
) -> None:
    """The same force constants on another mesh deviate by nothing but rounding."""
    finer = small_settings.model_copy(update={"mesh_density": 30.0})
    plan = plan_displacements(copper, finer)
    document = analyse_forces(plan, emt()(plan.structures), MODEL)
    assert document.mesh > copper_phonons.mesh
    document = document.model_copy(update={"settings": copper_phonons.settings})
    for one, other in ((copper_phonons, document), (document, copper_phonons)):
        rows = compare(PropertySet.of([one]), [PropertySet.of([other])]).rows
        assert rows[0].deviations.mesh == document.mesh
        assert rows[0].deviations.frequency_max < 1e-9
        assert rows[0].deviations.dos_error < 1e-6


def test_error_bars_of_a_committee_stand_beside_its_numbers(
    copper_phonons: PhononDocument, stiffer: PhononDocument, source: Source
) -> None:
    committee = with_spread(stiffer, [copper_phonons, stiffer])
    rows = compare(
        PropertySet.of([copper_phonons]),
        [PropertySet.of([committee]), PropertySet.of([stiffer])],
    ).rows
    expected = 0.1 * copper_phonons.highest_frequency / np.sqrt(2)
    assert rows[0].error_bars.highest_frequency == pytest.approx(expected, rel=1e-6)
    assert rows[0].error_bars.bulk_modulus is None
    assert rows[1].error_bars is None


def test_phases_found_missed_and_invented_become_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    match = PhaseMatch(both=2, only_reference=1, only_model=2)
    monkeypatch.setattr("phonotune.physics.deviations.phase_match", lambda *_: match)
    ours, theirs = (SimpleNamespace(ground_state=SimpleNamespace(space_group=g)) for g in "ab")
    found = phase_deviations(ours, theirs)["phases"]
    assert (found.precision, found.recall) == (pytest.approx(50), pytest.approx(200 / 3))
    assert found.f1 == pytest.approx(400 / 7)
    assert (found.ground_state_reference, found.ground_state_model) == ("a", "b")


def test_a_comparison_of_seven_models_of_a_large_cell_stays_below_50_kb(
    copper_phonons: PhononDocument, stiffer: PhononDocument, source: Source
) -> None:
    small = compare(PropertySet.of([copper_phonons]), [PropertySet.of([stiffer])])
    (row,) = small.rows
    many = row.deviations.model_copy(update={"branch_mae": (0.123456,) * 3 * 100})
    large = small.model_copy(update={"rows": [row.model_copy(update={"deviations": many})] * 7})
    assert len(large.model_dump_json()) < 50_000
