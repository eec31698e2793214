import pytest

from phonotune.data.vasp_settings import (
    potcar_titles,
    protocol_of,
    read_outcar_head,
    read_settings,
    settings_of,
    settings_text,
)

TITLES = ["PAW_PBE Na_pv 19Sep2006", "PAW_PBE Cl 06Sep2000"]
USED = {
    "ENMAX": 520.0,
    "PREC": "accura",
    "ISMEAR": 0,
    "SIGMA": 0.05,
    "ISPIN": 1,
    "LREAL": False,
    "LASPH": True,
    "GGA": "--",
    "LHFCALC": False,
    "AEXX": 0.25,
    "LDAU": False,
    "EDIFF": 1e-7,
    "NELM": 60,
}

OUTCAR = """
 POTCAR:    PAW_PBE Na_pv 19Sep2006
 POTCAR:    PAW_PBE Cl 06Sep2000
   PREC   = accura    normal or accurate (medium, high low for compatibility)
   ISPIN  =      1    spin polarized calculation?
   ENCUT  =  520.0 eV  38.22 Ry    6.18 a.u.
   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps
   LREAL  =      F    real-space projection
   LASPH  =      T    aspherical Exc in radial PAW
   METAGGA=      F    non-selfconsistent MetaGGA calc.
   ISMEAR =     0;   SIGMA  =   0.05  broadening in eV -4-tet -1-fermi 0-gaus
   GGA     =    --    GGA type
   LHFCALC =     F    Hartree Fock is set to
   AEXX    =    0.2500
"""


def test_defaults_are_left_out_and_numbers_have_one_form() -> None:
    assert settings_of(USED, {}, TITLES) == {
        "ENMAX": "520",
        "PREC": "a",
        "ISMEAR": "0",
        "SIGMA": "0.05",
        "LASPH": "t",
        "POTCAR Na": "PAW_PBE Na_pv 19Sep2006",
        "POTCAR Cl": "PAW_PBE Cl 06Sep2000",
    }


def test_an_outcar_and_a_vasprun_of_one_run_have_one_protocol() -> None:
    assert read_outcar_head(OUTCAR).settings == settings_of(USED, {}, TITLES)


def test_pbe_by_name_is_pbe_by_potcar() -> None:
    assert settings_of(USED | {"GGA": "PE"}, {}, TITLES) == settings_of(USED, {}, TITLES)


@pytest.mark.parametrize(
    "change",
    [
        {"ENMAX": 400.0},
        {"GGA": "PS"},
        {"ISMEAR": 1},
        {"ISPIN": 2},
        {"IVDW": 11},
        {"LHFCALC": True},
        {"LDAU": True, "LDAUU": [4.0, 0.0]},
    ],
)
def test_what_moves_the_energy_makes_another_protocol(change: dict[str, object]) -> None:
    others = settings_of(USED | change, {}, TITLES)
    assert protocol_of(others) != protocol_of(settings_of(USED, {}, TITLES))


def test_a_potcar_of_another_version_makes_another_protocol() -> None:
    other = settings_of(USED, {}, [TITLES[0], "PAW_PBE Cl 17Jan2003"])
    assert protocol_of(other) != protocol_of(settings_of(USED, {}, TITLES))


def test_convergence_and_an_unused_u_do_not_count() -> None:
    same = settings_of(USED | {"EDIFF": 1e-5, "NELM": 200}, {"LDAUU": [4.0]}, TITLES[::-1])
    assert protocol_of(same) == protocol_of(settings_of(USED, {}, TITLES))


def test_a_meta_gga_is_found_in_incar() -> None:
    for listed in ("F", "--", "R2SCA", "R2SCAN"):
        found = settings_of(USED | {"METAGGA": listed}, {"METAGGA": "R2SCAN"}, TITLES)
        assert found["METAGGA"] == "r2scan"


def test_the_u_of_an_outcar_is_read() -> None:
    text = OUTCAR + "   U (eV)           for each species   LDAUU =     4.0   0.0\n"
    found = read_outcar_head(text).settings
    assert (found["LDAU"], found["LDAUU"]) == ("t", "4 0")


def test_settings_are_one_text_and_come_back_with_the_potcars() -> None:
    settings = settings_of(USED | {"LDAU": True, "LDAUU": [3.25, 0.0]}, {}, TITLES)
    assert read_settings(settings_text(settings)) == settings
    assert read_settings("") == {}
    assert potcar_titles(settings) == {
        "Na": "PAW_PBE Na_pv 19Sep2006",
        "Cl": "PAW_PBE Cl 06Sep2000",
    }
