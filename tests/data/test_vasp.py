import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from phonotune.data.outcar import read_outcar
from phonotune.data.vasp import CUT_OFF, read_vasprun
from phonotune.errors import FramesError

Write = Callable[[Path, Sequence[Any]], Path]


def _assert_agrees_with_ase(steps: list[Any], path: Path, file_format: str) -> None:
    images = ase.io.read(path, index=":", format=file_format)
    for step, atoms in zip(steps, images, strict=True):
        assert step.energy == atoms.calc.results["free_energy"]
        np.testing.assert_allclose(step.forces, atoms.calc.results["forces"], atol=1e-12)
        np.testing.assert_allclose(step.stress, atoms.get_stress(voigt=False), atol=1e-7)
        np.testing.assert_allclose(step.structure.lattice.matrix, atoms.cell.array, atol=1e-12)
        np.testing.assert_allclose(step.structure.cart_coords, atoms.positions, atol=1e-12)


def test_every_step_of_a_vasprun_agrees_with_ases_own_reader(
    tmp_path: Path, write_vasprun: Write, vasp_steps: list[Any]
) -> None:
    path = write_vasprun(tmp_path / "vasprun.xml", vasp_steps)
    steps = read_vasprun(path)
    _assert_agrees_with_ase(steps, path, "vasp-xml")
    assert [step.converged for step in steps] == [True, True]


def test_every_step_of_an_outcar_agrees_with_ases_own_reader(
    tmp_path: Path, write_outcar: Write, vasp_steps: list[Any]
) -> None:
    path = write_outcar(tmp_path / "OUTCAR", vasp_steps)
    _assert_agrees_with_ase(read_outcar(path), path, "vasp-out")


def test_vasprun_and_outcar_give_the_same_labels(
    tmp_path: Path, write_vasprun: Write, write_outcar: Write, vasp_steps: list[Any]
) -> None:
    first = read_vasprun(write_vasprun(tmp_path / "vasprun.xml", vasp_steps))
    second = read_outcar(write_outcar(tmp_path / "OUTCAR", vasp_steps))
    for a, b in zip(first, second, strict=True):
        assert a.energy == b.energy
        np.testing.assert_allclose(a.forces, b.forces, atol=1e-9)
        np.testing.assert_allclose(a.stress, b.stress, atol=1e-9)
        np.testing.assert_allclose(a.structure.cart_coords, b.structure.cart_coords, atol=1e-5)


def test_the_energy_is_the_free_energy_and_a_compressed_cell_has_negative_stress(
    tmp_path: Path, write_vasprun: Write, vasp_steps: list[Any]
) -> None:
    squeezed = replace(vasp_steps[0], stress=np.eye(3) * 160.2176634)
    (step,) = read_vasprun(write_vasprun(tmp_path / "vasprun.xml", [squeezed]))
    assert step.energy == squeezed.free_energy != squeezed.sigma0_energy
    np.testing.assert_allclose(step.stress, -0.1 * np.eye(3), atol=1e-8)


@pytest.mark.parametrize("kind", ["vasprun", "outcar"])
def test_as_many_electronic_steps_as_allowed_are_not_converged(
    tmp_path: Path, write_vasprun: Write, write_outcar: Write, vasp_steps: list[Any], kind: str
) -> None:
    steps = [vasp_steps[0], replace(vasp_steps[1], n_electronic=60)]
    if kind == "vasprun":
        found = read_vasprun(write_vasprun(tmp_path / "vasprun.xml", steps))
    else:
        found = read_outcar(write_outcar(tmp_path / "OUTCAR", steps))
    assert [step.converged for step in found] == [True, False]


@pytest.mark.parametrize("kind", ["vasprun", "outcar"])
def test_compressed_files_read_alike(
    tmp_path: Path, write_vasprun: Write, write_outcar: Write, vasp_steps: list[Any], kind: str
) -> None:
    write, read = {"vasprun": (write_vasprun, read_vasprun), "outcar": (write_outcar, read_outcar)}[
        kind
    ]
    plain = write(tmp_path / kind, vasp_steps)
    packed = tmp_path / f"{kind}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert [step.energy for step in read(packed)] == [step.energy for step in read(plain)]


def test_forces_on_fixed_atoms_are_kept(
    tmp_path: Path, write_outcar: Write, vasp_steps: list[Any]
) -> None:
    path = write_outcar(tmp_path / "OUTCAR", vasp_steps)
    fixed = "".join("0 0 0 F F F\n" for _ in range(8))
    (tmp_path / "CONTCAR").write_text(
        f"NaCl\n1\n5.69 0 0\n0 5.69 0\n0 0 5.69\nNa Cl\n4 4\nSelective\nDirect\n{fixed}"
    )
    np.testing.assert_allclose(read_outcar(path)[0].forces, vasp_steps[0].forces, atol=1e-12)


@pytest.mark.parametrize("read", [read_vasprun, read_outcar])
@pytest.mark.parametrize("content", ["", "hello\n", "<modeling><generator>", "NELM = 60;\n"])
def test_files_of_another_kind_are_refused(
    tmp_path: Path, read: Callable[[Path], Any], content: str
) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(FramesError, match=r"not a complete vasprun|not an OUTCAR|no ionic step"):
        read(tmp_path / "file")


@pytest.mark.parametrize(
    ("kind", "second", "end"),
    [
        ("vasprun", "<calculation>", "</calculation>"),
        ("outcar", "Iteration    2(", "  FREE ENERGIE"),
    ],
)
def test_a_run_that_was_cut_off_gives_its_whole_steps(
    tmp_path: Path,
    write_vasprun: Write,
    write_outcar: Write,
    vasp_steps: list[Any],
    kind: str,
    second: str,
    end: str,
) -> None:
    write, read = {"vasprun": (write_vasprun, read_vasprun), "outcar": (write_outcar, read_outcar)}[
        kind
    ]
    path = write(tmp_path / kind, vasp_steps)
    text = path.read_text()
    path.write_text(text[: text.rindex(second) + 200])
    said: list[str] = []
    (step,) = read(path, said.append)
    assert (step.energy, said) == (vasp_steps[0].free_energy, [CUT_OFF])
    path.write_text(text[: text.index(end)])
    with pytest.raises(FramesError, match=r"not a complete vasprun|no ionic step with forces"):
        read(path)


@pytest.mark.real_data
def test_real_vasprun_agrees_with_ases_own_reader(real_data_dir: Path) -> None:
    path = real_data_dir / "nacl-vasp" / "disp-001" / "vasprun.xml"
    steps = read_vasprun(path)
    _assert_agrees_with_ase(steps, path, "vasp-xml")
    assert steps[0].n_electronic == 21
