"""Many crystals as one flow, and the tables of what came out."""

import pandas as pd
import pytest
from pymatgen.core import Structure

from phonotune.cli.campaign_file import read_campaign
from phonotune.errors import ConfigError, StructureError
from phonotune.flows.campaign import CampaignMaker, write_tables
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.schemas.base import structure_hash
from phonotune.store import ResultStore, open_store

MAKER = CampaignMaker("metals", PhonotuneMaker(foundation="mini", labeller="emt"))


@pytest.fixture
def crystals(aluminium: Structure) -> dict[str, Structure]:
    larger = aluminium.copy()
    larger.apply_strain(0.01)
    return {"a.cif": aluminium, "b.cif": larger}


def test_every_job_names_its_crystal_and_campaign(crystals):
    flow = MAKER.make(crystals)
    ids = {structure_hash(crystal) for crystal in crystals.values()}
    found = [made.metadata["phonotune"] for made, _ in flow.iterflow()]
    assert {about["campaign"] for about in found} == {"metals"}
    assert {about["material_id"] for about in found} == ids
    assert {about["formula"] for about in found} == {"Al"}


def test_the_same_crystal_twice_is_refused(crystals):
    crystals["c.cif"] = crystals["a.cif"].copy()
    with pytest.raises(StructureError, match=r"a\.cif and c\.cif are the same crystal"):
        MAKER.make(crystals)


def test_a_campaign_without_crystals_is_refused():
    with pytest.raises(StructureError, match="no crystal"):
        MAKER.make({})


def test_the_table_of_materials_has_a_row_a_crystal_also_of_one_without_results(crystals, tmp_path):
    results = ResultStore(open_store(tmp_path / "store"))
    files = write_tables(crystals, {name: [] for name in crystals}, results, tmp_path / "out")
    assert [file.name for file in files] == ["materials.csv"]
    table = pd.read_csv(files[0])
    assert list(table["structure"]) == ["a.cif", "b.cif"]
    assert list(table["n_atoms"]) == [4, 4]
    assert not table["compared"].any()


def test_a_file_names_crystals_by_pattern_from_its_own_folder(crystals, tmp_path):
    for name, crystal in crystals.items():
        crystal.to(filename=str(tmp_path / name))
    file = tmp_path / "metals.yaml"
    file.write_text("structures: ['*.cif']\nlabeller: emt\nfoundation: mini\nselect: {budget: 8}\n")
    maker, found = read_campaign(file)
    assert maker.name == "metals"
    assert maker.maker.select.budget == 8
    assert [path.rsplit("/", 1)[1] for path in found] == ["a.cif", "b.cif"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("labeler: emt\nstructures: []", ConfigError, "Did you mean 'labeller'"),
        ("structures: a.cif", ConfigError, "must be a list of files"),
        ("structures: ['*.xyz']", ConfigError, "No file matches"),
        ("structures: []", StructureError, "no crystal"),
        ("- a.cif", ConfigError, "a mapping is needed"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, text, error, message):
    file = tmp_path / "metals.yaml"
    file.write_text(text)
    with pytest.raises(error, match=message):
        read_campaign(file)
