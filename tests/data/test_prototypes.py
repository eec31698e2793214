"""Crystals by prototype or by space group, and the fifty-three of the campaign that is shipped."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.symmetry.groups import SpaceGroup

from phonotune.data.prototypes import PROTOTYPES, CrystalText
from phonotune.errors import PhonotuneError

CAMPAIGN = Path(__file__).parents[2] / "workflows" / "campaigns" / "prototypes53.yaml"
CRYSTALS = yaml.safe_load(CAMPAIGN.read_text())["structures"]
SYSTEMS = [
    "cubic",
    "hexagonal",
    "trigonal",
    "tetragonal",
    "orthorhombic",
    "monoclinic",
    "triclinic",
]


def made(**keys):
    return CrystalText(**{"species": ["Na", "Cl"], "source": "a book", "a": 5.64, **keys})


def test_a_prototype_is_its_primitive_cell():
    crystal = made(prototype="rocksalt").structure()
    assert crystal.composition.reduced_formula == "NaCl"
    assert len(crystal) == 2
    assert crystal.volume == pytest.approx(5.64**3 / 4)
    assert crystal.get_distance(0, 1) == pytest.approx(2.82)


@pytest.mark.parametrize("name", PROTOTYPES)
def test_every_prototype_is_the_same_as_its_space_group_and_sites(name):
    prototype = PROTOTYPES[name]
    species = ["Mg", "Si", "O"][: len(prototype.sites)]
    u = {"wurtzite": 0.377, "rutile": 0.305, "chalcopyrite": 0.26}.get(name)
    c = {"wurtzite": 5.2, "rutile": 3.0, "chalcopyrite": 10.4}.get(name)
    keys = {"species": species, "a": 5.3 if name != "rutile" else 4.6, "c": c}
    sites = [[u if x == "u" else x for x in site] for site in prototype.sites]
    first = made(prototype=name, u=u, **keys).structure()
    second = made(spacegroup=prototype.spacegroup, coords=sites, **keys).structure()
    assert first == second


def test_thirds_may_be_written_with_three_digits():
    sites = [[0.333, 0.667, 0], [0.333, 0.667, 0.377]]
    keys = {"spacegroup": "P6_3mc", "species": ["Ga", "N"], "a": 3.19, "c": 5.19}
    assert len(made(coords=sites, **keys).structure()) == 4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"prototype": "rock salt"}, "Did you mean 'rocksalt'"),
        ({"prototype": "rocksalt", "spacegroup": "Fm-3m"}, "either `prototype` or `spacegroup`"),
        ({}, "either `prototype` or `spacegroup`"),
        ({"prototype": "rocksalt", "species": ["Na"]}, "1 species .* for 2 sites"),
        ({"prototype": "rocksalt", "species": ["Na", "Xx"]}, "'Xx' is not the symbol"),
        ({"prototype": "wurtzite", "c": 9.0}, "`u`, which is missing"),
        ({"prototype": "rocksalt", "u": 0.1}, "leave out `coords` and `u`"),
        ({"prototype": "rocksalt", "source": ""}, "source"),
        ({"prototype": "rocksalt", "c": 6.0}, "make no crystal"),
        ({"spacegroup": "Fm3q", "coords": [[0, 0, 0], [0.5, 0.5, 0.5]]}, "make no crystal"),
        (
            {"spacegroup": "F-43m", "coords": [[0, 0, 0], [0.5, 0.5, 0.5]]},
            "of space group Fm-3m, and F-43m was stated",
        ),
        ({"spacegroup": "Fm-3m", "coords": [[0, 0, 0], [0, 0, 0.01]]}, "apart"),
    ],
)
def test_what_makes_no_crystal_is_refused_in_one_sentence(keys, message):
    with pytest.raises((PhonotuneError, ValidationError), match=message):
        made(**keys).structure()


def test_the_campaign_has_53_crystals_over_the_seven_systems():
    texts = [CrystalText.model_validate(crystal) for crystal in CRYSTALS]
    assert len(texts) == 53
    assert {SpaceGroup(text.group).crystal_system for text in texts} == set(SYSTEMS)
    assert len({text.label for text in texts}) == 53


@pytest.mark.parametrize("crystal", CRYSTALS, ids=lambda c: "-".join(c["species"]))
def test_a_crystal_of_the_campaign_is_what_it_states(crystal):
    text = CrystalText.model_validate(crystal)
    structure = text.structure()
    found = SpacegroupAnalyzer(structure, symprec=1e-2).get_space_group_number()
    assert found == SpaceGroup(text.group).int_number
    assert 2 <= len(structure) <= 10
    assert len(SpacegroupAnalyzer(structure, symprec=1e-2).find_primitive()) == len(structure)
    assert np.min(structure.get_neighbor_list(4.5)[3]) > 1.5
