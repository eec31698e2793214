"""Thermal conductivity of Stillinger-Weber silicon against phono3py run by itself, and its refusals."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.core import Structure

from phonotune.errors import ConfigError, InputError, LabelError, PhonotuneError
from phonotune.physics.phonon.cells import to_phonopy, to_structure
from phonotune.physics.phonon.conductivity import (
    ConductivityPlan,
    ConductivitySettings,
    analyse_third_order,
    plan_third_order,
)
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.masses import with_masses
from phonotune.schemas.thermal import ConductivityDocument
from tests.physics.conftest import DOUBLE, silicon_potential

IDENTITY = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
DOUBLED = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
SETTINGS = ConductivitySettings(
    phonons=PhononSettings(supercell_matrix=DOUBLED),
    supercell_matrix=IDENTITY,
    mesh_density=6.0,
    max_doublings=1,
    temperatures=(200.0, 600.0),
)


@pytest.fixture(scope="module")
def plan(silicon: Structure) -> ConductivityPlan:
    pytest.importorskip("phono3py")
    return plan_third_order(silicon, SETTINGS)


@pytest.fixture(scope="module")
def answers(plan: ConductivityPlan) -> list[Evaluation]:
    return silicon_potential()(plan.structures)


@pytest.fixture(scope="module")
def document(plan: ConductivityPlan, answers: list[Evaluation]) -> ConductivityDocument:
    return analyse_third_order(plan, answers, Source(role="reference", evaluator="sw"))


@pytest.fixture(scope="module")
def pure(plan: ConductivityPlan, answers: list[Evaluation]) -> ConductivityDocument:
    settings = plan.settings.model_copy(update={"isotopes": False})
    source = Source(role="reference", evaluator="sw")
    return analyse_third_order(replace(plan, settings=settings), answers, source)


def conductivity_by_phono3py_alone(silicon: Structure, mesh: tuple[int, int, int]) -> Any:
    """Return phono3py's result, cells, displacements and force constants all its own."""
    from phono3py import Phono3py

    own = Phono3py(
        to_phonopy(silicon),
        supercell_matrix=np.eye(3, dtype=int),
        primitive_matrix="F",
        phonon_supercell_matrix=2 * np.eye(3, dtype=int),
    )
    own.generate_displacements(distance=SETTINGS.displacement)
    own.generate_fc2_displacements(distance=SETTINGS.phonons.displacement)
    calculate = silicon_potential()
    own.forces = np.array(
        [calculate([to_structure(c)])[0].forces for c in own.supercells_with_displacements]
    )
    own.phonon_forces = np.array(
        [calculate([to_structure(c)])[0].forces for c in own.phonon_supercells_with_displacements]
    )
    own.produce_fc3()
    own.symmetrize_fc3()
    own.produce_fc2()
    own.symmetrize_fc2()
    own.mesh_numbers = list(mesh)
    own.init_phph_interaction(
        symmetrize_tetrahedra=True, exclude_gamma_acoustic=True, average_degenerate_weights=True
    )
    own.run_thermal_conductivity(temperatures=[200.0, 300.0, 600.0])
    return own.thermal_conductivity


def test_phono3py_by_itself_gives_the_same_conductivity(
    silicon: Structure, pure: ConductivityDocument
) -> None:
    """Without isotopes: phono3py's isotope scattering depends on the choice of degenerate modes."""
    theirs = conductivity_by_phono3py_alone(silicon, pure.mesh)
    ours = pure.data.arrays()
    np.testing.assert_allclose(ours["conductivity"][:, :3], theirs.kappa[0][:, :3], rtol=1e-6)
    np.testing.assert_allclose(ours["linewidths"], theirs.gamma[0, 1], rtol=1e-6, atol=1e-12)


def test_the_conductivity_of_a_cubic_crystal_is_isotropic(document: ConductivityDocument) -> None:
    kappa = np.array(document.conductivity_300)
    np.testing.assert_allclose(kappa[:3], document.mean_conductivity_300, rtol=1e-6)
    np.testing.assert_allclose(kappa[3:], 0, atol=1e-6 * kappa[0])


def test_conductivity_falls_as_the_crystal_warms(document: ConductivityDocument) -> None:
    arrays = document.data.arrays()
    assert arrays["temperatures"].tolist() == [200.0, 300.0, 600.0]
    assert (np.diff(arrays["conductivity"][:, 0]) < 0).all()


def test_the_mesh_is_doubled_and_what_it_changed_is_stated(document: ConductivityDocument) -> None:
    arrays = document.data.arrays()
    first, last = arrays["tried_meshes"]
    assert last.tolist() == (2 * first).tolist() == list(document.mesh)
    before, after = arrays["tried_conductivity"]
    assert document.change == pytest.approx(abs(after - before) / after)
    assert document.is_converged == (document.change <= SETTINGS.tolerance)
    assert len(arrays["linewidths"]) == len(arrays["mesh_q"]) == len(arrays["mesh_weights"])


def test_isotopes_lower_the_conductivity(
    pure: ConductivityDocument, document: ConductivityDocument
) -> None:
    assert pure.mean_conductivity_300 > document.mean_conductivity_300
    assert document.has_isotopes
    assert not pure.has_isotopes


def test_a_pair_cutoff_plans_fewer_cells_and_is_analysed(
    silicon: Structure, plan: ConductivityPlan
) -> None:
    near = plan_third_order(silicon, SETTINGS.model_copy(update={"pair_cutoff": 3.0}))
    assert len(near.structures) < len(plan.structures)
    answers = silicon_potential()(near.structures)
    found = analyse_third_order(near, answers, Source(role="reference", evaluator="sw"))
    assert found.n_structures == len(near.structures)
    assert found.mean_conductivity_300 > 0


def test_a_crystal_with_imaginary_modes_is_refused(rocksalt: Structure) -> None:
    pytest.importorskip("phono3py")
    plan = plan_third_order(rocksalt, SETTINGS)
    with pytest.raises(PhonotuneError, match=r"NaCl has imaginary modes, the lowest at -\d"):
        analyse_third_order(
            plan, DOUBLE(plan.structures), Source(role="reference", evaluator="well")
        )


def test_a_missing_answer_is_named(plan: ConductivityPlan, answers: list[Evaluation]) -> None:
    with pytest.raises(LabelError, match="no answer for frames: 2"):
        analyse_third_order(
            plan,
            [*answers[:2], None, *answers[3:]],
            Source(role="reference", evaluator="sw"),
        )


def test_without_phono3py_the_error_says_what_to_install(
    silicon: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "phono3py", None)
    with pytest.raises(ConfigError, match=r"pip install phonotune\[conductivity\]"):
        plan_third_order(silicon, SETTINGS)


def test_settings_ask_for_at_least_one_doubling() -> None:
    with pytest.raises(ValidationError, match="max_doublings"):
        ConductivitySettings(max_doublings=0)


def test_a_pure_isotope_scatters_no_phonons(
    silicon: Structure,
    plan: ConductivityPlan,
    answers: list[Evaluation],
    document: ConductivityDocument,
) -> None:
    mass = 27.97692653
    own = plan_third_order(with_masses(silicon, [mass] * len(silicon)), SETTINGS)
    assert list(own.structures) == list(plan.structures)
    source = Source(role="reference", evaluator="sw")
    found = analyse_third_order(own, answers, source)
    settings = own.settings.model_copy(update={"isotopes": False})
    without = analyse_third_order(replace(own, settings=settings), answers, source)
    assert found.mean_conductivity_300 == pytest.approx(without.mean_conductivity_300, rel=1e-9)
    assert found.mean_conductivity_300 > document.mean_conductivity_300
    heavy, light = (d.data.arrays()["mesh_frequencies"][1:] for d in (document, found))
    np.testing.assert_allclose(light, np.sqrt(28.0855 / mass) * heavy, rtol=1e-5)


def test_different_masses_of_one_element_are_refused(silicon: Structure) -> None:
    pytest.importorskip("phono3py")
    mixed = with_masses(silicon, [29.0] + [None] * (len(silicon) - 1))
    with pytest.raises(InputError, match=r"Si 29.0000 amu \(1 of 8 atoms\).*--masses natural"):
        plan_third_order(mixed, SETTINGS)
