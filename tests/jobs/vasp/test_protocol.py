"""The label protocol: its inputs, its hash, what it refuses."""

import json

import pytest
from monty.json import MontyDecoder, MontyEncoder
from pydantic import ValidationError
from pymatgen.core import SETTINGS, Lattice, Structure

from phonotune.errors import ConfigError
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.vasp.error_handlers import MIXING
from phonotune.jobs.vasp.protocol import PARALLEL, LabelProtocol, VaspMonitoring
from phonotune.jobs.vasp.verification import FREE


@pytest.fixture
def wustite() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.3), ["O", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def copied(content):
    return MontyDecoder().process_decoded(json.loads(json.dumps(content, cls=MontyEncoder)))


def test_the_incar_is_pbe_with_tight_forces(aluminium):
    incar = LabelProtocol().incar(aluminium)
    assert incar.pop("GGA").upper() == "PE"
    assert incar.items() >= {
        ("ENCUT", 520.0),
        ("EDIFF", 1e-7),
        ("LREAL", False),
        ("ADDGRID", False),
        ("ISYM", 0),
        ("KSPACING", 0.22),
        ("NSW", 0),
        ("LASPH", True),
        ("LWAVE", False),
        ("LCHARG", False),
    }
    assert not {"METAGGA", "LDAU", "EDIFFG", "IBRION"} & incar.keys()


def test_input_files_sort_the_sites_and_leave_the_mesh_to_kspacing(wustite):
    files = LabelProtocol().generator().get_input_set(wustite, potcar_spec=True)
    assert [site.specie.symbol for site in files["POSCAR"].structure] == ["Fe"] * 4 + ["O"] * 4
    assert files["KPOINTS"] is None
    assert LabelProtocol().potcar_symbols(wustite) == files["POTCAR.spec"].split()


def test_moments_and_plus_u_pass_through(wustite):
    plus_u = {
        "LDAU": True,
        "LDAUU": {"O": {"Fe": 5.3}},
        "LDAUJ": {"O": {"Fe": 0}},
        "LDAUL": {"O": {"Fe": 2}},
    }
    protocol = LabelProtocol(magnetic_moments={"Fe": 4.0}, user_incar_settings=plus_u)
    incar = protocol.incar(wustite)
    assert incar["MAGMOM"] == [4.0] * 4 + [0.6] * 4
    assert incar["LDAUU"] == [5.3, 0]
    assert protocol.hash != LabelProtocol(magnetic_moments={"Fe": 4.0}).hash


@pytest.mark.parametrize(
    "change",
    [
        {"encut": 600},
        {"ediff": 1e-8},
        {"kspacing": 0.2},
        {"ismear": 1},
        {"sigma": 0.1},
        {"nelm": 100},
        {"potcar_family": "PBE_64"},
        {"potcars": {"Ti": "Ti_pv"}},
        {"magnetic_moments": {"Fe": 4.0}},
        {"user_incar_settings": {"ISPIN": 1}},
    ],
)
def test_every_choice_is_in_the_hash(change):
    changed = LabelProtocol(**change)
    assert changed.hash != LabelProtocol().hash
    assert hash(changed) != hash(LabelProtocol())
    assert LabelMaker(vasp=changed).protocol() == changed.hash[:16]


def test_what_no_label_depends_on_is_not_in_the_hash():
    parallel = {key.lower(): 4 for key in PARALLEL}
    assert LabelProtocol(user_incar_settings=parallel).hash == LabelProtocol().hash
    assert (
        LabelMaker(monitoring=VaspMonitoring(polling_seconds=1)).protocol()
        == LabelMaker().protocol()
    )


def test_the_hash_survives_serialisation():
    maker = LabelMaker(vasp=LabelProtocol(potcars={"Ti": "Ti_pv"}, encut=600))
    assert copied(copied(maker)) == maker
    assert copied(maker).protocol() == maker.protocol()
    static = maker.resolve().static
    assert json.dumps(copied(static), cls=MontyEncoder) == json.dumps(static, cls=MontyEncoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encut": 400}, "greater than or equal to 520"),
        ({"ediff": 1e-4}, "less than or equal to"),
        ({"user_incar_settings": {"encut": 600}}, "ENCUT is set by the field encut"),
        ({"user_incar_settings": {"NSW": 10}}, "NSW may not be set"),
        ({"encutt": 600}, "Extra inputs"),
    ],
)
def test_what_is_no_protocol_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        LabelProtocol(**change)


def test_the_handlers_change_only_what_may_differ():
    assert MIXING.keys() | {"NELM"} <= FREE


def test_what_decides_the_electronic_state_may_not_differ():
    assert not {"ALGO", "ISMEAR", "SIGMA", "MAGMOM", "SYMPREC", "ISYM", "ICHARG", "NBANDS"} & FREE


def test_a_relaxation_keeps_the_symmetry_and_relaxes_the_cell(aluminium):
    generator = LabelProtocol().relax_maker().input_set_generator
    incar = generator.get_input_set(aluminium, potcar_spec=True)["INCAR"]
    assert (incar["ISIF"], incar["IBRION"], incar["EDIFFG"]) == (3, 2, -1e-3)
    assert "ISYM" not in incar


def test_missing_potcars_are_named_with_the_folder(vasp, potcars):
    LabelProtocol().check_potcars(["Cu", "Au"])
    with pytest.raises(ConfigError, match=rf"Ba_sv in the family PBE_54 .* {potcars}"):
        LabelProtocol().check_potcars(["Cu", "Ba"])


def test_a_folder_of_potcars_that_is_not_set_is_said(monkeypatch):
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)
    with pytest.raises(ConfigError, match="PMG_VASP_PSP_DIR, which is not set"):
        LabelProtocol().check_potcars(["Cu"])
