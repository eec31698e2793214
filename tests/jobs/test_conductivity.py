"""ConductivityMaker is the plan and the analysis of physics, as a job."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from phonotune import ConductivityMaker
from phonotune.physics.phonon.conductivity import ConductivitySettings
from phonotune.physics.phonon.displacements import PhononSettings
from phonotune.schemas.base import Source
from tests.physics.conftest import silicon_potential

SETTINGS = ConductivitySettings(
    phonons=PhononSettings(supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1))),
    supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    pair_cutoff=3.0,
    mesh_density=4.0,
    max_doublings=1,
)


def test_the_maker_plans_and_analyses_by_its_settings() -> None:
    pytest.importorskip("phono3py")
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
    maker = ConductivityMaker(settings=SETTINGS)
    plan = maker.plan(silicon)
    source = Source(role="untuned", evaluator="sw")
    document = maker.analyse(plan, silicon_potential()(plan.structures), source)
    assert document.kind == "conductivity"
    assert document.settings["pair_cutoff"] == 3.0
    assert document.source == source
    assert document.conductivity_300[0] > 0


def test_the_maker_survives_two_round_trips() -> None:
    once = ConductivityMaker.from_dict(ConductivityMaker(settings=SETTINGS).as_dict())
    assert ConductivityMaker.from_dict(once.as_dict()).settings == SETTINGS
    assert once.role == "gpu_eval"
