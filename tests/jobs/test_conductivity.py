"""ConductivityMaker is the plan and the analysis of physics, as a job."""

from __future__ import annotations

import json

import numpy as np
import pytest
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from phonotune import ConductivityMaker
from phonotune.errors import InputError
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.conductivity import ConductivitySettings, analyse_third_order
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges
from tests.physics.conftest import silicon_potential

SETTINGS = ConductivitySettings(
    phonons=PhononSettings(supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1))),
    supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    pair_cutoff=3.0,
    mesh_density=4.0,
    max_doublings=1,
)

BORN = BornCharges(
    charges=np.array([1.97 * np.eye(3), -1.97 * np.eye(3)]), dielectric=3.38 * np.eye(3)
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


def test_born_charges_of_the_maker_split_the_modes_of_second_order() -> None:
    pytest.importorskip("phono3py")
    magnesia = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    stiff = SETTINGS.phonons.model_copy(update={"imaginary_threshold": -50.0})
    settings = SETTINGS.model_copy(update={"phonons": stiff})
    makers = [ConductivityMaker(settings=settings, born=born) for born in (BORN, None)]
    plan = makers[0].plan(magnesia)
    answers = load_evaluator("mini")(plan.structures)
    source = Source(role="untuned", evaluator="mini")
    charged, plain = (maker.analyse(plan, answers, source) for maker in makers)
    assert (charged.has_nac, plain.has_nac) == (True, False)
    highest = [d.data.arrays()["mesh_frequencies"].max() for d in (charged, plain)]
    assert highest[0] > highest[1] + 1.0
    direct = analyse_third_order(plan, answers, source)
    assert plain.model_dump(exclude={"data"}) == direct.model_dump(exclude={"data"})
    short = BORN.model_copy(update={"charges": BORN.charges[:1]})
    with pytest.raises(InputError, match="1 atoms do not fit a primitive cell of 2"):
        ConductivityMaker(settings=settings, born=short).plan(magnesia)


def test_the_maker_survives_two_round_trips() -> None:
    maker = ConductivityMaker(settings=SETTINGS, born=BORN)
    once = ConductivityMaker.from_dict(maker.as_dict())
    assert MontyDecoder().decode(json.dumps(once, cls=MontyEncoder)) == maker
    assert once.role == "gpu_eval"
