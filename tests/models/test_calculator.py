from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from pymatgen.core import Structure

from phonotune.errors import FoundationError, StructureError
from phonotune.models import load
from phonotune.models.calculator import EvaluatorCalculator, load_calculator
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.load import load_foundation
from phonotune.models.records import find_model

LABELLER = {"@module": "phonotune.models.calculator", "@callable": "load_calculator"}


@pytest.fixture
def rocksalt() -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.3, cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_calculator_gives_the_answers_of_the_evaluator(tiny_mace_session, rocksalt):
    evaluator = ModelEvaluator(tiny_mace_session, device="cpu")
    answer = evaluator([Structure.from_ase_atoms(rocksalt)])[0]
    rocksalt.calc = EvaluatorCalculator(evaluator)
    assert rocksalt.get_potential_energy() == pytest.approx(answer.energy, abs=1e-10)
    assert rocksalt.get_potential_energy(force_consistent=True) == rocksalt.get_potential_energy()
    np.testing.assert_allclose(rocksalt.get_forces(), answer.forces, atol=1e-10)
    np.testing.assert_allclose(rocksalt.get_stress(voigt=False), answer.stress, atol=1e-10)


def test_moving_atoms_are_evaluated_again(tiny_mace_session, rocksalt):
    rocksalt.calc = EvaluatorCalculator(ModelEvaluator(tiny_mace_session, device="cpu"))
    before = rocksalt.get_potential_energy()
    rocksalt.positions[0] += 0.1
    assert rocksalt.get_potential_energy() != before


def test_foundation_name_and_its_record_give_one_model(rocksalt):
    by_name, by_record = load_calculator("mini"), load_calculator(find_model("mini"))
    assert by_name is not by_record
    assert by_name.evaluator is by_record.evaluator
    rocksalt.calc = by_name
    structure = Structure.from_ase_atoms(rocksalt)
    expected = ModelEvaluator(load_foundation("mini"), device="cpu")([structure])[0]
    assert rocksalt.get_potential_energy() == pytest.approx(expected.energy, abs=1e-8)


def test_unknown_model_is_refused():
    with pytest.raises(FoundationError, match="Did you mean 'mini'"):
        load_calculator("minni")


def test_a_molecule_is_refused(tiny_mace_session):
    molecule = Atoms("MgO", positions=[[0, 0, 0], [0, 0, 1.8]])
    molecule.calc = EvaluatorCalculator(ModelEvaluator(tiny_mace_session, device="cpu"))
    with pytest.raises(StructureError, match="not periodic in three directions"):
        molecule.get_potential_energy()


def test_static_jobs_of_atomate2_load_the_model_once(
    rocksalt, tmp_path, monkeypatch, tiny_mace_session
):
    from atomate2.forcefields.jobs import ForceFieldStaticMaker
    from jobflow import run_locally

    loads = []

    def load_once(record, dtype):
        loads.append(record.label)
        return [tiny_mace_session]

    monkeypatch.setattr("phonotune.models.load.load_members", load_once)
    load._shared.cache_clear()
    monkeypatch.chdir(tmp_path)
    maker = ForceFieldStaticMaker(force_field_name=LABELLER, calculator_kwargs={"model": "teacher"})
    structure = Structure.from_ase_atoms(rocksalt)
    try:
        jobs = [maker.make(structure), maker.make(structure * (2, 1, 1))]
        outputs = [run_locally(job, ensure_success=True)[job.uuid][1].output for job in jobs]
    finally:
        load._shared.cache_clear()
    answer = ModelEvaluator(tiny_mace_session, device="cpu")([structure])[0]
    assert loads == ["teacher"]
    assert outputs[0].output.energy == pytest.approx(answer.energy, abs=1e-8)
    np.testing.assert_allclose(outputs[0].output.forces, answer.forces, atol=1e-8)
    assert outputs[1].output.energy == pytest.approx(2 * answer.energy, abs=1e-8)
    assert torch.get_default_dtype() == torch.float32
