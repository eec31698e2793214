"""From a crystal to its quasi-harmonic document, by evaluators with a known answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, LabelError, PhonotuneError
from phonotune.physics.expansion.quasi_harmonic import (
    QuasiHarmonicPlan,
    QuasiHarmonicSettings,
    analyse_volumes,
    plan_volumes,
)
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.thermal import QuasiHarmonicDocument
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA
from tests.physics.conftest import _find, emt
from tests.physics.expansion.test_equation_of_state import birch_murnaghan

V0, B0, GAMMA = 16.0, 0.4, 2.2
SETTINGS = QuasiHarmonicSettings(
    phonons=PhononSettings(
        supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=16.0, max_temperature=600
    )
)
FCC = Structure.from_spacegroup("Fm-3m", Lattice.cubic((4 * V0) ** (1 / 3)), ["Al"], [[0, 0, 0]])


@dataclass(frozen=True)
class SpringCrystal:
    """Face-centred cubic springs between nearest neighbours, k ∝ V^-2γ, on Birch's E(V)."""

    gamma: float = GAMMA
    stiffness: float = 1.0
    falls_at: float = np.inf

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        return [self._evaluate(s) for s in structures]

    def _evaluate(self, structure: Structure) -> Evaluation:
        n = len(structure)
        volume = structure.volume / n
        half = (4 * volume) ** (1 / 3) / 2
        sites = np.rint(structure.cart_coords / half)
        u = structure.cart_coords - sites * half
        steps = [s for s in np.ndindex(3, 3, 3) if np.sum(np.abs(np.array(s) - 1)) == 2]
        neighbours = _find(structure, sites[:, None] + np.array(steps) - 1, half)
        k = self.stiffness * (volume / V0) ** (-2 * self.gamma)
        k *= 1 if volume < self.falls_at else -1
        stretch = u[:, None] - u[neighbours]
        static = n * float(birch_murnaghan(np.array(volume), V0, B0, 4.5))
        return Evaluation(static + 0.25 * k * float(np.sum(stretch**2)), -k * stretch.sum(axis=1))


def document_of(
    plan: QuasiHarmonicPlan, crystal: SpringCrystal | None = None
) -> QuasiHarmonicDocument:
    answers = (crystal or SpringCrystal())(plan.structures)
    return analyse_volumes(plan, answers, Source(role="reference", evaluator="springs"))


@pytest.fixture(scope="module")
def plan() -> QuasiHarmonicPlan:
    return plan_volumes(FCC, SETTINGS)


@pytest.fixture(scope="module")
def planted(plan: QuasiHarmonicPlan) -> QuasiHarmonicDocument:
    return document_of(plan)


@pytest.fixture(scope="module")
def copper_document() -> QuasiHarmonicDocument:
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
    plan = plan_volumes(copper, SETTINGS)
    answers = emt()(plan.structures)
    return analyse_volumes(plan, answers, Source(role="reference", evaluator="emt"))


def test_every_mode_has_the_planted_gruneisen_parameter(planted: QuasiHarmonicDocument) -> None:
    arrays = planted.data.arrays()
    counted = arrays["mesh_frequencies"] > 0.01
    np.testing.assert_allclose(arrays["mode_gruneisen"][counted], GAMMA, rtol=1e-3)
    assert (arrays["mode_gruneisen"][~counted] == 0).all()
    assert (~counted).sum() == 3
    for found in (planted.mean_gruneisen, planted.acoustic_gruneisen, planted.at_300.gruneisen):
        assert found == pytest.approx(GAMMA, rel=0.01)


def test_the_static_crystal_is_that_of_the_planted_equation_of_state(
    planted: QuasiHarmonicDocument,
) -> None:
    assert planted.static_volume == pytest.approx(V0, rel=1e-6)
    expected = B0 * EV_PER_CUBIC_ANGSTROM_IN_GPA
    assert planted.static_bulk_modulus == pytest.approx(expected, rel=1e-4)
    assert planted.at_0.volume > V0
    assert planted.at_0.length_scale**3 == pytest.approx(planted.at_0.volume / V0)


def test_the_document_counts_and_describes_what_was_evaluated(
    planted: QuasiHarmonicDocument,
) -> None:
    assert planted.n_structures == 14
    assert planted.ions == "symmetry"
    assert planted.residual_force < 1e-9
    assert planted.formula_units == 1
    assert len(planted.lowest_frequencies) == 7
    assert planted.source.evaluator == "springs"


def test_arrays_have_one_entry_a_temperature_or_volume(planted: QuasiHarmonicDocument) -> None:
    arrays = planted.data.arrays()
    n_t, n_v = len(arrays["temperatures"]), len(arrays["volumes"])
    assert arrays["free_energies"].shape == (n_t, n_v)
    assert arrays["temperatures"][-1] == planted.highest_temperature
    for name in ("equilibrium_volumes", "bulk_moduli", "thermal_expansions", "gibbs"):
        assert arrays[name].shape == (n_t,)


def test_the_order_of_planned_volumes_changes_nothing(planted: QuasiHarmonicDocument) -> None:
    shuffled = QuasiHarmonicSettings(
        volumes=tuple(reversed(SETTINGS.volumes)), phonons=SETTINGS.phonons
    )
    assert document_of(plan_volumes(FCC, shuffled)).at_300 == planted.at_300


def test_gruneisen_parameters_of_modes_and_of_thermodynamics_agree_on_a_real_metal(
    copper_document: QuasiHarmonicDocument,
) -> None:
    thermodynamic = copper_document.at_300.gruneisen
    assert copper_document.mean_gruneisen == pytest.approx(thermodynamic, rel=1e-3)


def test_copper_expands_like_copper(copper_document: QuasiHarmonicDocument) -> None:
    """Measured: 16.5e-6 1/K at 293 K (CRC Handbook); effective-medium theory is softer than copper."""
    linear = copper_document.at_300.thermal_expansion / 3
    assert 13e-6 < linear < 24e-6
    assert 1.7 < copper_document.at_300.gruneisen < 2.6


def test_imaginary_modes_are_refused_and_their_volumes_named(plan: QuasiHarmonicPlan) -> None:
    broken = SpringCrystal(falls_at=V0 * 1.03)
    with pytest.raises(PhonotuneError, match=r"volumes \+3\.67 % \(-\d.*\), \+5 % \(-\d"):
        document_of(plan, broken)


def test_imaginary_modes_are_left_out_if_allowed(plan: QuasiHarmonicPlan) -> None:
    settings = plan.settings.model_copy(update={"allow_imaginary": True})
    found = document_of(
        replace(plan, settings=settings), SpringCrystal(stiffness=0.01, falls_at=V0 * 1.04)
    )
    assert found.lowest_frequencies[-1] < -0.1 < 0 < found.lowest_frequencies[0]


def test_a_cell_far_from_the_minimum_is_refused_with_advice() -> None:
    low = SETTINGS.model_copy(update={"volumes": (-0.12, -0.11, -0.10, -0.09, -0.08)})
    with pytest.raises(PhonotuneError, match="Relax the cell"):
        document_of(plan_volumes(FCC, low))


def test_a_range_that_ends_below_room_temperature_is_refused() -> None:
    narrow = SETTINGS.model_copy(update={"volumes": (-0.02, -0.01, 0.0, 0.01, 0.024)})
    with pytest.raises(PhonotuneError, match="300 K is needed"):
        document_of(plan_volumes(FCC, narrow))


def test_a_missing_answer_is_named(plan: QuasiHarmonicPlan) -> None:
    answers: list[Evaluation | None] = [*SpringCrystal()(plan.structures)]
    answers[9] = None
    with pytest.raises(LabelError, match="no answer for frames: 9"):
        analyse_volumes(plan, answers, Source(role="reference", evaluator="springs"))


def test_settings_refuse_equal_or_too_few_volumes() -> None:
    for volumes in ((0.0, 0.0, 0.01, 0.02, 0.03), (0.0, 0.01), (-0.6, 0.0, 0.1, 0.2, 0.3)):
        with pytest.raises(ValidationError, match="volumes"):
            QuasiHarmonicSettings(volumes=volumes)


def test_the_relaxed_cell_needs_something_that_relaxes() -> None:
    with pytest.raises(ConfigError, match="need a model that relaxes"):
        plan_volumes(FCC, SETTINGS.model_copy(update={"centre": "relaxed"}))


def test_one_supercell_serves_every_volume() -> None:
    settings = QuasiHarmonicSettings(phonons=PhononSettings(min_length=8.0, max_atoms=64))
    plan = plan_volumes(FCC, settings)
    assert len({p.matrix for p in plan.phonons}) == 1
    assert plan.settings.phonons.supercell_matrix == plan.phonons[0].matrix
    changes = [cell.volume / FCC.volume - 1 for cell in plan.cells]
    np.testing.assert_allclose(changes, settings.volumes, atol=1e-9)
