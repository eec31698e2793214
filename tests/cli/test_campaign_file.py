"""The file of a campaign: crystals of every form, and refusals that name the line."""

import pytest

from phonotune.cli.campaign_file import read_campaign
from phonotune.errors import InputError

SALT = "{prototype: rocksalt, species: [Na, Cl], a: 5.64, source: a book}"


@pytest.fixture
def read(tmp_path):
    def run(text):
        file = tmp_path / "salts.yaml"
        file.write_text(text)
        return read_campaign(file)

    return run


def test_prototypes_and_files_stand_side_by_side(read, tmp_path, aluminium):
    aluminium.to(filename=str(tmp_path / "Al.cif"))
    maker, crystals = read(f"labeller: emt\nstructures:\n  - Al.cif\n  - {SALT}\n")
    assert list(crystals) == [str(tmp_path / "Al.cif"), "NaCl rocksalt"]
    assert maker.maker.labeller == "emt"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            f"structures:\n  - {SALT}\n  - {SALT}\n",
            3,
            r"\(line 2\) and|Two crystals are called",
        ),
        (
            f"structures:\n  - {SALT.replace('rocksalt', 'rocksald')}\n",
            2,
            "Did you mean 'rocksalt'",
        ),
        (f"name: x\nstructures: [{SALT}]\nlabeler: emt\n", 3, "Did you mean 'labeller'"),
        (f"structures: [{SALT}]\nlabeller: tehcer\n", 2, "'teacher'"),
        (f"structures: [{SALT}]\nfoundation: mimi\n", 2, "mini"),
        (f"structures: [{SALT}]\nstrategies:\n  - lora\n  - lorra\n", 4, "Did you mean 'lora'"),
        (f"structures: [{SALT}]\nstrategies: [lora,\n  lora]\n", 3, "stands twice"),
        (f"structures: [{SALT}]\nproperties: [phonon,\n  elastik]\n", 3, "'elastic'"),
        (f"structures: [{SALT}]\noptions:\n  lora: {{rnk: 8}}\n", 3, "'rank'"),
        (f"structures: [{SALT}]\nselect: {{bugdet: 8}}\n", 2, "'budget'"),
        (f"structures: [{SALT}]\nmasses: heavy\n", 2, "natural"),
        (f"structures: [{SALT}]\nframes: [2,\n  0]\n", 3, "not a whole number from 1"),
        (f"structures: [{SALT}]\nframes: []\n", 2, "at least one value"),
        (f"structures: [{SALT}]\nseeds: [0, 0]\n", 2, "stands twice in seeds"),
        (f"structures: [{SALT}]\nseeds: [true]\n", 2, "not a whole number from 0"),
        (f"structures: [{SALT}]\nrecipes: [papre]\n", 2, "Did you mean 'paper'"),
        (f"structures: [{SALT}]\nrecipes: [mace]\nstrategies: [delta]\n", 3, "knows none of"),
        (f"structures: [{SALT}]\nframes: [2]\nselect: {{budget: 8}}\n", 3, "contradict"),
        (f"structures: [{SALT}]\nfoundation: mini\nfoundations: [mini]\n", 2, "contradict"),
        (f"structures: [{SALT}]\nfoundations: [mini,\n  mimi]\n", 3, "mini"),
        ("structures:\n  - 7\n", 2, "A crystal is a file, or a mapping"),
        ("structures:\n  - {mp: mp-149}\n", 2, "MP_API_KEY"),
        ("structures:\n  - {mp: mp-149, colour: red}\n", 2, "key beside mp"),
        ("structures:\n  - nowhere.cif\n", 2, "does not exist"),
    ],
)
def test_a_refusal_names_the_line(read, monkeypatch, text, line, message):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    with pytest.raises(InputError, match=rf"salts\.yaml, line {line}: .*({message})"):
        read(text)


def test_a_key_that_stands_twice_is_refused(read):
    with pytest.raises(InputError, match=r"'name' stands twice in .*: in line 1 and in line 3"):
        read(f"name: a\nstructures: [{SALT}]\nname: b\n")


def test_a_crystal_of_the_materials_project_is_asked_for_with_the_key(read, monkeypatch, aluminium):
    asked = []

    class Rester:
        def __init__(self, key):
            asked.append(key)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def get_structure_by_material_id(self, number):
            asked.append(number)
            return aluminium

    monkeypatch.setattr("pymatgen.ext.matproj.MPRester", Rester)
    monkeypatch.setenv("MP_API_KEY", "secret")
    _, crystals = read("structures:\n  - {mp: mp-134}\n")
    assert crystals == {"mp-134": aluminium}
    assert asked == ["secret", "mp-134"]


def test_an_empty_file_has_no_crystal(read):
    with pytest.raises(InputError, match="The campaign has no crystal"):
        read("")


def test_a_dry_run_counts_the_trainings_of_the_grid_and_its_labels(cli, tmp_path):
    file = tmp_path / "salts.yaml"
    grid = "frames: [2, 5]\nseeds: [0, 1]\nstrategies: [lora, delta]\nproperties: [phonon]\n"
    file.write_text(f"structures: [{SALT}]\nlabeller: teacher\nfoundation: mini\n{grid}")
    plan = cli("campaign", file, "--dry-run")
    assert (plan["trainings"], plan["labels"]) == (8, 9)
    (crystal,) = plan["structures"]
    assert crystal["structure"] == "NaCl rocksalt"


def test_the_command_runs_the_flows_of_the_grid(cli, tmp_path, monkeypatch):
    started = {}

    def run_flows(flows, *_):
        from phonotune.flows.run import Outcome

        started.update(flows)
        return Outcome(documents={name: [] for name in flows})

    monkeypatch.setattr("phonotune.flows.run.run_flows", run_flows)
    file = tmp_path / "salts.yaml"
    rest = "labeller: teacher\nfoundation: mini\nframes: [2, 5]\nproperties: [phonon]\n"
    file.write_text(f"structures: [{SALT}]\n{rest}")
    cli("campaign", file, "--out", tmp_path / "out", "--store", tmp_path / "store")
    names = [made.name for made, _ in started["NaCl rocksalt"].iterflow()]
    assert names.count("finetune lora") == 2
