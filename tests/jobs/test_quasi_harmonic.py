"""QuasiHarmonicMaker: relaxed or scaled ions, one job with a model, one a structure with a labeller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import Flow
from monty.json import MontyDecoder, MontyEncoder
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from phonotune import QuasiHarmonicMaker
from phonotune.errors import ConfigError, InputError, PhonotuneError
from phonotune.flows.local import run_flow
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.quasi_harmonic import relax_by
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.expansion.quasi_harmonic import (
    QuasiHarmonicPlan,
    QuasiHarmonicSettings,
    analyse_volumes,
    plan_volumes,
)
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.volumes import phonons_at_volumes
from phonotune.physics.relax import RelaxSettings
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges
from phonotune.schemas.thermal import QuasiHarmonicDocument
from phonotune.store import open_store
from tests.physics.conftest import AseEvaluator, emt

SOURCE = Source(role="untuned", evaluator="emt")
SMALL = QuasiHarmonicSettings(
    volumes=(-0.02, 0.0, 0.02, 0.04, 0.06),
    phonons=PhononSettings(
        supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 1)), mesh_density=12.0, max_temperature=300.0
    ),
)

CUBIC = QuasiHarmonicSettings(
    volumes=(-0.01, 0.0, 0.015, 0.03, 0.045),
    phonons=SMALL.phonons.model_copy(
        update={"supercell_matrix": ((2, 0, 0), (0, 2, 0), (0, 0, 2))}
    ),
)

POLAR = QuasiHarmonicSettings(
    volumes=(-0.02, -0.01, 0.0, 0.02, 0.04),
    allow_imaginary=True,
    phonons=SMALL.phonons.model_copy(
        update={"supercell_matrix": ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
    ),
)
BORN = BornCharges(
    charges=np.array([1.97 * np.eye(3), -1.97 * np.eye(3)]), dielectric=3.38 * np.eye(3)
)


@pytest.fixture(scope="module")
def layered() -> Structure:
    """Cu and Au in double layers along z, whose heights symmetry leaves free."""
    sites = [[0, 0, 0.13], [0.5, 0.5, 0.38], [0, 0, 0.62], [0.5, 0.5, 0.87]]
    lattice = Lattice.tetragonal(2.74, 7.6)
    return Structure(lattice, ["Cu", "Cu", "Au", "Au"], sites)


@pytest.fixture(scope="module")
def relaxed(layered: Structure) -> Structure:
    return relax_by(emt())([layered], cell=True)[0]


def test_ions_are_relaxed_at_each_volume_where_symmetry_leaves_them_free(
    relaxed: Structure,
) -> None:
    plan = plan_volumes(relaxed, SMALL, relax_by(emt()))
    assert plan.ions == "relaxed"
    forces = [np.abs(a.forces).max() for a in emt()(plan.cells)]
    assert max(forces) < 2e-4
    scaled = plan_volumes(relaxed, SMALL)
    assert scaled.ions == "scaled"
    assert max(np.abs(a.forces).max() for a in emt()(scaled.cells)) > 10 * max(forces)
    assert [len(p.structures) for p in plan.phonons] == [len(p.structures) for p in scaled.phonons]


def test_relaxing_ions_lowers_the_energy_and_the_document_says_where_they_are(
    relaxed: Structure,
) -> None:
    documents = [
        analyse_volumes(plan, emt()(plan.structures), SOURCE)
        for plan in (plan_volumes(relaxed, SMALL, relax_by(emt())), plan_volumes(relaxed, SMALL))
    ]
    free, scaled = documents
    assert (free.ions, scaled.ions) == ("relaxed", "scaled")
    assert free.residual_force < 2e-4 < scaled.residual_force
    energies = [d.data.arrays()["static_energies"] for d in documents]
    assert (energies[0] <= energies[1] + 1e-9).all()
    assert free.static_bulk_modulus < scaled.static_bulk_modulus


def test_volumes_count_from_the_cell_that_the_model_relaxes(aluminium: Structure) -> None:
    squeezed = aluminium.copy()
    squeezed.scale_lattice(0.85 * aluminium.volume)
    settings = CUBIC.model_copy(update={"centre": "relaxed"})
    plan = plan_volumes(squeezed, settings, relax_by(emt()))
    middle = emt()([plan.cells[1]])[0]
    assert np.abs(middle.stress).max() < 1e-4
    assert plan.structure is squeezed


def test_a_relaxation_that_does_not_end_is_an_error(layered: Structure) -> None:
    class Rolling(AseEvaluator):
        def __call__(self, structures):
            answers = super().__call__(structures)
            for answer in answers:
                answer.forces[:] = [[0.1, 0, 0], [-0.1, 0, 0], [0, 0.1, 0], [0, -0.1, 0]]
            return answers

    with pytest.raises(PhonotuneError, match="did not relax"):
        relax_by(Rolling(emt().calculator))([layered], cell=False)


def run(flow: Flow, folder: Path) -> QuasiHarmonicDocument:
    store = open_store(folder / "store")
    assert run_flow(flow, store, root_dir=folder).failed == []
    (row,) = store.query({"output.kind": "quasi_harmonic"}, load=True)
    document = MontyDecoder().process_decoded(row["output"])
    assert isinstance(document, QuasiHarmonicDocument)
    return document


def test_a_labeller_gives_the_same_document_as_its_potential_asked_directly(
    aluminium: Structure, tmp_path: Path
) -> None:
    maker = QuasiHarmonicMaker(settings=CUBIC, labeller=LabelMaker(labeller="emt"))
    found = run(Flow([maker.make(aluminium)]), tmp_path)
    plan = plan_volumes(aluminium, CUBIC)
    expected = analyse_volumes(plan, emt()(plan.structures), found.source)
    assert found.source.role == "reference"
    assert found.at_300.volume == pytest.approx(expected.at_300.volume, rel=1e-9)
    assert found.at_300.thermal_expansion == pytest.approx(
        expected.at_300.thermal_expansion, rel=1e-6
    )


@pytest.fixture(scope="module")
def polar() -> tuple[QuasiHarmonicPlan, list[Evaluation]]:
    """MgO by a small model, its own cell and four volumes around it."""
    magnesia = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    evaluator = load_evaluator("mini")
    magnesia = relax_by(evaluator)([magnesia], cell=True)[0]
    plan = QuasiHarmonicMaker(settings=POLAR, born=BORN).plan(magnesia)
    return plan, evaluator(plan.structures)


def test_born_charges_split_the_modes_at_each_volume(polar: Any) -> None:
    """ω_LO² - ω_TO² = Z² e² / (ε₀ ε V μ), with the volume of each cell."""
    plan, answers = polar
    forces = iter(answers[len(plan.cells) :])
    given = [np.array([next(forces).forces for _ in p.structures]) for p in plan.phonons]
    found = phonons_at_volumes(plan.phonons, given, 10.0, BORN)
    mass = 1 / sum(1 / found.masses)
    for phonon, cell in zip(found.phonons, plan.cells, strict=True):
        run = phonon.run_qpoints([[0, 0, 0]], nac_q_direction=[1, 0, 0])
        nu = np.array(run.frequencies)[0]
        squares = np.sign(nu) * nu**2
        square = 4 * np.pi * BORN.factor * 1.97**2 / (3.38 * mass * cell.volume / 4)
        factor = phonon.unit_conversion_factor**2
        assert squares[5] - squares[4] == pytest.approx(factor * square, rel=1e-3)
        assert squares[4] == pytest.approx(squares[3], abs=1e-3)


def test_the_maker_hands_its_born_charges_to_the_analysis(polar: Any) -> None:
    plan, answers = polar
    makers = [QuasiHarmonicMaker(settings=POLAR, born=born) for born in (BORN, None)]
    with_charges, without = (maker.analyse(plan, answers, SOURCE) for maker in makers)
    assert (with_charges.has_nac, without.has_nac) == (True, False)
    plain = analyse_volumes(plan, answers, SOURCE)
    assert without.model_dump(exclude={"data"}) == plain.model_dump(exclude={"data"})
    highest = [d.data.arrays()["mesh_frequencies"].max() for d in (with_charges, without)]
    assert highest[0] > highest[1] + 1.0


def test_born_charges_of_another_crystal_stop_the_plan(polar: Any) -> None:
    crystal = polar[0].structure
    born = BORN.model_copy(update={"charges": BORN.charges[:1]})
    with pytest.raises(InputError, match="1 atoms do not fit a primitive cell of 2"):
        QuasiHarmonicMaker(settings=POLAR, born=born).plan(crystal)


def test_the_maker_survives_two_round_trips() -> None:
    maker = QuasiHarmonicMaker(settings=SMALL, born=BORN)
    once = QuasiHarmonicMaker.from_dict(maker.as_dict())
    again = MontyDecoder().decode(json.dumps(once, cls=MontyEncoder))
    assert again == maker
    assert maker.role == "gpu_eval"


def test_the_equation_of_state_is_a_setting_that_the_document_keeps(aluminium: Structure) -> None:
    settings = CUBIC.model_copy(update={"equation_of_state": "vinet"})
    plan = QuasiHarmonicMaker(settings=settings).plan(aluminium)
    answers = emt()(plan.structures)
    vinet = analyse_volumes(plan, answers, SOURCE)
    birch = analyse_volumes(plan_volumes(aluminium, CUBIC), answers, SOURCE)
    assert vinet.settings["equation_of_state"] == "vinet"
    assert birch.settings["equation_of_state"] == "birch-murnaghan"
    assert vinet.at_300.volume == pytest.approx(birch.at_300.volume, rel=1e-4)
    assert vinet.at_300.volume != birch.at_300.volume
    with pytest.raises(ValidationError, match="equation_of_state"):
        QuasiHarmonicSettings.model_validate({"equation_of_state": "murnaghan"})


def test_the_two_ways_to_relax_are_not_mixed(layered: Structure) -> None:
    maker = QuasiHarmonicMaker(settings=SMALL, relax=RelaxSettings())
    with pytest.raises(ConfigError, match=r"settings\.centre='relaxed'"):
        QuasiHarmonicMaker.make.original(maker, layered, "mini")
