"""phonotune's phonons in others' flows: after VASP, and in place of atomate2's own PhononMaker."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from atomate2.common.schemas.phonons import PhononBSDOSDoc
from atomate2.forcefields.flows.phonons import PhononMaker as ForceFieldPhononMaker
from atomate2.forcefields.flows.qha import ForceFieldQhaMaker
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from atomate2.vasp.flows.core import DoubleRelaxMaker
from atomate2.vasp.jobs.core import RelaxMaker
from jobflow import Flow
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.phonon import PhononMaker
from phonotune.jobs.phonon_flow import PhononFlowMaker, born_of_cell
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.phonon import PhononDocument

SETTINGS = PhononSettings(
    supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=20.0, max_temperature=490.0
)
BY_LABELLER = LabelMaker(labeller="emt", minimum=1.0)
BY_EMT = {"@module": "ase.calculators.emt", "@callable": "EMT"}


@pytest.fixture
def crystal() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])


@pytest.mark.slow
def test_phonons_start_from_what_vasp_relaxed(vasp: None, crystal: Structure, run: Any) -> None:
    quick = {"run_vasp_kwargs": {"custodian_kwargs": {"polling_time_step": 0.05}}}
    relax = DoubleRelaxMaker(RelaxMaker(**quick), RelaxMaker(**quick)).make(crystal)
    phonons = PhononMaker(settings=SETTINGS, labeller=BY_LABELLER).make(relax.output.structure)
    outputs = run(Flow([relax, phonons]), theirs=True)
    document = outputs[phonons.uuid]
    assert isinstance(document, PhononDocument)
    relaxed = outputs[relax.output.uuid].structure
    assert np.allclose(document.unitcell.lattice.matrix, relaxed.lattice.matrix)
    assert abs(relaxed.lattice.a - 4.02) > 1e-3  # EMT's own lattice, not the one given
    assert document.is_stable


def as_emt() -> PhononFlowMaker:
    return PhononFlowMaker(phonon=PhononMaker(settings=SETTINGS, labeller=BY_LABELLER))


def test_the_flow_gives_atomate2_its_own_document(crystal: Structure, run: Any) -> None:
    ours = as_emt().make(crystal)
    theirs = ForceFieldPhononMaker.from_force_field_name(
        BY_EMT,
        relax_initial_structure=False,
        create_thermal_displacements=False,
        min_length=None,
    ).make(crystal, supercell_matrix=[[2, 0, 0], [0, 2, 0], [0, 0, 2]])
    one, other = run(ours)[ours.output.uuid], run(theirs, theirs=True)[theirs.output.uuid]
    assert isinstance(one, PhononBSDOSDoc)
    constants = [np.array(doc.force_constants.force_constants) for doc in (one, other)]
    np.testing.assert_allclose(constants[0], constants[1], atol=2e-4)
    assert one.supercell_matrix == other.supercell_matrix
    np.testing.assert_allclose(one.primitive_matrix, other.primitive_matrix, atol=1e-9)
    assert one.total_dft_energy == pytest.approx(other.total_dft_energy, abs=1e-9)
    assert one.volume_per_formula_unit == pytest.approx(other.volume_per_formula_unit)
    assert (one.formula_units, one.has_imaginary_modes) == (4, other.has_imaginary_modes)
    assert one.temperatures == other.temperatures
    warm = one.temperatures.index(300)
    for name in ("heat_capacities", "entropies", "free_energies"):  # meshes differ
        assert getattr(one, name)[warm] == pytest.approx(getattr(other, name)[warm], rel=0.01), name
    energies = np.array(one.internal_energies) - np.array(one.free_energies)
    np.testing.assert_allclose(energies, np.array(one.temperatures) * np.array(one.entropies))


def bulk_modulus_of_emt() -> float:
    """Return that of fcc aluminium, eV/Å^3, from the pressures around the relaxed cell (3.994 Å)."""
    pressures, volumes = [], []
    for edge in (3.984, 4.004):
        atoms = bulk("Al", a=edge)
        atoms.calc = EMT()
        pressures.append(-np.trace(atoms.get_stress(voigt=False)) / 3)
        volumes.append(atoms.get_volume())
    return -np.diff(pressures)[0] / np.diff(volumes)[0] * np.mean(volumes)


@pytest.mark.slow
def test_the_quasi_harmonic_flow_of_atomate2_takes_it(crystal: Structure, run: Any) -> None:
    relax = ForceFieldRelaxMaker(force_field_name=BY_EMT, relax_kwargs={"fmax": 1e-4})
    maker = ForceFieldQhaMaker(
        initial_relax_maker=relax,
        eos_relax_maker=ForceFieldRelaxMaker(force_field_name=BY_EMT, relax_cell=False),
        phonon_maker=as_emt(),
        linear_strain=(-0.02, 0.02),
        number_of_frames=4,
        ignore_imaginary_modes=True,
        t_max=400,
    )
    flow = maker.make(crystal, supercell_matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    found = run(flow, theirs=True)[flow.jobs[-1].uuid]
    assert found.bulk_modulus == pytest.approx(bulk_modulus_of_emt(), rel=0.05)
    assert np.ptp(found.volumes) > 1.0


def test_a_tuned_model_gives_phonons_and_energy(tuned: str, crystal: Structure, run: Any) -> None:
    flow = PhononFlowMaker(phonon=PhononMaker(settings=SETTINGS), model=tuned).make(crystal)
    document = run(flow)[flow.output.uuid]
    (answer,) = load_evaluator(tuned)([crystal])
    assert document.total_dft_energy == pytest.approx(answer.energy / 4, abs=1e-8)


def test_supercell_and_charges_of_the_call_come_before_those_of_the_maker(run: Any) -> None:
    magnesia = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    charges = [np.eye(3).tolist()] * 4 + [(-np.eye(3)).tolist()] * 4
    flow = PhononFlowMaker(
        phonon=PhononMaker(settings=SETTINGS), model="mini", with_energy=False
    ).make(
        magnesia,
        born=charges,
        epsilon_static=(3 * np.eye(3)).tolist(),
        total_dft_energy_per_formula_unit=-12.5,
        supercell_matrix=[[1, 1, 0], [0, 1, 0], [0, 0, 1]],
    )
    document = run(flow)[flow.output.uuid]
    assert document.supercell_matrix == ((1, 1, 0), (0, 1, 0), (0, 0, 1))
    assert np.allclose(np.array(document.born), [np.eye(3), -np.eye(3)])
    assert document.total_dft_energy == -12.5


def test_charges_of_another_number_of_atoms_are_refused(crystal: Structure) -> None:
    with pytest.raises(InputError, match="4 for Al, found 1 charges and a tensor"):
        born_of_cell(crystal, [np.eye(3)], np.eye(3), 1e-5)
    with pytest.raises(InputError, match="found no charges and a tensor"):
        born_of_cell(crystal, None, np.eye(3), 1e-5)


def test_the_yaml_of_the_gruneisen_flow_is_read_by_phonopy(
    crystal: Structure, run: Any, tmp_path: Any
) -> None:
    import phonopy

    flow = as_emt().make(crystal)
    flow.jobs[-1].function_kwargs.update(
        filename_phonopy_yaml="ground_phonopy.yaml", filename_bs="ground_bands.pdf"
    )
    document = run(flow)[flow.output.uuid]
    (path,) = tmp_path.glob("job_*/ground_phonopy.yaml")
    assert document.jobdirs.taskdoc_run_job_dir == str(path.parent)
    again = phonopy.load(path, produce_fc=True, log_level=0)
    ours = np.array(document.force_constants.force_constants)[again.primitive.p2s_map]
    np.testing.assert_allclose(again.force_constants, ours, atol=2e-4)


def test_the_maker_survives_a_store_twice() -> None:
    maker: Any = PhononFlowMaker(phonon=PhononMaker(settings=SETTINGS), model="mini")
    for _ in range(2):
        maker = MontyDecoder().decode(json.dumps(maker, cls=MontyEncoder))
    assert maker == PhononFlowMaker(phonon=PhononMaker(settings=SETTINGS), model="mini")
