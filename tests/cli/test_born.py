"""`born`: charges computed by an emulated VASP are those of the file that phonopy users have."""

import json

import pytest
from pymatgen.core import Lattice, Structure

pytestmark = [
    pytest.mark.filterwarnings("ignore:POTCAR data with symbol:UserWarning"),
    pytest.mark.filterwarnings("ignore:No POTCAR file with matching TITEL:UserWarning"),
]

CONFIG = """\
vasp: {kspacing: 0.5, potcars: {Na: Na}}
monitoring: {polling_seconds: 0.05, monitor_every: 4}
"""
CHARGES = {"Na": 1.08703, "Cl": -1.08672}
DIELECTRIC = 2.43533967
SAME = 1e-6
"""THz: of a frequency with charges from VASP's files and from BORN, whose digits are enough."""


@pytest.fixture
def salt(tmp_path):
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], sites)
    cell.to(filename=str(tmp_path / "POSCAR"), fmt="poscar")
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "POSCAR"


def test_lo_to_splitting_is_that_of_the_file(vasp, cli, salt, tmp_path, monkeypatch):
    monkeypatch.setenv("VASP_EMULATOR_CALCULATOR", "ase.calculators.lj:LennardJones")
    monkeypatch.setenv(
        "VASP_EMULATOR_BORN", json.dumps({"charges": CHARGES, "dielectric": DIELECTRIC})
    )
    words = ("born", salt, "--config", tmp_path / "config.yaml", "--store", tmp_path / "store")
    made = cli(*words, "-o", tmp_path / "born")
    assert made["files"] == ["born.json", "BORN"]
    assert made["born"]["sum_rule"] == pytest.approx(0.00031, abs=1e-9)
    again = cli(*words, "-o", tmp_path / "again")
    assert again["born"] == made["born"]
    assert not list((tmp_path / "again").glob("jobs/*/*")), "finished runs are found in the store"
    tensors = [f"{x} 0 0 0 {x} 0 0 0 {x}" for x in (DIELECTRIC, *CHARGES.values())]
    (tmp_path / "BORN").write_text("\n".join(["# the exact factor", *tensors]))
    highest = []
    for file in (tmp_path / "born" / "BORN", tmp_path / "BORN"):
        cli(
            "phonons",
            salt,
            "--model",
            "mini",
            "--supercell",
            1,
            1,
            1,
            "--born",
            file,
            "-o",
            tmp_path / "p",
        )
        highest.append(
            json.loads((tmp_path / "p" / "phonons.json").read_text())["highest_frequency"]
        )
    assert highest[0] == pytest.approx(highest[1], abs=SAME)


def test_a_labeller_without_charges_is_refused_before_anything_starts(cli, salt, tmp_path):
    words = ("born", salt, "--labeller", "teacher", "--store", tmp_path / "store")
    message = cli.error(*words, "-o", tmp_path / "born")
    assert message.startswith("Labeller 'teacher' gives no Born charges: `vasp` does, with a GGA.")
    assert not (tmp_path / "born").exists()
    assert not (tmp_path / "store").exists()
