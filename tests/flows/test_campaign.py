"""Many crystals as one flow, and the tables of what came out."""

from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from pymatgen.core import Structure

from phonotune.cli.campaign_file import read_campaign
from phonotune.errors import ConfigError, StructureError
from phonotune.flows.campaign import CampaignMaker, write_tables
from phonotune.flows.identity import stable_flow
from phonotune.flows.local import called
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


GRID = replace(
    MAKER,
    maker=replace(MAKER.maker, strategies=["lora", "equitrain"], properties=["phonon", "elastic"]),
    recipes=["default", "paper"],
    frames=[2, 16, 5],
    seeds=[0, 1],
)


def contents(flow):
    return {made.metadata["phonotune"]["content"] for made, _ in stable_flow(flow).iterflow()}


def test_a_grid_has_every_training_once_and_shares_everything_else(aluminium):
    (flow,) = GRID.flows({"a": aluminium}).values()
    names = Counter(called(made) for made, _ in flow.iterflow())
    trainings = {name for name in names if name.startswith("finetune")}
    assert len(trainings) == 3 * (1 + 2) * 2  # equitrain knows both recipes, lora one
    assert set(names.values()) == {1}
    for once in ("rattle", "relax trajectories", "select", "label", "dataset"):
        assert names[once] == 1
    assert sum("reference" in name for name in names) == 2
    assert sum(name.startswith("elastic") and "untuned" in name for name in names) == 1
    assert sum(name.startswith("phonon untuned") for name in names) == 3
    assert [n for n in names if n.startswith("compare")] == [
        f"compare, {n} frames" for n in (2, 5, 16)
    ]
    assert len(contents(flow)) == sum(names.values())


def test_a_larger_grid_repeats_no_job_of_a_smaller_one(aluminium):
    (small,) = replace(GRID, seeds=[0], frames=[2, 16]).flows({"a": aluminium}).values()
    (large,) = GRID.flows({"a": aluminium}).values()
    compared = {
        made.metadata["phonotune"]["content"]
        for made, _ in stable_flow(small).iterflow()
        if made.name.startswith("compare")
    }
    assert contents(small) - contents(large) == compared


def test_frames_pay_for_as_many_labels_as_the_largest_number_needs():
    assert GRID.sampler().select.budget == 16 + GRID.maker.select.n_valid


def test_a_campaign_without_a_grid_has_the_jobs_of_the_pipeline(aluminium):
    (flow,) = MAKER.flows({"a": aluminium}).values()
    assert contents(flow) == contents(MAKER.maker.make(aluminium))


def test_a_grid_over_foundations_samples_once_and_compares_each_untuned(aluminium):
    maker = replace(GRID, foundations=["mini", "mini-pes"], frames=[], seeds=[], recipes=[])
    names = [training.name for training in maker.trainings()]
    assert names == ["lora, mini", "equitrain, mini", "lora, mini-pes", "equitrain, mini-pes"]
