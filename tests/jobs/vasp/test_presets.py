"""Presets change the level of theory and nothing that makes forces accurate; each has a hash of its own."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.sets import MatPESStaticSet, MPRelaxSet

from phonotune.jobs.vasp.presets import PRESETS, has_hubbard, level_note
from phonotune.jobs.vasp.protocol import LabelProtocol

DEFAULT_HASH = "821f133e4d49a50b21b0985ee8ee06d600b0dd958eafe3c827570c4f3d636039"
"""Of the default protocol, as it was before there were presets."""
ACCURATE = ("EDIFF", "LREAL", "ADDGRID", "ISYM", "KSPACING", "KGAMMA", "PREC", "LASPH", "ISMEAR")


@pytest.fixture
def wuestite() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.3), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def test_the_default_is_plain_pbe_and_keeps_its_hash() -> None:
    assert LabelProtocol().preset == "pbe"
    assert LabelProtocol().hash == DEFAULT_HASH == LabelProtocol(preset="pbe").hash
    assert len({LabelProtocol(preset=name).hash for name in PRESETS}) == len(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_keeps_what_makes_forces_accurate(name: str, wuestite: Structure) -> None:
    plain, own = (LabelProtocol(preset=n).incar(wuestite) for n in ("pbe", name))
    assert {key: own[key] for key in ACCURATE} == {key: plain[key] for key in ACCURATE}
    assert own["EDIFF"] == 1e-7
    assert own["ENCUT"] >= 520


def test_mp_takes_u_and_potcars_of_the_materials_project(wuestite: Structure) -> None:
    protocol = LabelProtocol(preset="mp")
    incar, theirs = protocol.incar(wuestite), MPRelaxSet(wuestite).incar
    for key in ("LDAU", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ", "LMAXMIX"):
        assert incar[key] == theirs[key], key
    assert (protocol.potcar_family, protocol.potcar_symbols(wuestite)) == ("PBE", ["Fe_pv", "O"])
    salt = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert not any(protocol.incar(salt).get("LDAUU", []))


def test_matpes_r2scan_has_no_gga_and_pbesol_has_its_own(wuestite: Structure) -> None:
    r2scan = LabelProtocol(preset="matpes-r2scan")
    incar, theirs = r2scan.incar(wuestite), MatPESStaticSet(wuestite, xc_functional="R2SCAN").incar
    assert "GGA" not in incar
    for key in ("METAGGA", "ALGO", "LMIXTAU", "ENCUT"):
        assert incar[key] == theirs[key], key
    assert r2scan.potcars["Yb"] == MatPESStaticSet.CONFIG["POTCAR"]["Yb"]
    assert LabelProtocol(preset="pbesol").incar(wuestite)["GGA"].upper() == "PS"
    assert LabelProtocol(preset="matpes-pbe").encut == 680.0


def test_what_is_given_goes_before_the_preset_and_all_of_it_survives_json() -> None:
    given = LabelProtocol(preset="mp", potcar_family="PBE_54", potcars={"Fe": "Fe"}, encut=600)
    assert (given.potcar_family, given.potcars["Fe"], given.potcars["Ti"]) == (
        *("PBE_54", "Fe", "Ti_pv"),
    )
    assert LabelProtocol.model_validate_json(given.model_dump_json()) == given
    assert given.level == "PBE+U"
    assert LabelProtocol(user_incar_settings={"METAGGA": "SCAN"}).level == ""
    with pytest.raises(ValidationError, match="'matpes-r2scan' or 'pbesol'"):
        LabelProtocol(preset="mp2")


def test_another_level_is_told_with_the_preset_that_matches() -> None:
    said = level_note("mace-mp-0b3", "PBE+U", "PBE", ["Fe", "O"])
    assert said is not None
    assert "made on PBE+U, and the labels are PBE" in said
    assert "--label-preset mp" in said
    assert level_note("mace-mp-0b3", "PBE+U", "PBE", ["Na", "Cl"]) is None
    assert level_note("mace-mp-0b3", "PBE+U", "PBE+U", ["Fe", "O"]) is None
    assert level_note("own.model", "", "PBE", ["Fe", "O"]) is None
    assert "matpes-r2scan" in str(level_note("mh-1", "r2SCAN", "PBE", ["Na", "Cl"]))
    assert "No preset" in str(level_note("mace-omol-0", "wB97M-VV10", "PBE", ["Na", "Cl"]))
    assert has_hubbard(["Co", "F"])
    assert not has_hubbard(["Co", "S"])
