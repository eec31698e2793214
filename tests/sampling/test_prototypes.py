from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Composition, Structure

from phonotune.errors import InputError
from phonotune.sampling.prototypes import PROTOTYPES, prototype_crystal, prototypes
from phonotune.sampling.rattle import closest_pair

SYMBOLS = ("Ba", "Ti", "O")


def all_prototypes():
    return pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda p: p.name)


def crystal_of(prototype) -> Structure:
    return prototype_crystal(prototype, SYMBOLS[: prototype.n_elements])


@all_prototypes()
def test_a_prototype_has_its_space_group(prototype) -> None:
    symbol, _ = crystal_of(prototype).get_space_group_info(1e-3)
    assert symbol == prototype.space_group


@all_prototypes()
def test_a_prototype_is_a_primitive_cell_of_one_to_six_atoms_with_every_element(prototype) -> None:
    crystal = crystal_of(prototype)
    assert 1 <= len(crystal) <= 6
    assert len(crystal.get_primitive_structure()) == len(crystal)
    assert crystal.symbol_set == tuple(sorted(SYMBOLS[: prototype.n_elements]))


@all_prototypes()
@pytest.mark.parametrize("symbols", [("H", "F", "He"), ("Cs", "Ba", "K")])
def test_the_closest_pair_stands_at_the_sum_of_its_covalent_radii(prototype, symbols) -> None:
    ratio, _ = closest_pair(prototype_crystal(prototype, symbols[: prototype.n_elements]) * 2)
    assert ratio == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "elements", "formula"),
    [
        ("fluorite", ("Ca", "F"), "CaF2"),
        ("antifluorite", ("Na", "O"), "Na2O"),
        ("rutile", ("Ti", "O"), "TiO2"),
        ("perovskite", ("Ba", "Ti", "O"), "BaTiO3"),
        ("antiperovskite", ("Li", "Cl", "O"), "Li3ClO"),
    ],
)
def test_elements_take_their_slots(name: str, elements: tuple[str, ...], formula: str) -> None:
    prototype = next(p for p in PROTOTYPES if p.name == name)
    crystal = prototype_crystal(prototype, elements)
    assert crystal.composition.reduced_composition == Composition(formula)
    assert crystal.properties["prototype"] == name


def test_drawing_is_deterministic_and_does_not_depend_on_the_order_of_elements() -> None:
    first = prototypes(["Na", "Cl", "O", "Ti"], 20, np.random.default_rng(3))
    again = prototypes(["Ti", "O", "Cl", "Na", "Na"], 20, np.random.default_rng(3))
    other = prototypes(["Na", "Cl", "O", "Ti"], 20, np.random.default_rng(4))
    assert first == again
    assert first != other


def test_only_the_given_elements_are_drawn_and_all_of_them_come() -> None:
    elements = ("Ba", "Cl", "K", "Na", "O")
    crystals = prototypes(elements, 200, np.random.default_rng(0))
    assert {symbol for crystal in crystals for symbol in crystal.symbol_set} == set(elements)
    assert {crystal.properties["prototype"] for crystal in crystals} == {p.name for p in PROTOTYPES}


def test_one_element_gives_crystals_of_one_element_only() -> None:
    crystals = prototypes(["Al"], 10, np.random.default_rng(0))
    assert {crystal.symbol_set for crystal in crystals} == {("Al",)}


def test_a_wished_element_is_in_every_crystal() -> None:
    crystals = prototypes(["Ba", "Cl", "K", "O"], 60, np.random.default_rng(1), holding=["K", "O"])
    assert all({"K", "O"} & set(crystal.symbol_set) for crystal in crystals)
    assert any(set(crystal.symbol_set) - {"K", "O"} for crystal in crystals)


def test_in_salts_the_most_electronegative_element_is_the_anion() -> None:
    salts = [
        crystal
        for crystal in prototypes(["Na", "Cl"], 200, np.random.default_rng(2))
        if crystal.properties["prototype"] == "fluorite"
    ]
    assert salts
    assert {crystal.composition.reduced_formula for crystal in salts} == {"NaCl2"}


def test_noble_gases_are_drawn_without_a_warning() -> None:
    assert len(prototypes(["He", "Ar", "O"], 30, np.random.default_rng(5))) == 30


@pytest.mark.parametrize(
    ("elements", "count", "words"),
    [([], 1, "No element"), (["Na", "Xx"], 1, "'Xx'"), (["Na"], -1, "-1 prototype")],
)
def test_what_cannot_be_drawn_is_refused(elements, count: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        prototypes(elements, count, np.random.default_rng(0))


def test_a_wrong_number_of_elements_is_refused_by_the_prototypes_name() -> None:
    with pytest.raises(InputError, match=r"bcc holds 1 element\(s\), not 2"):
        prototype_crystal(PROTOTYPES[0], ["Na", "Cl"])
