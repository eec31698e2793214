"""A model out of the database alone, as an ASE calculator."""

import pytest
from ase.build import bulk

from phonotune import ResultStore, load_calculator
from phonotune.errors import FoundationError, InputError
from phonotune.models.adapter import Adapter
from phonotune.models.records import find_model, model_record
from phonotune.settings import get_settings


@pytest.fixture
def stored(tmp_path, make):
    """A store that holds a model which shifts the energy of Cl by half an eV, and its id."""
    adapter = Adapter((), {}, {17: 0.5}).to_bytes()
    record = model_record(find_model("mini").foundation, "lora", [adapter], "0" * 64, {"lr": 0.1})
    document = make.training("0" * 64).model_copy(update={"model": record})
    results = ResultStore(tmp_path / "store")
    make.put(results.store, {"finetune": document}, tmp_path)
    return results, record.model_id


def energy(calculator):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.calc = calculator
    return atoms.get_potential_energy()


def test_a_model_is_rebuilt_from_the_store(stored):
    results, model_id = stored
    plain = energy(load_calculator("mini"))
    assert energy(load_calculator(model_id, store=results)) - plain == pytest.approx(0.5)
    assert energy(load_calculator(model_id[:8], store=results)) - plain == pytest.approx(0.5)
    assert energy(load_calculator("mini", store=results)) == plain


def test_a_model_id_alone_is_looked_up_in_the_default_store(stored, tmp_path, monkeypatch):
    _, model_id = stored
    monkeypatch.setenv("PHONOTUNE_STORE", str(tmp_path / "store"))
    get_settings.cache_clear()
    assert load_calculator(model_id).evaluator is not None


def test_an_unknown_model_id_is_refused(stored):
    with pytest.raises(InputError, match="No training gave"):
        load_calculator("0" * 64, store=stored[0])


def test_a_model_that_is_not_the_one_named_is_refused(stored, make, tmp_path):
    results, model_id = stored
    record = results.model(model_id)
    forged = record.model_copy(update={"config": {"lr": 9.0}, "model_id": "9" * 64})
    document = make.training("0" * 64).model_copy(update={"model": forged})
    make.put(results.store, {"forged": document}, tmp_path)
    with pytest.raises(FoundationError, match="gave another model"):
        load_calculator("9" * 64, store=results)
