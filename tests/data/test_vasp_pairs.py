"""An OUTCAR and a vasprun.xml of one run state the same protocol; runs that differ never do."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from vasp_runs import write_run

from phonotune.data.importers import Importer, import_frames
from phonotune.data.protocols import ProtocolGuard
from phonotune.data.vasp_settings import protocol_of, read_settings
from phonotune.errors import FramesError

CHANGES: list[dict[str, str]] = [
    {},
    {"LREAL": "Auto"},
    {"LREAL": ".TRUE."},
    {"LREAL": ".FALSE."},
    {"ADDGRID": "True"},
    {"LASPH": ".TRUE."},
    {"ENCUT": "367.693"},
    {"SIGMA": "0.001"},
    {"SIGMA": "0.2", "ISMEAR": "-5"},
    {"ISPIN": "2", "LORBIT": "11", "MAGMOM": "2*0.6"},
    {"GGA": "PE"},
    {"GGA": "PS"},
    {"IVDW": "12"},
    {"LDAU": "T", "LDAUTYPE": "2", "LDAUU": "3.25 0.0", "LDAUJ": "0 0"},
    {"LDAU": "T", "LDAUU": "5.3 0"},
    {"LDAU": "T", "LDAUTYPE": "1", "LDAUU": "5.3 0", "LDAUJ": "1 0"},
    {"LHFCALC": "T", "HFSCREEN": "0.2", "AEXX": "0.25"},
    {"LHFCALC": "T", "AEXX": "0.333333"},
    {"LNONCOLLINEAR": "T"},
    {"LSORBIT": "T", "LNONCOLLINEAR": "T"},
    {"PREC": "Normal", "ENCUT": "400.0"},
]


@pytest.mark.parametrize("version", ["5.4.4", "6.4.3"])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_both_files_of_one_run_agree(tmp_path: Path, changes: dict[str, str], version: str) -> None:
    importer = Importer(write_run(tmp_path / "run", changes, version))
    xml, out = importer
    assert xml.protocol == out.protocol
    assert not importer.refused
    assert not importer.notes
    assert xml.energy == out.energy
    np.testing.assert_array_equal(xml.forces, out.forces)
    np.testing.assert_allclose(xml.stress, out.stress, atol=1e-8)
    settings, printed = read_settings(xml.settings), read_settings(out.settings)
    assert settings.keys() == printed.keys()
    if version > "6":  # INCAR gives the decimals that the list lacks
        kept = {key: value for key, value in settings.items() if key in changes}
        assert kept.items() <= printed.items()


def test_a_meta_gga_that_vasp_6_echoes_is_in_both_files(tmp_path: Path) -> None:
    for name, version in (("R2SCAN", "6.4.3"), ("SCAN", "6.3.0")):
        paths = write_run(tmp_path / name, {"METAGGA": name, "LASPH": "T"}, version)
        one, two = import_frames(paths)
        assert read_settings(two.settings)["METAGGA"] == name.lower()
        assert one.protocol == two.protocol


def test_runs_that_differ_have_different_protocols(tmp_path: Path) -> None:
    same = [{2, 1}, {0, 3, 10}, {14}]  # LREAL on; LREAL off and PBE by name are defaults
    names: dict[int, str] = {}
    for number, changes in enumerate(CHANGES):
        _, out = write_run(tmp_path / str(number), changes, "5.4.4")
        (frame,) = import_frames([out])
        names[number] = frame.protocol
    for one in names:
        for other in names:
            expected = one == other or any({one, other} <= group for group in same)
            assert (names[one] == names[other]) is expected, (CHANGES[one], CHANGES[other])


def test_advice_of_vasp_is_not_a_setting(tmp_path: Path) -> None:
    _, auto = write_run(tmp_path / "auto", {"LREAL": "Auto"}, "5.4.4")
    _, off = write_run(tmp_path / "off", {}, "5.4.4")
    assert "Therefore set LREAL=.FALSE." in auto.read_text()
    with pytest.raises(FramesError, match=r"Mixed protocols: .*\(LREAL t and unset\)"):
        import_frames([auto, off])


def test_a_u_that_rounds_either_way_is_one_protocol(tmp_path: Path) -> None:
    """Compilers differ in whether 3.25 is printed as 3.2 or 3.3."""
    change = {"LDAU": "T", "LDAUTYPE": "2", "LDAUU": "3.25 0.0", "LDAUJ": "0 0"}
    xml, out = write_run(tmp_path / "run", change, "5.4.4")
    for printed in ("  3.2  0.0", "  3.3  0.0"):
        out.write_text(out.read_text().replace("  3.2  0.0", printed))
        guard = ProtocolGuard()
        for frame in (*import_frames([xml]), *import_frames([out])):
            guard.add(frame)
        assert not guard.mixed


def test_a_dispersion_correction_without_a_name_is_told_apart_from_none(tmp_path: Path) -> None:
    _, out = write_run(tmp_path / "run", {}, "5.4.4")
    out.write_text(out.read_text().replace("  FREE ENERGIE", "  Edisp (eV)  -0.1\n  FREE ENERGIE"))
    (frame,) = import_frames([out])
    settings = read_settings(frame.settings)
    assert settings.pop("IVDW") == "unnamed"
    assert frame.protocol != protocol_of(settings)


def test_ase_reads_the_same_labels_from_the_same_outcar(tmp_path: Path) -> None:
    """An independent reader of the same file."""
    _, out = write_run(tmp_path / "run", {}, "6.4.3")
    (frame,) = import_frames([out])
    atoms = ase.io.read(out, format="vasp-out")
    assert frame.energy == atoms.calc.results["free_energy"]
    np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-12)
    np.testing.assert_allclose(frame.structure.cart_coords, atoms.positions, atol=1e-12)
