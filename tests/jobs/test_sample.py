"""From a crystal to the frames worth a label, with ``mini`` as the relaxing model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError
from phonotune.jobs.sample import RattleMaker, SelectMaker, TrajectoryMaker
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.physics.supercell import make_supercell, supercell_matrix
from phonotune.progress import Progress, told_to
from phonotune.sampling.select_methods import METHODS
from phonotune.sampling.settings import RattleSettings, SelectSettings
from phonotune.schemas.dataset import StructureSet, TrajectoryDocument, unpack_frames

SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
PHONON = PhononSettings(min_length=5.0)
RATTLE = RattleMaker(
    settings=RattleSettings(supercell="small", volumes=(0.0, -2.5, 2.5), n_cells=3), phonon=PHONON
)
TRAJECTORY = TrajectoryMaker(settings=RelaxSettings(max_steps=25), kept_steps=8)


def run(maker, *arguments):
    return type(maker).make.original(maker, *arguments)


@pytest.fixture(scope="module")
def rattled() -> StructureSet:
    return run(RATTLE, SALT)


@pytest.fixture(scope="module")
def trajectories(rattled) -> TrajectoryDocument:
    return run(TRAJECTORY, rattled, "mini")


def test_small_rattles_come_after_the_cells_and_are_fixed(rattled) -> None:
    assert rattled.groups[-2:] == ["small rattle", "small rattle"]
    assert rattled.fixed == [3, 4]


def test_small_rattles_of_a_symmetric_crystal_mirror_each_other(rattled) -> None:
    own = make_supercell(SALT, supercell_matrix(SALT, 5.0, 300))
    first, second = (c.structure.cart_coords - own.cart_coords for c in rattled.candidates()[-2:])
    np.testing.assert_allclose(second, -first, atol=1e-9)
    assert "mirrored" in rattled.recipe


def test_small_rattles_of_a_crystal_without_symmetry_are_independent() -> None:
    moves = np.random.default_rng(0).normal(scale=0.05, size=(len(SALT), 3))
    crooked = Structure(
        SALT.lattice, SALT.species, SALT.cart_coords + moves, coords_are_cartesian=True
    )
    cells = run(RATTLE, crooked)
    assert cells.groups[-2:] == ["small rattle", "small rattle #2"]
    assert "mirrored" not in cells.recipe.split("seed")[0]


def test_small_rattles_lie_in_the_supercell_of_the_phonons(rattled) -> None:
    own = make_supercell(SALT, supercell_matrix(SALT, 5.0, 300))
    for candidate in rattled.candidates()[-2:]:
        np.testing.assert_allclose(
            candidate.structure.lattice.matrix, own.lattice.matrix, atol=1e-10
        )
        moves = np.linalg.norm(candidate.structure.cart_coords - own.cart_coords, axis=1)
        np.testing.assert_allclose(moves, 0.025, atol=1e-9)


def test_a_given_phonon_supercell_is_that_of_the_small_rattles() -> None:
    phonon = PhononSettings(supercell_matrix=((0, 1, 1), (1, 0, 1), (1, 1, 0)))
    maker = RattleMaker(settings=RattleSettings(supercell="small"), phonon=phonon)
    assert len(run(maker, SALT).candidates()[-1].structure) == 16


@pytest.mark.parametrize(("size", "atoms"), [("primitive", 2), ("small", 8), ("large", 64)])
def test_a_supercell_has_the_size_that_is_named(size: str, atoms: int) -> None:
    maker = RattleMaker(settings=RattleSettings(supercell=size, n_cells=1, small=()))
    (candidate,) = run(maker, SALT).candidates()
    assert len(candidate.structure) == atoms


def test_a_phonon_rattle_moves_the_atoms_along_modes_of_the_model() -> None:
    settings = RattleSettings(
        method="phonon", supercell="small", n_cells=2, volumes=(0.0,), strain=0.0, temperature=300.0
    )
    maker = RattleMaker(settings=settings, phonon=PHONON)
    assert maker.make(SALT, "mini").metadata["phonotune"]["role"] == "gpu_eval"
    for candidate in run(maker, SALT, "mini").candidates()[:2]:
        mean = float(candidate.reason.split("displaced by ")[1].split(" ")[0])
        assert 0.02 < mean < 0.5
    with pytest.raises(ConfigError, match="needs the phonons of a model"):
        run(maker, SALT)


def test_trajectories_hold_every_relaxation_and_the_fixed_frames_once(trajectories) -> None:
    frames = unpack_frames(trajectories.data)
    groups = [f.group for f in frames]
    assert trajectories.fixed == ["small rattle"]
    assert groups.count("small rattle") == 2
    assert [r.group for r in trajectories.relaxations] == groups_in_order(groups)[:3]
    assert all(f.energy is not None and f.forces is not None for f in frames)


def groups_in_order(groups: list[str]) -> list[str]:
    return list(dict.fromkeys(groups))


def test_relaxations_that_did_not_converge_are_named(trajectories, rattled) -> None:
    assert trajectories.unconverged == rattled.groups[:3]
    assert {r.stop_reason for r in trajectories.relaxations} == {"step limit"}
    loose = run(TrajectoryMaker(settings=RelaxSettings(fmax=5.0)), rattled, "mini")
    assert loose.unconverged == []


def test_a_relaxing_job_shows_its_steps_to_the_command_and_else_logs_them(rattled, caplog) -> None:
    texts: list[str] = []

    class Shown(Progress):
        def show(self) -> None:
            texts.append(self.text)

    short = TrajectoryMaker(settings=RelaxSettings(max_steps=2))
    whole = Shown()
    whole.start("relax trajectories")
    with told_to(whole):
        run(short, rattled, "mini")
    for step in (1, 2):
        assert f"relax trajectories: relaxation step {step}, 0 of 3" in texts
    caplog.set_level("INFO", "phonotune")
    run(short, rattled, "mini")
    assert "relaxation: 0 of 3" in caplog.messages


@pytest.mark.parametrize("method", METHODS)
def test_every_method_spends_the_budget(trajectories, method: str) -> None:
    maker = SelectMaker(settings=SelectSettings(method=method, budget=12))
    selected = run(maker, trajectories, "mini" if maker.needs_model else None)
    candidates = selected.candidates()
    assert len(candidates) == 12
    assert [c.group for c in candidates].count("volume +0.0 %") == 4
    assert selected.fixed == [10, 11]
    assert method in selected.recipe


@pytest.mark.slow
def test_scores_travel_in_the_document(trajectories) -> None:
    maker = SelectMaker(settings=SelectSettings(method="doptimal", budget=10))
    selected = run(maker, trajectories, "mini")
    gains = [c.score for c in selected.candidates()[4:8]]
    assert all(score is not None and score > 0 for score in gains)
    assert gains == sorted(gains, reverse=True)
    again = MontyDecoder().process_decoded(json.loads(json.dumps(selected, cls=MontyEncoder)))
    assert [c.score for c in again.candidates()] == [c.score for c in selected.candidates()]


@pytest.mark.parametrize(("method", "role"), [("energy", "light"), ("fps", "gpu_eval")])
def test_the_role_follows_from_what_the_method_needs(trajectories, method, role) -> None:
    maker = SelectMaker(settings=SelectSettings(method=method))
    assert maker.make(trajectories, "mini").metadata["phonotune"]["role"] == role


def test_a_method_that_needs_a_model_asks_for_it(trajectories) -> None:
    maker = SelectMaker(settings=SelectSettings(method="fps"))
    with pytest.raises(ConfigError, match=r"'fps' needs a model .* Give it to SelectMaker.make"):
        run(maker, trajectories)


@pytest.mark.parametrize(
    "maker", [RATTLE, TRAJECTORY, SelectMaker(settings=SelectSettings(method="fps"))]
)
def test_makers_survive_serialisation_twice(maker) -> None:
    back = maker
    for _ in range(2):
        back = MontyDecoder().process_decoded(json.loads(json.dumps(back, cls=MontyEncoder)))
    assert back == maker
