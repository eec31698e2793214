from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure, SymmOp
from scipy.spatial.transform import Rotation

from phonotune.errors import InputError, LabelError
from phonotune.physics.phonon.displacements import (
    analyse_forces,
    gamma_force_constants,
    plan_displacements,
    plan_gamma_displacements,
)
from phonotune.physics.phonon.document import phonopy_of
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import as_matrix
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges, PhononDocument
from tests.physics.conftest import RocksaltWell, emt, silicon_potential

STABLE = RocksaltWell(curvature=2.0, quartic=0.0)
SOFT = RocksaltWell(curvature=-8.0, quartic=4.0)


def phonons(
    structure: Structure, settings: PhononSettings, source: Source, evaluator: object
) -> PhononDocument:
    plan = plan_displacements(structure, settings)
    return analyse_forces(plan, evaluator(plan.structures), source)


def test_acoustic_modes_vanish_at_gamma(copper_phonons: PhononDocument) -> None:
    arrays = copper_phonons.data.arrays()
    assert not arrays["commensurate_q"][0].any()
    np.testing.assert_allclose(arrays["commensurate_frequencies"][0], 0, atol=1e-5)


def test_the_lowest_frequency_does_not_count_acoustic_modes_at_gamma(
    copper_phonons: PhononDocument,
) -> None:
    assert copper_phonons.lowest_frequency > 0.5
    assert copper_phonons.is_stable
    assert copper_phonons.imaginary_modes == []


def test_frequencies_do_not_depend_on_the_orientation(
    silicon: Structure, small_settings: PhononSettings, source: Source
) -> None:
    settings = small_settings.model_copy(
        update={"supercell_matrix": as_matrix([1, 1, 1]), "displacement": 0.002}
    )
    turn = Rotation.from_rotvec([0.3, -0.5, 0.9]).as_matrix()
    turned = silicon.copy().apply_operation(SymmOp.from_rotation_and_translation(turn))
    a = phonons(silicon, settings, source, silicon_potential())
    b = phonons(turned, settings, source, silicon_potential())
    np.testing.assert_allclose(
        b.data.arrays()["mesh_frequencies"], a.data.arrays()["mesh_frequencies"], atol=2e-3
    )
    lattice = np.array(b.unitcell.lattice.matrix)
    np.testing.assert_allclose(lattice, turned.lattice.matrix)


def test_primitive_and_conventional_cells_give_the_same_phonons(
    copper: Structure, small_settings: PhononSettings, source: Source
) -> None:
    rows = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    primitive = Structure(Lattice(rows @ copper.lattice.matrix), ["Cu"], [[0, 0, 0]])
    matrix = as_matrix(np.rint(2 * np.linalg.inv(rows)))
    conventional = phonons(copper, small_settings, source, emt())
    own = phonons(
        primitive, small_settings.model_copy(update={"supercell_matrix": matrix}), source, emt()
    )
    assert own.primitive_matrix == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert conventional.formula_units == own.formula_units == 1
    assert own.highest_frequency == pytest.approx(conventional.highest_frequency, abs=1e-6)
    assert own.thermal_300.entropy == pytest.approx(conventional.thermal_300.entropy, abs=1e-5)


def test_the_optical_frequency_of_a_known_lattice_comes_out(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    document = phonons(rocksalt, small_settings, source, STABLE)
    m = [site.specie.atomic_mass for site in rocksalt]
    reduced = 1 / (1 / m[0] + 1 / m[-1])
    expected = np.sqrt(STABLE.total_curvature / reduced) * 15.633302
    gamma = document.data.arrays()["commensurate_frequencies"][0]
    np.testing.assert_allclose(gamma[3:], expected, rtol=1e-5)


def test_residual_forces_of_the_undeformed_cell_drop_out(source: Source) -> None:
    polar = Structure(Lattice.tetragonal(2.9, 3.4), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.54]])
    settings = PhononSettings(
        supercell_matrix=as_matrix([2, 2, 2]), mesh_density=10.0, max_temperature=300.0
    )
    plan = plan_displacements(polar, settings)
    answers = emt()(plan.structures)
    undeformed = plan.structures[0].copy()
    undeformed.translate_sites([int(plan.sites[0])], -plan.vectors[0], frac_coords=False)
    residual = emt()([undeformed])[0].forces
    assert np.abs(residual).max() > 0.1
    cleaned = [Evaluation(a.energy, a.forces - residual) for a in answers]
    raw = analyse_forces(plan, answers, source).data.arrays()["force_constants"]
    clean = analyse_forces(plan, cleaned, source).data.arrays()["force_constants"]
    np.testing.assert_allclose(raw, clean, atol=1e-9)


def test_an_imaginary_mode_is_found_and_listed_once_a_star(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    document = phonons(rocksalt, small_settings, source, SOFT)
    assert not document.is_stable
    softest = document.imaginary_modes[0]
    assert softest.q == (0, 0, 0)
    assert softest.frequency == pytest.approx(document.lowest_frequency)
    stars = {tuple(np.sort(np.abs(m.q))) for m in document.imaginary_modes}
    per_star = [
        sum(tuple(np.sort(np.abs(m.q))) == s for m in document.imaginary_modes) for s in stars
    ]
    assert max(per_star) <= 6


def test_the_mesh_is_gamma_centred_and_holds_the_zone_boundary(
    copper_phonons: PhononDocument,
) -> None:
    arrays = copper_phonons.data.arrays()
    assert all(n % 2 == 0 for n in copper_phonons.mesh)
    assert not arrays["mesh_q"][0].any()
    assert arrays["mesh_weights"].sum() == np.prod(copper_phonons.mesh)
    assert np.isclose(np.abs(arrays["mesh_q"]), 0.5).any()


def test_a_skewed_primitive_cell_gets_a_mesh_that_keeps_the_point_group(
    copper: Structure,
    copper_phonons: PhononDocument,
    small_settings: PhononSettings,
    source: Source,
) -> None:
    rows = np.array([[0.5, 0.5, 1], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    skewed = Structure(Lattice(rows @ copper.lattice.matrix), ["Cu"], [[0, 0, 0]])
    matrix = as_matrix(np.rint(2 * np.linalg.inv(rows)))
    settings = small_settings.model_copy(update={"supercell_matrix": matrix})
    document = phonons(skewed, settings, source, emt())
    assert len(set(document.mesh)) == 1
    assert document.highest_frequency == pytest.approx(copper_phonons.highest_frequency, abs=1e-6)


def test_the_dos_counts_every_mode(copper_phonons: PhononDocument) -> None:
    arrays = copper_phonons.data.arrays()
    area = np.sum(
        0.5
        * np.diff(arrays["dos_frequencies"])
        * (arrays["dos_total"][1:] + arrays["dos_total"][:-1])
    )
    assert area == pytest.approx(3, rel=0.01)


def test_force_constants_are_compact_and_come_back_from_the_document(
    copper_phonons: PhononDocument,
) -> None:
    arrays = copper_phonons.data.arrays()
    assert arrays["force_constants"].shape == (1, 32, 3, 3)
    np.testing.assert_allclose(arrays["force_constants"].sum(axis=1), 0, atol=1e-10)
    again = phonopy_of(copper_phonons).run_qpoints(arrays["commensurate_q"]).frequencies
    np.testing.assert_allclose(again, arrays["commensurate_frequencies"], atol=1e-7)


def test_born_charges_split_the_optical_modes(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    plan = plan_displacements(rocksalt, small_settings)
    answers = STABLE(plan.structures)
    born = BornCharges(charges=np.array([np.eye(3), -np.eye(3)]), dielectric=2.5 * np.eye(3))
    plain = analyse_forces(plan, answers, source)
    polar = analyse_forces(plan, answers, source, born=born)
    assert polar.has_nac
    assert not plain.has_nac
    assert polar.highest_frequency > plain.highest_frequency + 0.1
    again = phonopy_of(polar).run_mesh(list(polar.mesh), is_gamma_center=True).frequencies
    np.testing.assert_allclose(again, polar.data.arrays()["mesh_frequencies"], atol=1e-6)


def test_born_charges_of_another_cell_are_refused(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    plan = plan_displacements(rocksalt, small_settings)
    born = BornCharges(charges=np.zeros((8, 3, 3)), dielectric=np.eye(3))
    with pytest.raises(InputError, match="primitive cell of 2 atoms"):
        analyse_forces(plan, STABLE(plan.structures), source, born=born)


def test_a_missing_answer_is_named(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    plan = plan_displacements(rocksalt, small_settings)
    answers = [*STABLE(plan.structures)[:-1], None]
    with pytest.raises(LabelError, match=rf"no answer for frames: {len(answers) - 1}"):
        analyse_forces(plan, answers, source)


def test_one_plan_serves_several_evaluators(
    rocksalt: Structure, small_settings: PhononSettings, source: Source
) -> None:
    plan = plan_displacements(rocksalt, small_settings)
    first = analyse_forces(plan, STABLE(plan.structures), source)
    analyse_forces(plan, SOFT(plan.structures), source)
    assert analyse_forces(plan, STABLE(plan.structures), source) == first


def test_gamma_force_constants_are_those_of_the_whole_crystal(rocksalt: Structure) -> None:
    plan = plan_gamma_displacements(rocksalt, 0.01, 1e-5)
    assert len(plan.structure) == 2
    constants = gamma_force_constants(plan, STABLE(plan.structures))
    np.testing.assert_allclose(constants, constants.T, atol=1e-10)
    np.testing.assert_allclose(constants[:3, :3] + constants[:3, 3:], 0, atol=1e-10)
    np.testing.assert_allclose(constants[:3, :3], STABLE.total_curvature * np.eye(3), atol=1e-8)


@pytest.mark.parametrize("threshold", [0.5])
def test_a_threshold_above_zero_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="less than or equal to 0"):
        PhononSettings(imaginary_threshold=threshold)
