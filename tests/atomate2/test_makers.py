"""A tuned model in atomate2's force-field makers, and its numbers beside phonotune's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from atomate2.forcefields.flows.elastic import ElasticMaker as ForceFieldElasticMaker
from atomate2.forcefields.flows.phonons import PhononMaker as ForceFieldPhononMaker
from atomate2.forcefields.jobs import ForceFieldStaticMaker
from atomate2.forcefields.md import ForceFieldMDMaker
from pymatgen.core import Lattice, Structure

from phonotune.jobs.elastic import ElasticMaker
from phonotune.jobs.phonon import PhononMaker
from phonotune.models.calculator import load_calculator
from phonotune.physics.phonon.files import full_force_constants
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings

LOADER = {"@module": "phonotune.models.calculator", "@callable": "load_calculator"}


@pytest.fixture
def crystal() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])


def test_atomate2_phonons_by_a_tuned_model_are_ours(tuned: str, crystal, run: Any) -> None:
    theirs = ForceFieldPhononMaker.from_force_field_name(
        LOADER,
        calculator_kwargs={"model": tuned},
        relax_initial_structure=False,
        min_length=None,
    ).make(crystal, supercell_matrix=[[2, 0, 0], [0, 2, 0], [0, 0, 2]])
    document = run(theirs, theirs=True)[theirs.output.uuid]
    settings = PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=20)
    ours = PhononMaker.make.original(PhononMaker(settings=settings), crystal, tuned)
    np.testing.assert_allclose(
        full_force_constants(ours), document.force_constants.force_constants, atol=2e-4
    )


@pytest.mark.slow
def test_atomate2_elastic_constants_by_a_tuned_model_are_ours(
    tuned: str, crystal, run: Any
) -> None:
    with pytest.warns(UserWarning, match="Fixed symmetry relaxations"):
        maker = ForceFieldElasticMaker.from_force_field_name(
            LOADER, calculator_kwargs={"model": tuned}
        )
    theirs = maker.make(crystal)
    document = run(theirs, theirs=True)[theirs.output.uuid]
    ours = ElasticMaker.make.original(ElasticMaker(relax=RelaxSettings()), crystal, tuned)
    np.testing.assert_allclose(
        np.array(document.elastic_tensor.ieee_format), np.array(ours.elastic_tensor), atol=0.5
    )


def test_atomate2_dynamics_by_a_tuned_model_conserve_energy(
    tuned: str, rattled_aluminium, run: Any
) -> None:
    made = ForceFieldMDMaker(
        force_field_name=LOADER,
        calculator_kwargs={"model": tuned},
        ensemble="nve",
        n_steps=40,
        time_step=1.0,
        traj_interval=5,
    ).make(rattled_aluminium[0])
    document = run(made, theirs=True)[made.uuid]
    steps = document.objects["trajectory"].frame_properties
    potential = np.array([step["energy"] for step in steps])
    temperature_energy = np.array([_kinetic(step["velocities"]) for step in steps])
    assert np.ptp(potential) > 1e-4
    assert np.ptp(potential + temperature_energy) < 0.02 * np.ptp(potential)
    atoms = document.structure.to_ase_atoms(msonable=False)
    atoms.calc = load_calculator(tuned)
    assert potential[-1] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


def _kinetic(velocities: Any) -> float:
    return 0.5 * 26.9815385 * float((np.array(velocities) ** 2).sum())


def test_a_directory_says_the_same_as_the_evaluator(tuned: str, rattled_aluminium, run) -> None:
    made = ForceFieldStaticMaker(force_field_name=LOADER, calculator_kwargs={"model": tuned}).make(
        rattled_aluminium[1]
    )
    document = run(made, theirs=True)[made.uuid]
    (answer,) = load_calculator(tuned).evaluator([rattled_aluminium[1]])
    assert document.output.energy == pytest.approx(answer.energy, abs=1e-9)
    np.testing.assert_allclose(document.output.forces, answer.forces, atol=1e-9)
