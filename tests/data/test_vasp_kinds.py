"""Kinds of VASP runs whose files hold more, or less, than energy, forces and stress of converged DFT steps."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.units import GPa

from phonotune.data.importers import Importer, import_frames
from phonotune.data.outcar import read_outcar
from phonotune.data.vasp import (
    BROKEN,
    CUT_OFF,
    ML_STEPS,
    NO_ENERGY,
    NO_FULL_STRESS,
    NO_P_V,
    PERHAPS_P_V,
    VECTORS,
    read_vasprun,
)
from phonotune.errors import FramesError

Write = Callable[[Path, Sequence[Any]], Path]


def _change(path: Path, *pairs: tuple[str, str], count: int = -1) -> Path:
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, count)
    path.write_text(text)
    return path


def _moments(axis: str, values: Sequence[float]) -> str:
    rows = "".join(f"{i + 1:5d} 0.000 0.000 {m:.3f}\n" for i, m in enumerate(values))
    line = "-" * 42 + "\n"
    return f" magnetization ({axis})\n\n# of ion s p tot\n{line}{rows}{line}tot 0.0 0.0 0.0\n\n"


@pytest.fixture
def outcar(tmp_path: Path, write_outcar: Write, vasp_steps: list[Any]) -> Path:
    return _change(
        write_outcar(tmp_path / "OUTCAR", vasp_steps),
        ("   NELM ", "   ISIF   =      2    stress and relaxation\n   NELM "),
    )


@pytest.fixture
def vasprun(tmp_path: Path, write_vasprun: Write, vasp_steps: list[Any]) -> Path:
    return write_vasprun(tmp_path / "vasprun.xml", vasp_steps)


def test_vector_moments_are_left_behind_and_the_frame_is_kept(outcar: Path) -> None:
    vectors = "".join(_moments(axis, np.linspace(-1, 1, 8)) for axis in "xyz")
    _change(outcar, ("  in kB ", vectors + "  in kB "))
    importer = Importer([outcar])
    assert [frame.magmoms for frame in importer] == [None, None]
    assert importer.notes[VECTORS].count == 2


def test_collinear_moments_are_those_of_their_own_step(outcar: Path) -> None:
    first = outcar.read_text().index("  in kB ")
    text = outcar.read_text()
    moments = np.linspace(-1, 1, 8).round(3)
    outcar.write_text(text[:first] + _moments("x", moments) + text[first:])
    one, two = read_outcar(outcar)
    np.testing.assert_array_equal(one.magmoms, moments)
    assert two.magmoms is None


@pytest.mark.parametrize("before", [True, False], ids=["VASP 6.3 and later", "after the DFT step"])
def test_steps_of_a_machine_learned_force_field_are_left_behind(
    outcar: Path, vasp_steps: list[Any], before: bool
) -> None:
    text = outcar.read_text()
    rows = "".join("  0.0 0.0 0.0  9.0 9.0 9.0\n" for _ in range(8))
    block = (
        "  ML FORCE on cell =-STRESS in cart. coord. units (eV/cell)\n"
        "  in kB  900.00000 900.00000 900.00000 0.00000 0.00000 0.00000\n"
        f"  POSITION          TOTAL-FORCE (eV/Angst) (ML)\n ---------\n{rows} ---------\n"
        "  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
        "  free  energy ML TOTEN  =      -99.00000000 eV\n"
    )
    place = text.index("-------- Iteration    2(   1)") if before else len(text)
    outcar.write_text(text[:place] + block * 3 + text[place:])
    said: list[str] = []
    steps = read_outcar(outcar, said.append)
    assert [step.energy for step in steps] == [step.free_energy for step in vasp_steps]
    assert np.abs(steps[1].stress).max() < 0.1
    assert said.count(ML_STEPS) == 3


def test_machine_learned_steps_of_a_vasprun_are_left_behind(vasprun: Path) -> None:
    text = vasprun.read_text()
    start, end = (
        text.index("<scstep>"),
        text.rindex("<structure >", 0, text.index("</calculation>")),
    )
    vasprun.write_text(
        (text[:start] + text[end:]).replace("<incar>", '<incar><i name="ML_LMLFF">T</i>')
    )
    said: list[str] = []
    (step,) = read_vasprun(vasprun, said.append)
    assert (step.energy, said) == (-28.0, [ML_STEPS])


def test_electronic_steps_of_a_linear_response_are_not_counted(vasprun: Path, outcar: Path) -> None:
    response = "<scstep><energy><i name='e_fr_energy'> -90.0 </i></energy></scstep>\n" * 70
    _change(vasprun, ("</calculation>", response + "</calculation>"))
    text = outcar.read_text()
    outcar.write_text(
        text + "".join(f"------ Iteration    2({n:4d})  ------\n" for n in range(8, 90))
    )
    for path in (vasprun, outcar):
        importer = Importer([path])
        assert len(list(importer)) == 2
        assert not importer.refused


@pytest.mark.parametrize("isif", [0, 1])
def test_isif_0_and_1_give_no_stress(vasprun: Path, outcar: Path, isif: int) -> None:
    _change(vasprun, ("<parameters>", f'<parameters><i type="int" name="ISIF">{isif}</i>'))
    _change(outcar, ("ISIF   =      2", f"ISIF   =      {isif}"))
    for path in (vasprun, outcar):
        importer = Importer([path])
        assert [frame.stress for frame in importer] == [None, None]
        assert importer.notes[NO_FULL_STRESS].count == 2


def test_p_v_is_taken_off_where_vasprun_holds_it(
    vasprun: Path, outcar: Path, vasp_steps: list[Any]
) -> None:
    """10 kB x 184.22 Å^3 are 1.1498 eV; VASP's electronic energies never hold it."""
    _change(vasprun, ("<parameters>", '<parameters><i name="PSTRESS">10.0</i>'))
    _change(outcar, ("   NELM ", "   PSTRESS=   10.0 pullay stress\n   NELM "))
    wanted = [step.free_energy for step in vasp_steps]
    assert [step.energy for step in read_vasprun(vasprun)] == wanted
    assert [step.energy for step in read_outcar(outcar)] == wanted
    p_v = 10.0 * 0.1 * GPa * 5.69**3
    for free in wanted:
        inside = f'</varray>\n<energy><i name="e_fr_energy"> {free:.8f} </i>'
        _change(vasprun, (inside, inside.replace(f"{free:.8f}", f"{free + p_v:.8f}")))
    said: list[str] = []
    steps = read_vasprun(vasprun, said.append)
    assert [step.energy for step in steps] == pytest.approx(wanted, abs=1e-8)
    assert said == [NO_P_V] * 2
    _change(vasprun, (f"{wanted[0] + p_v:.8f}", f"{wanted[0] + p_v - 0.3:.8f}"))  # with a vdW term
    said.clear()
    assert [step.energy for step in read_vasprun(vasprun, said.append)] == [
        None,
        pytest.approx(wanted[1], abs=1e-8),
    ]
    assert said == [PERHAPS_P_V, NO_P_V]


def test_a_step_without_total_energy_is_said_and_the_others_kept(vasprun: Path) -> None:
    last = '<energy><i name="e_fr_energy"> -28.00000000 </i>'
    text = vasprun.read_text()
    place = text.rindex(last)
    vasprun.write_text(text[:place] + text[place:].replace("e_fr_energy", "other"))
    importer = Importer([vasprun])
    assert [frame.energy for frame in importer] == [-27.0]
    assert importer.notes[NO_ENERGY].count == 1
    vasprun.write_text(text.replace("e_fr_energy", "other"))
    with pytest.raises(FramesError, match=r"complete step without total energy .*GW, optics, NMR"):
        import_frames([vasprun])


@pytest.mark.parametrize(
    "printed", [" NEB: projections on to tangent (spring, REAL)", "   CHAIN + TOTAL  (eV/Angst)"]
)
def test_images_of_an_elastic_band_are_refused(vasprun: Path, outcar: Path, printed: str) -> None:
    _change(vasprun, ("<incar>", '<incar><i type="int" name="IMAGES"> 5</i>'))
    _change(outcar, ("  in kB ", f"{printed}\n  in kB "))
    for path in (vasprun, outcar):
        with pytest.raises(FramesError, match="nudged elastic band"):
            import_frames([path])


def test_archives_are_named_whatever_their_name(tmp_path: Path, vasprun: Path) -> None:
    inside = io.BytesIO()
    with tarfile.open(fileobj=inside, mode="w") as archive:
        archive.add(vasprun, "vasprun.xml")
    for name in ("vasprun.tar.gz", "runs.zip", "vasprun.xml.xz"):
        (tmp_path / name).write_bytes(lzma.compress(inside.getvalue()))
        with pytest.raises(FramesError, match="unpack it"):
            import_frames([tmp_path / name])


def test_numbers_that_touch_stand_in_columns(outcar: Path, vasp_steps: list[Any]) -> None:
    """VASP prints 3F13.5, 3X, 3F14.6 without blanks between wide numbers."""
    text = outcar.read_text()
    for row, force in zip(vasp_steps[0].positions, vasp_steps[0].forces, strict=True):
        plain = " ".join([f"{x:.5f}" for x in row] + [f"{x:.6f}" for x in force])
        wide = "".join(f"{x:13.5f}" for x in row) + "   " + "".join(f"{x:14.6f}" for x in force)
        text = text.replace(plain, wide)
    first = f"{vasp_steps[0].forces[0, 1]:14.6f}{vasp_steps[0].forces[0, 2]:14.6f}"
    outcar.write_text(text.replace(first, f"-12345.678901{'*' * 15}"))
    importer = Importer([outcar])
    assert [frame.energy for frame in importer] == [-28.0]
    assert "NaN" in importer.refused[0].reason


def test_a_step_that_cannot_be_read_costs_no_other(
    outcar: Path, vasprun: Path, vasp_steps: list[Any]
) -> None:
    row = " ".join(f"{x:.5f}" for x in vasp_steps[0].positions[3])
    _change(outcar, (row, "1.0 two 3.0"))
    text = vasprun.read_text()
    start = text.index("<calculation>")
    row = text[text.index("<v>", text.index('"positions"', start)) :].split("\n")[0]
    vasprun.write_text(text[:start] + text[start:].replace(row + "\n", "", 1))
    for read, path in ((read_outcar, outcar), (read_vasprun, vasprun)):
        said: list[str] = []
        (step,) = read(path, said.append)
        assert (step.energy, said[0]) == (-28.0, BROKEN)


def test_a_table_of_too_many_rows_is_no_label(outcar: Path, vasp_steps: list[Any]) -> None:
    row = " ".join(f"{x:.5f}" for x in vasp_steps[0].positions[3])
    line = next(line for line in outcar.read_text().splitlines() if line.startswith(row))
    _change(outcar, (line, f"{line}\n{line}"))
    assert [step.energy for step in read_outcar(outcar)] == [-28.0]


def test_a_left_handed_cell_is_turned_and_its_labels_are_kept(
    vasprun: Path, vasp_steps: list[Any]
) -> None:
    row = "<v> 0.00000000 0.00000000 5.69000000 </v>"
    _change(vasprun, (row, row.replace("5.69", "-5.69")))
    importer = Importer([vasprun])
    for frame, step in zip(importer, vasp_steps, strict=True):
        assert frame.structure.volume == pytest.approx(5.69**3)
        assert np.linalg.det(frame.structure.lattice.matrix) > 0
        mirrored = step.positions * [1, 1, -1]
        np.testing.assert_allclose(frame.structure.cart_coords, mirrored, atol=1e-6)
        np.testing.assert_array_equal(frame.forces, step.forces)
    assert [note.count for note in importer.notes.values()] == [2]


def test_numbers_of_settings_that_overflow_are_kept_as_they_stand(outcar: Path) -> None:
    _change(outcar, ("   NELM ", "   ENCUT  = ****** eV\n   NELM "))
    assert {frame.settings.split("; ")[0] for frame in import_frames([outcar])} == {
        "ENMAX = ******"
    }


@pytest.mark.parametrize("kind", ["vasprun", "outcar"])
def test_a_compressed_file_that_is_cut_off_gives_its_whole_steps(
    tmp_path: Path, vasprun: Path, outcar: Path, kind: str, rng: np.random.Generator
) -> None:
    """The name does not have to say that it is compressed; what follows the steps is not compressible."""
    path = {"vasprun": vasprun, "outcar": outcar}[kind]
    noise = "".join(f" {x:.12f}\n" for x in rng.normal(size=30_000))
    text = path.read_text().replace("</modeling>", "")
    packed = gzip.compress((text + noise).encode())
    path.write_bytes(packed[: -len(packed) // 10])
    importer = Importer([path])
    assert [frame.energy for frame in importer] == [-27.0, -28.0]
    assert importer.notes[CUT_OFF].count == 1
    path.write_bytes(packed[:60])
    with pytest.raises(FramesError, match="cut off or damaged"):
        import_frames([path])
