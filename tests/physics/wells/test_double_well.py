from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, InputError, LabelError
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.wells import directions, double_well
from phonotune.physics.wells.double_well import (
    WellSettings,
    analyse_well,
    plan_well,
    reverses_by_symmetry,
)
from phonotune.ports import Evaluation
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


def test_every_direction_of_a_planted_well_has_its_depth(
    rocksalt: Structure, double_well_phonons: PhononDocument
) -> None:
    """Σ w_a⁴ is 1, 1/2 and 1/3 of |w|⁴ along a00, aa0 and aaa: so many times deeper is the well."""
    settings = WellSettings(q=(0, 0, 0), directions=("all",), max_displacement=0.35)
    document = well_of(rocksalt, double_well_phonons, settings, DOUBLE)
    k, b = DOUBLE.total_curvature, DOUBLE.quartic
    depths = {part.direction: part.depth for part in document.directions}
    assert list(depths) == ["a00", "aaa", "aa0"]
    for name, times in {"a00": 1, "aa0": 2, "aaa": 3}.items():
        assert depths[name] == pytest.approx(times * 1000 * k**2 / (16 * b), rel=0.01)
    assert (document.direction, document.depth) == ("aaa", depths["aaa"])
    assert document.irrep == "T1u"
    arrays = document.data.arrays()
    np.testing.assert_array_equal(arrays["energies"], arrays["energies_1"])
    assert arrays["energies_2"].min() == pytest.approx(-depths["aa0"], rel=0.1)


def test_directions_share_the_undisplaced_cell(
    rocksalt: Structure, double_well_phonons: PhononDocument
) -> None:
    settings = WellSettings(q=(0, 0, 0), directions=("a00", "aaa"), n_amplitudes=5)
    plan = plan_well(rocksalt, double_well_phonons, settings)
    assert len(plan.structures) == 5 + 4
    assert [path.rows.tolist() for path in plan.paths] == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    for path in plan.paths:
        moved = plan.structures[path.rows[-1]].cart_coords - plan.structures[0].cart_coords
        np.testing.assert_allclose(moved, path.amplitudes[-1] * path.pattern, atol=1e-10)


def test_a_direction_that_does_not_exist_is_refused_with_those_that_do(
    rocksalt: Structure, double_well_phonons: PhononDocument
) -> None:
    settings = WellSettings(q=(0, 0, 0), directions=("a0a",))
    with pytest.raises(ConfigError, match="a00, aa0, aaa, all"):
        plan_well(rocksalt, double_well_phonons, settings)


def test_directions_that_all_leaves_out_are_named_in_the_document_and_can_be_asked_for(
    rocksalt: Structure, double_well_phonons: PhononDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(double_well, "MOST_DIRECTIONS", 2)
    asked = WellSettings(q=(0, 0, 0), directions=("all",), n_amplitudes=5)
    document = well_of(rocksalt, double_well_phonons, asked, DOUBLE)
    assert [part.direction for part in document.directions] == ["a00", "aaa"]
    assert document.dropped_directions == ["aa0"]
    both = asked.model_copy(update={"directions": ("all", "aa0")})
    assert plan_well(rocksalt, double_well_phonons, both).dropped == ()
    named = asked.model_copy(update={"directions": ("aa0",)})
    document = well_of(rocksalt, double_well_phonons, named, DOUBLE)
    assert [part.direction for part in document.directions] == ["aa0"]
    assert document.dropped_directions == []


def test_a_search_for_directions_that_stopped_at_its_limit_is_recorded(
    rocksalt: Structure, double_well_phonons: PhononDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = WellSettings(q=(0, 0, 0), directions=("all",), n_amplitudes=5)
    assert well_of(rocksalt, double_well_phonons, asked, DOUBLE).all_directions_found
    monkeypatch.setattr(directions, "_MOST_SUBSPACES", 1)
    assert not well_of(rocksalt, double_well_phonons, asked, DOUBLE).all_directions_found


def test_a_band_without_its_wavevector_is_a_contradiction(
    rocksalt: Structure, double_well_phonons: PhononDocument
) -> None:
    with pytest.raises(ConfigError, match="without its wavevector"):
        plan_well(rocksalt, double_well_phonons, WellSettings(band=3))


def test_a_rounded_third_is_a_third(rocksalt: Structure, harmonic_phonons: PhononDocument) -> None:
    plan = plan_well(rocksalt, harmonic_phonons, WellSettings(q=(0.33333, 0.33333, 0), band=4))
    assert plan.mode.q.tolist() == [1 / 3, 1 / 3, 0]
    assert plan.formula_units == 3


def test_an_uneven_direction_is_followed_to_both_sides(
    silicon: Structure, small_settings: PhononSettings, source: Source
) -> None:
    """The Raman mode of silicon along 111: bonds stretch on one side and shrink on the other."""
    settings = small_settings.model_copy(
        update={"supercell_matrix": ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
    )
    plan = plan_displacements(silicon, settings)
    phonons = analyse_forces(plan, silicon_potential()(plan.structures), source)
    asked = WellSettings(q=(0, 0, 0), directions=("all",), max_displacement=0.15)
    wells = plan_well(silicon, phonons, asked)
    document = analyse_well(wells, silicon_potential()(wells.structures), source)
    even = {part.direction: part.even for part in document.directions}
    assert even == {"a00": True, "aaa": False}
    arrays = document.data.arrays()
    uneven = list(even).index("aaa")
    energies = arrays[f"energies_{uneven}"]
    assert len(energies) == 21
    assert abs(energies[0] / energies[-1] - 1) > 0.05
    cubic = arrays[f"coefficients_{uneven}"][2]
    assert abs(cubic) > 0
    for part in document.directions:
        assert part.curvature_frequency == pytest.approx(document.mode_frequency, rel=0.01)
        assert not part.has_double_well


def test_levels_of_a_harmonic_mode_are_a_ladder_of_its_frequency(
    rocksalt: Structure, harmonic_phonons: PhononDocument
) -> None:
    """At any supercell: (n + 1/2) ν of the mode, whatever the number of formula units."""
    for q in ((0, 0, 0), (0.25, 0, 0.25)):
        settings = WellSettings(q=q, band=4, max_displacement=0.6)
        document = well_of(rocksalt, harmonic_phonons, settings, HARMONIC)
        nu = document.mode_frequency
        np.testing.assert_allclose(document.levels[:4], nu * (np.arange(4) + 0.5), rtol=1e-4)
        assert document.transition_frequency == pytest.approx(nu, rel=1e-4)
        assert document.tunnel_splitting is None


def test_levels_below_the_barrier_split_by_tunnelling(
    rocksalt: Structure, double_well_phonons: PhononDocument
) -> None:
    shallow = well_of(rocksalt, double_well_phonons, WellSettings(max_displacement=0.5), DOUBLE)
    assert shallow.levels[1] > 0
    assert shallow.tunnel_splitting is None
    settings = WellSettings(directions=("aaa",), max_displacement=0.6)
    document = well_of(rocksalt, double_well_phonons, settings, DOUBLE)
    assert document.levels[1] < 0
    assert document.tunnel_splitting == document.transition_frequency
    assert 0 < document.tunnel_splitting < document.levels[2] - document.levels[1]


@dataclass(frozen=True)
class HexagonalSheet:
    """One atom a hexagonal cell; heights repel their neighbours': three sublattices form at K.

    E = Σ_bonds [k_xy |Δxy|² / 2 + k_z Δz² / 2] + b Σ_i (z_i - <z>_6)⁴. A wave at K has E per atom
    4.5 k_z X + 1.5⁵ b X² ... with X the mean of z² and the mean of z⁴ equal to 1.5 X².
    """

    a: float = 3.0
    stiff: float = 3.0
    out_of_plane: float = -0.2
    quartic: float = 1.0

    def structure(self) -> Structure:
        return Structure(Lattice.hexagonal(self.a, 12.0), ["Cu"], [[0, 0, 0.5]])

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        return [self._evaluate(s) for s in structures]

    def _evaluate(self, structure: Structure) -> Evaluation:
        lattice = self.structure().lattice
        x = lattice.get_fractional_coords(structure.cart_coords)
        cells = np.rint(x - [0, 0, 0.5])
        u = structure.cart_coords - lattice.get_cartesian_coords(cells + np.array([0, 0, 0.5]))
        steps = np.array([[1, 0], [1, 1], [0, 1], [-1, 0], [-1, -1], [0, -1]])
        to_super = lattice.matrix @ structure.lattice.inv_matrix
        forces, energy = np.zeros_like(u), 0.0
        means = np.zeros(len(u))
        neighbours = []
        for step in steps:
            offsets = ((cells + np.array([*step, 0]))[:, None] - cells[None]) @ to_super
            offsets -= np.rint(offsets)
            neighbours.append(np.abs(offsets).sum(axis=2).argmin(axis=1))
        springs = np.array([self.stiff, self.stiff, self.out_of_plane])
        for near in neighbours:
            stretch = u - u[near]
            energy += 0.25 * float(np.sum(springs * stretch**2))
            forces -= springs * stretch
            means += u[near, 2] / 6
        w = u[:, 2] - means
        energy += self.quartic * float(np.sum(w**4))
        slope = 4 * self.quartic * w**3
        forces[:, 2] -= slope
        for near in neighbours:
            np.add.at(forces[:, 2], near, slope / 6)
        return Evaluation(energy=energy, forces=forces)


def test_a_planted_mode_at_k_is_found_in_a_cell_of_three(source: Source) -> None:
    sheet = HexagonalSheet()
    crystal = sheet.structure()
    settings = PhononSettings(supercell_matrix=((3, 0, 0), (0, 3, 0), (0, 0, 1)), mesh_density=20.0)
    plan = plan_displacements(crystal, settings)
    phonons = analyse_forces(plan, sheet(plan.structures), source)
    asked = WellSettings(directions=("all",), max_displacement=0.6)
    wells = plan_well(crystal, phonons, asked)
    document = analyse_well(wells, sheet(wells.structures), source)
    assert document.formula_units == 3
    np.testing.assert_allclose(np.abs(document.q), [1 / 3, 1 / 3, 0], atol=1e-6)
    cell = crystal.lattice.matrix.T @ np.array(document.supercell_matrix).T
    lengths = np.sort(np.linalg.norm(cell, axis=0))
    np.testing.assert_allclose(lengths[:2], sheet.a * np.sqrt(3), rtol=1e-6)
    assert [part.direction for part in document.directions] == ["a", "a@30"]
    linear, square = 4.5 * sheet.out_of_plane, 1.5**5 * sheet.quartic
    for part in document.directions:
        assert part.depth == pytest.approx(1000 * linear**2 / (4 * square), rel=0.01)
        assert part.curvature_frequency == pytest.approx(document.mode_frequency, rel=0.01)


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


def test_phonons_of_another_cell_are_refused(
    rocksalt: Structure, double_well_phonons: PhononDocument
) -> None:
    stretched = rocksalt.copy()
    stretched.apply_strain(0.01)
    with pytest.raises(InputError, match="phonons of another cell"):
        plan_well(stretched, double_well_phonons, WellSettings())
