from __future__ import annotations

import json

import numpy as np
import pytest
from jobflow import run_locally
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, InputError
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.phonon import PhononMaker
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.schemas.base import structure_hash
from phonotune.schemas.phonon import BornCharges, PhononDocument
from phonotune.store import open_store

BORN = BornCharges(
    charges=np.array([1.97 * np.eye(3), -1.97 * np.eye(3)]), dielectric=3.38 * np.eye(3)
)
SETTINGS = PhononSettings(
    supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)), mesh_density=10.0, max_temperature=300.0
)


@pytest.fixture
def magnesia() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def test_a_maker_with_born_charges_survives_a_store_twice() -> None:
    maker = PhononMaker(settings=SETTINGS, born=BORN)
    for _ in range(2):
        text = json.dumps(maker, cls=MontyEncoder)
        maker = MontyDecoder().decode(text)
    assert maker == PhononMaker(settings=SETTINGS, born=BORN)


def test_the_charges_of_the_maker_split_the_modes(magnesia: Structure, tmp_path) -> None:
    job = PhononMaker(settings=SETTINGS, born=BORN).make(magnesia, "mini")
    store = open_store(tmp_path / "store")
    output = run_locally(job, store=store, root_dir=tmp_path, ensure_success=True)
    document = output[job.uuid][1].output
    assert isinstance(document, PhononDocument)
    assert document.has_nac
    at_gamma = document.data.arrays()["band_frequencies"][0]
    assert at_gamma[5] - at_gamma[4] > 0.5


def test_charges_of_another_crystal_stop_the_plan(magnesia: Structure) -> None:
    born = BORN.model_copy(update={"charges": BORN.charges[:1]})
    with pytest.raises(InputError, match="1 atoms do not fit a primitive cell of 2"):
        PhononMaker(settings=SETTINGS, born=born).plan(magnesia)


def test_the_model_relaxes_the_crystal_first_where_the_maker_says_so(magnesia: Structure) -> None:
    relax = RelaxSettings(fmax=1e-5)
    maker = PhononMaker(settings=SETTINGS, relax=relax)
    relaxed = PhononMaker.make.original(maker, magnesia, "mini")
    assert relaxed.relaxed
    assert relaxed.material_id == structure_hash(magnesia)
    own = relax_batch(load_evaluator("mini"), [magnesia], relax)[0].final
    assert relaxed.unitcell.volume == pytest.approx(own.volume, rel=1e-6)
    assert abs(own.volume - magnesia.volume) > 0.1
    given = PhononMaker.make.original(PhononMaker(settings=SETTINGS), own, "mini")
    assert relaxed.highest_frequency == pytest.approx(given.highest_frequency, abs=1e-4)


def test_a_labeller_does_not_relax_by_the_model(magnesia: Structure) -> None:
    maker = PhononMaker(
        settings=SETTINGS, relax=RelaxSettings(), labeller=LabelMaker(labeller="emt")
    )
    with pytest.raises(ConfigError, match="relaxes by a model only"):
        PhononMaker.make.original(maker, magnesia)
