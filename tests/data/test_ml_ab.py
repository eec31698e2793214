"""Training data of VASP's machine-learned force fields, in the form that VASP 6 writes."""

from pathlib import Path

import numpy as np
import pytest
from ase.units import GPa
from vasp_runs import write_run

from phonotune.data.importers import Importer, import_frames
from phonotune.data.ml_ab import BROKEN, read_ml_ab
from phonotune.data.vasp import CUT_OFF
from phonotune.errors import FramesError

STARS, EQUALS, DASHES = "*" * 50, "=" * 50, "-" * 50
STRESS = [10.0, 20.0, 30.0, 1.0, 2.0, 3.0]


def _part(rule: str, title: str, *rows: str) -> str:
    return "\n".join([rule, f"     {title}", DASHES, *rows]) + "\n"


def _configuration(number: int, symbols: list[str], energy: float) -> str:
    n = len(symbols)
    rows = [f"  {0.1 * i:.16E} {1.5 * i:.16E} {0.0:.16E}" for i in range(n)]
    forces = [f"  {i:.16E} {-i:.16E} {0.25:.16E}" for i in range(n)]
    kinds = dict.fromkeys(symbols)
    numbers = ["  ".join(f"{x:.16E}" for x in part) for part in (STRESS[:3], STRESS[3:])]
    return (
        f"{STARS}\n     Configuration num. {number:6d}\n"
        + _part(EQUALS, "System name", "     made up")
        + _part(EQUALS, "The number of atom types", f"       {len(kinds)}")
        + _part(EQUALS, "The number of atoms", f"       {n}")
        + _part(
            STARS,
            "Atom types and atom numbers",
            *[f"     {k} {symbols.count(k):6d}" for k in kinds],
        )
        + _part(EQUALS, "CTIFOR", "  2.0E-003")
        + _part(EQUALS, "Primitive lattice vectors (ang.)", "  6 0 0", "  0 6 0", "  0 0 6")
        + _part(EQUALS, "Atomic positions (ang.)", *rows)
        + _part(EQUALS, "Total energy (eV)", f"  {energy:.14f}")
        + _part(EQUALS, "Forces (eV ang.^-1)", *forces)
        + _part(EQUALS, "Stress (kbar)", "     XX YY ZZ", DASHES, f"  {numbers[0]}", DASHES)
        + f"     XY YZ ZX\n{DASHES}\n  {numbers[1]}\n"
    )


@pytest.fixture
def ml_ab(tmp_path: Path) -> Path:
    path = tmp_path / "ML_AB"
    path.write_text(
        " 1.0 Version\n"
        + _part(STARS, "The number of configurations", "          2")
        + _part(STARS, "The maximum number of atom type", "       2")
        + _part(STARS, "The atom types in the data file", "     Mg O")
        + _part(STARS, "Reference atomic energy (eV)", "  0.0 0.0")
        + _part(STARS, "Basis set for Mg", "          1      1", "          2      1")
        + _configuration(1, ["Mg", "O"], -11.9)
        + _configuration(2, ["Mg", "Mg", "O", "O"], -23.5)
    )
    return path


def test_configurations_of_several_systems_are_read_with_units_and_signs(ml_ab: Path) -> None:
    one, two = read_ml_ab(ml_ab)
    assert (one.energy, two.energy) == (-11.9, -23.5)
    assert [site.specie.symbol for site in two.structure] == ["Mg", "Mg", "O", "O"]
    np.testing.assert_allclose(two.structure.cart_coords[3], [0.3, 4.5, 0.0], atol=1e-12)
    np.testing.assert_array_equal(two.forces[3], [3.0, -3.0, 0.25])
    kilobar = [[10.0, 1.0, 3.0], [1.0, 20.0, 2.0], [3.0, 2.0, 30.0]]
    np.testing.assert_allclose(one.stress, -0.1 * GPa * np.array(kilobar), atol=1e-15)


def test_frames_have_no_protocol_but_the_one_that_is_given(ml_ab: Path) -> None:
    ml_ab.rename(ml_ab.with_name("NaCl_ML_AB.old"))
    assert len(import_frames([ml_ab.with_name("NaCl_ML_AB.old")])) == 2
    ml_ab.with_name("NaCl_ML_AB.old").rename(ml_ab)
    importer = Importer([ml_ab], protocol="PBE 500 eV")
    assert [frame.protocol for frame in importer] == ["PBE 500 eV"] * 2
    assert [frame.origin for frame in importer] == ["ML_AB step 1", "ML_AB step 2"]
    assert not importer.refused


def test_a_file_that_is_cut_off_or_damaged_gives_its_whole_configurations(ml_ab: Path) -> None:
    text = ml_ab.read_text()
    said: list[str] = []
    ml_ab.write_text(text[:-400])
    (step,) = read_ml_ab(ml_ab, said.append)
    assert (step.energy, said) == (-11.9, [CUT_OFF])
    said.clear()
    ml_ab.write_text(text.replace("  6 0 0", "  6 zero 0", 1))
    (step,) = read_ml_ab(ml_ab, said.append)
    assert (step.energy, said) == (-23.5, [BROKEN])
    ml_ab.write_text("hello\n")
    with pytest.raises(FramesError, match="no ionic step with forces"):
        import_frames([ml_ab])


def test_a_folder_gives_one_source_per_run(tmp_path: Path, ml_ab: Path) -> None:
    _, outcar = write_run(tmp_path / "md", {}, "6.4.3")
    ml_ab.rename(tmp_path / "md" / "ML_AB")
    (tmp_path / "md" / "ML_ABN").write_text((tmp_path / "md" / "ML_AB").read_text())
    found = []
    for name in ("vasprun.xml", "OUTCAR", "ML_ABN", "ML_AB"):
        found.append([file.name for file in Importer([tmp_path]).files])
        (tmp_path / "md" / name).unlink()
    assert found == [["vasprun.xml"], ["OUTCAR"], ["ML_ABN"], ["ML_AB"]]
    assert not outcar.exists()
