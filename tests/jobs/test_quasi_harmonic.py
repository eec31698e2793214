"""QuasiHarmonicMaker: relaxed or scaled ions, one job with a model, one a structure with a labeller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jobflow import Flow
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure

from phonotune import QuasiHarmonicMaker
from phonotune.errors import ConfigError, PhonotuneError
from phonotune.flows.local import run_flow
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.quasi_harmonic import relax_by
from phonotune.models.relax import RelaxSettings
from phonotune.physics.expansion.quasi_harmonic import (
    QuasiHarmonicSettings,
    analyse_volumes,
    plan_volumes,
)
from phonotune.physics.phonon.displacements import PhononSettings
from phonotune.schemas.base import Source
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


def test_the_maker_survives_two_round_trips() -> None:
    maker = QuasiHarmonicMaker(settings=SMALL)
    once = QuasiHarmonicMaker.from_dict(maker.as_dict())
    assert QuasiHarmonicMaker.from_dict(once.as_dict()).settings == SMALL
    assert maker.role == "gpu_eval"


def test_the_two_ways_to_relax_are_not_mixed(layered: Structure) -> None:
    maker = QuasiHarmonicMaker(settings=SMALL, relax=RelaxSettings())
    with pytest.raises(ConfigError, match=r"settings\.centre='relaxed'"):
        QuasiHarmonicMaker.make.original(maker, layered, "mini")
