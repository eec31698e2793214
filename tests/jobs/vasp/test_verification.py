"""What VASP ran is compared with what it was to run."""

from dataclasses import replace

import pytest
from emmet.core.vasp.calculation import CalculationInput
from pymatgen.io.vasp import Vasprun

from phonotune.jobs.label_reader import read_vasp_run
from phonotune.jobs.vasp.protocol import LabelProtocol
from phonotune.jobs.vasp.verification import (
    VaspRun,
    convergence_fault,
    differences,
    title_differences,
    usual_titles,
)

PROTOCOL = LabelProtocol()


@pytest.fixture
def faithful(aluminium) -> VaspRun:
    """A run of the protocol, as VASP echoes it."""
    incar = PROTOCOL.incar(aluminium) | {"GGA": "PE", "LREAL": ".FALSE.", "PREC": "accurate"}
    return VaspRun(
        incar=incar,
        parameters={"ENMAX": 520.0, "EDIFF": 1e-7, "NELM": 200, "ISMEAR": 0, "LREAL": False},
        mesh=(8, 8, 8),
        titles=("PAW_PBE Al 04Jan2001",),
        n_electronic=4,
        energies=(-1.0, -14.0, -14.9, -14.9),
    )


def changed(run: VaspRun, **incar) -> VaspRun:
    return replace(run, incar={**run.incar, **incar})


def test_a_faithful_run_does_not_differ(faithful, aluminium):
    assert differences(PROTOCOL, aluminium, faithful) == []
    assert convergence_fault(faithful) is None


@pytest.mark.parametrize("key", ["NELM", "AMIX", "BMIX_MAG", "NCORE", "LWAVE", "SYSTEM"])
def test_steps_mixing_processors_and_files_may_differ(faithful, aluminium, key):
    assert differences(PROTOCOL, aluminium, changed(faithful, **{key: 7})) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("GGA", "PS", "GGA = PS instead of Pe"),
        ("ALGO", "All", "ALGO = All instead of Normal"),
        ("ENCUT", 400.0, "ENCUT = 400 instead of 520"),
        ("ISYM", 2, "ISYM = 2 instead of 0"),
        ("SIGMA", 0.2, "SIGMA = 0.2 instead of 0.05"),
        ("LREAL", "Auto", "LREAL = Auto instead of False"),
        ("MAGMOM", [0.6, 0.6, 0.6, 5.0], "MAGMOM = 0.6 0.6 0.6 5 instead of 0.6 0.6 0.6 0.6"),
        ("MAGMOM", [0.6], "MAGMOM = 0.6 instead of"),
        ("SYMPREC", 1e-8, "SYMPREC = 1e-08, which the protocol does not set"),
        ("METAGGA", "R2SCAN", "METAGGA = R2SCAN, which"),
    ],
)
def test_a_changed_incar_is_named(faithful, aluminium, key, value, message):
    (found,) = differences(PROTOCOL, aluminium, changed(faithful, **{key: value}))
    assert message in found


def test_a_key_that_vasp_does_not_echo_differs(faithful, aluminium):
    incar = {key: value for key, value in faithful.incar.items() if key != "GGA"}
    (found,) = differences(PROTOCOL, aluminium, replace(faithful, incar=incar))
    assert found == "GGA = unset instead of Pe"


def test_what_vasp_made_of_the_incar_counts(faithful, aluminium):
    run = replace(faithful, parameters={**faithful.parameters, "ENMAX": 450.0})
    assert differences(PROTOCOL, aluminium, run) == ["VASP used ENCUT = 450 instead of 520"]


def test_eight_printed_decimals_are_equal(aluminium):
    protocol = LabelProtocol(ediff=2.5e-8)
    incar = protocol.incar(aluminium) | {"EDIFF": 3e-8}
    run = VaspRun(incar=incar, mesh=(8, 8, 8), titles=("PAW_PBE Al 04Jan2001",))
    assert differences(protocol, aluminium, run) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mesh": (4, 4, 4)}, "k-points 4x4x4 instead of 8x8x8"),
        ({"mesh": None}, "list of k-points"),
        ({"centred": False}, "not centred"),
        ({"titles": ("PAW_PBE Al_sv_GW 02Feb2008",)}, "POTCARs PAW_PBE Al_sv_GW"),
        ({"titles": ("PAW Al 04Jan2001",)}, "instead of Al"),
        ({"titles": ()}, "POTCARs unknown"),
    ],
)
def test_another_mesh_or_potcar_is_named(faithful, aluminium, change, message):
    (found,) = differences(PROTOCOL, aluminium, replace(faithful, **change))
    assert message in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_electronic": 200}, "200 of 200 taken"),
        ({"energies": (-1.0, -14.0, -14.8, -14.9)}, "ended early"),
        ({"energies": (-14.0, float("nan"))}, "ended early"),
        ({"completed": False}, "not complete"),
    ],
)
def test_a_run_that_did_not_converge_is_told(faithful, change, message):
    assert message in convergence_fault(replace(faithful, **change))


def test_the_potcar_version_that_most_frames_have_is_the_right_one(faithful):
    other = replace(faithful, titles=("PAW_PBE Al 01Jan2020",))
    usual = usual_titles([faithful, other, faithful])
    assert title_differences(usual, faithful) == []
    assert title_differences(usual, other) == [
        "POTCAR PAW_PBE Al 01Jan2020 instead of PAW_PBE Al 04Jan2001, which most frames have"
    ]


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore")
def test_real_runs_of_vasp_are_read(real_data_dir):
    real = Vasprun(
        real_data_dir / "nacl-vasp" / "disp-001" / "vasprun.xml", parse_potcar_file=False
    )
    calculation = {
        "input": CalculationInput.from_vasprun(real),
        "output": {"ionic_steps": real.ionic_steps},
    }
    run = read_vasp_run({"calcs_reversed": [calculation]})
    assert convergence_fault(run) is None
    assert run.n_electronic == len(run.energies) == 21
    assert (run.mesh, run.centred) == ((2, 2, 2), True)
    assert run.titles == ("PAW_PBE Na_pv 19Sep2006", "PAW_PBE Cl 06Sep2000")
    found = differences(PROTOCOL, real.final_structure, run)
    assert "ENCUT = 300 instead of 520" in found
    assert "ADDGRID = True instead of False" in found
    assert not [text for text in found if text.startswith(("ISYM", "LREAL", "POTCAR", "LWAVE"))]
