from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError, LabelError
from phonotune.physics.phonon import PhononSettings, analyse_forces, plan_displacements
from phonotune.physics.wells import (
    WellSettings,
    analyse_well,
    fit_even,
    lowest_point,
    plan_well,
    reverses_by_symmetry,
)
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.wells import WellDocument
from tests.physics.conftest import DOUBLE, HARMONIC, emt, silicon_potential


def well_of(
    structure: Structure, phonons: PhononDocument, settings: WellSettings, evaluator: object
) -> WellDocument:
    plan = plan_well(structure, phonons, settings)
    return analyse_well(plan, evaluator(plan.structures), phonons.source)


def test_a_planted_double_well_is_recovered(
    rocksalt: Structure, double_well_phonons: PhononDocument
) -> None:
    document = well_of(rocksalt, double_well_phonons, WellSettings(max_displacement=0.3), DOUBLE)
    k, b = DOUBLE.total_curvature, DOUBLE.quartic
    m = [rocksalt[0].specie.atomic_mass, rocksalt[-1].specie.atomic_mass]
    reduced = m[0] * m[1] / sum(m)
    assert document.q == (0, 0, 0)
    assert document.has_double_well
    assert document.minimum_in_range
    assert document.q0 == pytest.approx(np.sqrt(-k / (4 * b)) * np.sqrt(reduced), rel=0.01)
    assert document.depth == pytest.approx(1000 * k**2 / (16 * b), rel=0.01)
    assert document.curvature_frequency == pytest.approx(
        -np.sqrt(-k / reduced) * 15.633302, rel=0.01
    )
    assert document.mode_frequency == pytest.approx(document.curvature_frequency, rel=0.02)


@pytest.mark.parametrize(
    "q",
    [
        (0, 0, 0),
        (0.5, 0.5, 0),
        (0.5, 0.5, 0.5),
        (1 / 3, 1 / 3, 0),
        (0.25, 0, 0.25),
        (0.5, 0.25, 0.75),
    ],
)
def test_the_curvature_of_a_harmonic_mode_is_its_frequency_at_every_q(
    q: tuple[float, ...], rocksalt: Structure, harmonic_phonons: PhononDocument
) -> None:
    settings = WellSettings(q=q, band=4, n_amplitudes=5)
    document = well_of(rocksalt, harmonic_phonons, settings, HARMONIC)
    assert document.curvature_frequency == pytest.approx(document.mode_frequency, rel=1e-5)
    assert not document.has_double_well
    assert document.depth == document.q0 == 0


def test_metal_modes_off_gamma_keep_their_frequency(
    copper: Structure, copper_phonons: PhononDocument
) -> None:
    settings = WellSettings(q=(0.25, 0.25, 0), band=2, max_displacement=0.05)
    document = well_of(copper, copper_phonons, settings, emt())
    assert document.curvature_frequency == pytest.approx(document.mode_frequency, rel=1e-3)
    assert document.formula_units == 4


def test_the_default_mode_is_the_softest(copper: Structure, copper_phonons: PhononDocument) -> None:
    plan = plan_well(copper, copper_phonons, WellSettings())
    arrays = copper_phonons.data.arrays()
    assert plan.mode.frequency == pytest.approx(
        np.sort(arrays["commensurate_frequencies"].ravel())[3]
    )
    assert plan.mode.q.any()


def test_q_squared_is_the_mass_weighted_displacement_per_formula_unit(
    rocksalt: Structure, harmonic_phonons: PhononDocument
) -> None:
    plan = plan_well(rocksalt, harmonic_phonons, WellSettings(q=(0.5, 0.5, 0.0), band=3))
    masses = np.array([s.specie.atomic_mass for s in plan.structures[0]])
    total = np.sum(masses[:, None] * plan.pattern**2)
    assert total == pytest.approx(plan.formula_units, rel=1e-4)


def test_the_grid_ends_at_the_largest_displacement(
    rocksalt: Structure, harmonic_phonons: PhononDocument
) -> None:
    plan = plan_well(rocksalt, harmonic_phonons, WellSettings(q=(0, 0, 0), max_displacement=0.25))
    moved = plan.structures[-1].cart_coords - plan.structures[0].cart_coords
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(0.25)
    assert plan.amplitudes[0] == 0


def test_a_degenerate_mode_gets_the_same_direction_whatever_the_solver(
    rocksalt: Structure, harmonic_phonons: PhononDocument
) -> None:
    plans = [
        plan_well(rocksalt, harmonic_phonons, WellSettings(q=(0, 0, 0), band=b)) for b in (3, 4, 5)
    ]
    for plan in plans:
        np.testing.assert_allclose(plan.pattern, plans[0].pattern, atol=1e-8)
    assert np.abs(plans[0].pattern[:, 1:]).max() < 1e-8
    assert plans[0].pattern[0, 0] > 0


def test_a_minimum_beyond_the_grid_is_told_not_extrapolated(
    rocksalt: Structure, double_well_phonons: PhononDocument
) -> None:
    document = well_of(rocksalt, double_well_phonons, WellSettings(max_displacement=0.05), DOUBLE)
    assert document.has_double_well
    assert not document.minimum_in_range
    assert document.q0 == pytest.approx(document.data.arrays()["amplitudes"][-1])


def test_a_well_of_a_model_along_the_reference_mode_names_it(
    rocksalt: Structure, double_well_phonons: PhononDocument, source: Source
) -> None:
    plan = plan_well(rocksalt, double_well_phonons, WellSettings(n_amplitudes=5))
    model = Source(role="lora", evaluator="mini + lora")
    answers = DOUBLE(plan.structures)
    assert analyse_well(plan, answers, model).mode_source == "reference"
    assert "own" in analyse_well(plan, answers, source).mode_source


def test_symmetry_decides_whether_one_side_is_enough(rocksalt: Structure) -> None:
    zincblende = Structure.from_spacegroup(
        "F-43m", Lattice.cubic(5.4), ["Ga", "As"], [[0, 0, 0], [0.25] * 3]
    )
    along_x = np.array([[1.0, 0, 0]] * 4 + [[-1.0, 0, 0]] * 4)
    along_111 = np.array([[1.0, 1, 1]] * 4 + [[-1.0, -1, -1]] * 4)
    assert reverses_by_symmetry(zincblende, along_x, 1e-3)
    assert not reverses_by_symmetry(zincblende, along_111, 1e-3)
    assert reverses_by_symmetry(rocksalt, along_111, 1e-3)


def test_the_raman_mode_of_silicon_is_even_along_a_cube_axis_only(
    silicon: Structure, small_settings: PhononSettings, source: Source
) -> None:
    settings = small_settings.model_copy(
        update={"supercell_matrix": ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
    )
    plan = plan_displacements(silicon, settings)
    phonons = analyse_forces(plan, silicon_potential()(plan.structures), source)
    turned = plan_well(silicon, phonons, WellSettings(q=(0, 0, 0), n_amplitudes=5))
    assert len(turned.structures) == 5
    along_111 = np.array([[1.0, 1, 1]] * 4 + [[-1.0, -1, -1]] * 4)
    order = np.argsort((silicon.frac_coords * 4).round().astype(int) % 2 @ [1, 1, 1])
    pattern = np.empty_like(along_111)
    pattern[order] = along_111
    assert not reverses_by_symmetry(silicon, pattern, 1e-3)


def test_energies_and_forces_are_fitted_together() -> None:
    c = np.array([-5.0, 2.0, 0.3])
    q = np.linspace(0, 1.5, 7)
    energies = c[0] * q**2 + c[1] * q**4 + c[2] * q**6
    forces = -(2 * c[0] * q + 4 * c[1] * q**3 + 6 * c[2] * q**5)
    fitted, residual = fit_even(q, energies, forces)
    np.testing.assert_allclose(fitted, c, rtol=1e-9)
    assert residual < 1e-9


def test_the_lowest_point_may_be_a_second_minimum_behind_a_barrier() -> None:
    q0, depth = lowest_point(np.array([1.0, -3.0, 1.5]), 2.0)
    assert q0 == pytest.approx(np.sqrt((3 + np.sqrt(9 - 4.5)) / 4.5), rel=1e-6)
    assert depth < 0
    assert lowest_point(np.array([1.0, -1.0, 1.0]), 2.0) == (0.0, 0.0)


def test_an_acoustic_band_at_gamma_is_refused(
    rocksalt: Structure, harmonic_phonons: PhononDocument
) -> None:
    with pytest.raises(InputError, match="acoustic at Γ"):
        plan_well(rocksalt, harmonic_phonons, WellSettings(q=(0, 0, 0), band=0))


def test_a_missing_answer_is_named(copper: Structure, copper_phonons: PhononDocument) -> None:
    plan = plan_well(copper, copper_phonons, WellSettings(n_amplitudes=5))
    answers = [*emt()(plan.structures)[:-1], None]
    with pytest.raises(LabelError, match="no answer for frames: 4"):
        analyse_well(plan, answers, copper_phonons.source)
