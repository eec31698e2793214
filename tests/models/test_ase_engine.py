"""Any ASE calculator is a model: what it answers, how it is named, and what is said where it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

from phonotune.errors import ConfigError, FoundationError, PhonotuneError
from phonotune.models import ase_engine
from phonotune.models.ase_engine import AseEvaluator
from phonotune.models.calculator import load_calculator
from phonotune.models.engines import ENGINES, find_foundation, foundation_elements
from phonotune.models.evaluators import load_evaluator
from phonotune.models.load import load_model
from phonotune.models.records import find_model
from phonotune.ports import Evaluation
from phonotune.schemas.training import FoundationRecord

EMT_NAME = "ase:ase.calculators.emt:EMT"
COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.7), ["Cu"], [[0, 0, 0]])
OWN = """
import numpy as np
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

not_callable = 3

class Copper(EMT):
    elements = ("Cu", 79)

class Stressless(EMT):
    implemented_properties = ("energy", "free_energy", "forces")

class Needs(EMT):
    def __init__(self, file):
        super().__init__()

def nothing():
    return {}

def broken():
    raise ValueError("no weights")

class Nan(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms, properties, changes):
        self.results = {"energy": np.nan, "forces": np.zeros((len(atoms), 3))}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's module of calculators, ``own_calculators``."""
    path = tmp_path / "own_calculators.py"
    path.write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_calculators", raising=False)
    ase_engine.load_calculator_of.cache_clear()
    return path


def answer_of(name: str, structure: Structure = COPPER) -> Evaluation:
    return load_evaluator(name)([structure])[0]


def test_it_answers_what_ase_answers() -> None:
    displaced = COPPER.copy()
    displaced.translate_sites([0], [0.02, 0.01, 0.0])
    atoms = displaced.to_ase_atoms()
    atoms.calc = EMT()
    answer = answer_of(EMT_NAME, displaced)
    assert answer.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    np.testing.assert_allclose(answer.forces, atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(answer.stress, atoms.get_stress(voigt=False), atol=1e-12)


def test_it_is_named_by_what_determines_its_answers() -> None:
    record = find_model(EMT_NAME)
    assert (record.foundation.name, record.foundation.engine) == (EMT_NAME, "ase")
    assert record.label == EMT_NAME
    evaluator = load_evaluator(EMT_NAME)
    assert evaluator.source.evaluator == EMT_NAME
    assert evaluator.source.model_id == evaluator.identity == record.model_id
    assert (evaluator.source.role, evaluator.source.dtype) == ("untuned", None)
    assert evaluator.members == ()


def test_another_version_is_another_model_and_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = find_foundation(EMT_NAME)
    ase_engine.load_calculator_of.cache_clear()
    monkeypatch.setattr(ase_engine, "versions_of", lambda *_: {"ase": "0.0"})
    assert find_foundation(EMT_NAME).sha256 != record.sha256
    with pytest.raises(FoundationError, match="another version here"):
        load_evaluator(find_model(EMT_NAME).model_copy(update={"foundation": record}))


def test_a_module_of_ones_own_is_named_by_its_content(own: Path) -> None:
    first = find_foundation("ase:own_calculators:Copper")
    own.write_text(OWN + "\nchanged = True\n")
    assert find_foundation("ase:own_calculators:Copper").sha256 != first.sha256


def test_elements_are_known_where_the_calculator_says_so(own: Path) -> None:
    assert foundation_elements(find_foundation("ase:own_calculators:Copper")) == ("Cu", "Au")
    assert foundation_elements(find_foundation(EMT_NAME)) is None


def test_a_stress_that_it_cannot_give_is_missing(own: Path) -> None:
    assert answer_of("ase:own_calculators:Stressless").stress is None


def test_the_calculator_of_a_name_is_that_of_ase() -> None:
    atoms = COPPER.to_ase_atoms()
    atoms.calc = load_calculator(EMT_NAME)
    other = COPPER.to_ase_atoms()
    other.calc = EMT()
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ase:", "does not name an ASE calculator"),
        ("ase:ase.calculators.emt", "does not name an ASE calculator"),
        ("ase:no_such_module:X", "no_such_module cannot be imported"),
        ("ase:ase.calculators.emt:Emt", "holds no Emt"),
        ("ase:own_calculators:not_callable", "cannot be called"),
        ("ase:own_calculators:Needs", "needs arguments.*'file'"),
    ],
)
def test_a_name_that_names_nothing_is_told_in_one_sentence(own: Path, name: str, said: str) -> None:
    with pytest.raises(FoundationError, match=said) as caught:
        find_foundation(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("nothing", "gave a dict, not an ASE calculator"), ("broken", "ValueError: no weights")],
)
def test_what_cannot_be_made_is_told(own: Path, name: str, said: str) -> None:
    with pytest.raises(FoundationError, match=said):
        load_evaluator(f"ase:own_calculators:{name}")


def test_an_element_that_it_does_not_know_is_named() -> None:
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0] * 3, [0.5] * 3]
    )
    with pytest.raises(PhonotuneError, match=r"EMT gave no answer for Na4 Cl4.*knows Cl, Na"):
        answer_of(EMT_NAME, salt)


def test_not_a_number_is_refused(own: Path) -> None:
    with pytest.raises(PhonotuneError, match="gave NaN or infinity for Cu4"):
        answer_of("ase:own_calculators:Nan")


def test_it_is_not_trained_and_has_no_features() -> None:
    with pytest.raises(
        ConfigError, match=r"needs a MACE model, and ase:.*EMT is an ASE calculator"
    ):
        load_model(EMT_NAME)


def test_a_calculator_made_on_the_spot_answers_but_has_no_identity() -> None:
    evaluator = AseEvaluator(EMT())
    assert evaluator.source.evaluator == "EMT"
    assert len(evaluator([COPPER])) == 1
    with pytest.raises(PhonotuneError, match="no identity"):
        _ = evaluator.identity


def test_every_engine_is_one_row() -> None:
    assert set(ENGINES) == {"mace", "ase", "process"}
    assert [name for name, engine in ENGINES.items() if engine.trainable] == ["mace"]
    assert FoundationRecord(name="mini", sha256="0" * 64).engine == "mace"
