import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from phonotune.data.assemble import Assembly
from phonotune.data.extxyz import LabelKeys, read_frames, write_frames
from phonotune.data.importers import Importer, import_frames
from phonotune.errors import FramesError
from phonotune.progress import Progress
from phonotune.schemas.dataset import Frame

Write = Callable[[Path, Sequence[Any]], Path]
MakeFrame = Callable[..., Frame]


@pytest.fixture
def two_runs(tmp_path: Path, write_vasprun: Write, vasp_steps: list[Any]) -> list[Path]:
    return [
        write_vasprun(tmp_path / f"disp-{i + 1}" / "vasprun.xml", [step])
        for i, step in enumerate(vasp_steps)
    ]


def test_each_file_is_a_group_named_by_what_tells_it_apart(two_runs: list[Path]) -> None:
    importer = Importer(two_runs)
    imported = list(importer)
    assert [frame.group for frame in imported] == ["disp-1/vasprun.xml", "disp-2/vasprun.xml"]
    assert [frame.origin for frame in imported] == [frame.group for frame in imported]
    assert len(imported) == 2
    assert importer.refused == []


def test_steps_of_one_file_stay_in_one_group(
    tmp_path: Path, write_outcar: Write, vasp_steps: list[Any]
) -> None:
    imported = import_frames([write_outcar(tmp_path / "OUTCAR", vasp_steps)])
    assert [frame.group for frame in imported] == ["OUTCAR", "OUTCAR"]
    assert [frame.origin for frame in imported] == ["OUTCAR step 1", "OUTCAR step 2"]


def test_imported_frames_survive_extxyz(tmp_path: Path, two_runs: list[Path]) -> None:
    imported = import_frames(two_runs)
    write_frames(tmp_path / "out.extxyz", imported)
    for before, after in zip(imported, read_frames(tmp_path / "out.extxyz"), strict=True):
        assert before.energy == after.energy
        assert np.array_equal(before.stress, after.stress)
        assert before.group == after.group


def test_an_unconverged_run_is_refused_and_the_others_go_on(
    two_runs: list[Path], write_vasprun: Write, vasp_steps: list[Any]
) -> None:
    write_vasprun(two_runs[0], [replace(vasp_steps[0], n_electronic=60)])
    importer = Importer(two_runs)
    imported = list(importer)
    assert [frame.origin for frame in imported] == ["disp-2/vasprun.xml"]
    (refusal,) = importer.refused
    assert refusal.origin == "disp-1/vasprun.xml"
    assert "not converged (60 steps taken, 60 allowed)" in refusal.reason


def test_broken_files_are_refused_with_their_reasons(
    tmp_path: Path, two_runs: list[Path], write_vasprun: Write, vasp_steps: list[Any]
) -> None:
    close = vasp_steps[0].positions.copy()
    close[1] = close[0] + 0.1
    write_vasprun(two_runs[0], [replace(vasp_steps[0], positions=close)])
    broken = tmp_path / "vasprun.xml"
    broken.write_text("<modeling>")
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    importer = Importer([broken, notes, *two_runs])
    imported = list(importer)
    reasons = {refusal.origin: refusal.reason for refusal in importer.refused}
    assert "not a complete vasprun.xml" in reasons["vasprun.xml"]
    assert "unknown kind of file" in reasons["notes.txt"]
    assert "0.5 Å" in reasons["disp-1/vasprun.xml"]
    assert len(imported) == 1


def test_nothing_importable_is_an_error_with_the_first_reasons(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.txt" for i in range(5)]
    for path in paths:
        path.write_text("hello")
    with pytest.raises(FramesError, match=r"No frame could be imported. 0\.txt: .*and 2 more"):
        import_frames(paths)


def test_wrong_paths_are_refused_before_anything_is_read(
    tmp_path: Path, two_runs: list[Path]
) -> None:
    with pytest.raises(FramesError, match="does not exist"):
        import_frames([*two_runs, tmp_path / "typo"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FramesError, match=r"is a folder without vasprun\.xml or OUTCAR"):
        import_frames([*two_runs, tmp_path / "empty"])
    with pytest.raises(FramesError, match="Nothing to import"):
        import_frames([])


def _emt_file(path: Path) -> Any:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=3)
    atoms.calc = EMT()
    atoms.get_stress()
    ase.io.write(path, atoms)
    return atoms


def test_ases_own_keys_are_understood_free_energy_first(tmp_path: Path) -> None:
    atoms = _emt_file(tmp_path / "a.extxyz")
    text = (tmp_path / "a.extxyz").read_text()
    (tmp_path / "a.extxyz").write_text(text.replace("free_energy=", "free_energy=-99.5 was="))
    (frame,) = import_frames([tmp_path / "a.extxyz"])
    assert frame.energy == -99.5
    np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-7)
    np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-7)


def test_keys_of_any_name_can_be_given(tmp_path: Path, make_frame: MakeFrame) -> None:
    frame = make_frame()
    path = tmp_path / "a.extxyz"
    write_frames(path, [frame])
    path.write_text(path.read_text().replace("REF_", "dft_"))
    (found,) = import_frames([path], LabelKeys("dft_energy", "dft_forces", "dft_stress"))
    assert found.energy == frame.energy
    assert np.array_equal(found.stress, frame.stress)
    with pytest.raises(FramesError, match=r"forces under the key REF_forces; keys found: .*dft_f"):
        import_frames([path])


def test_a_folder_gives_its_vasprun_or_else_its_outcar_also_compressed(
    tmp_path: Path, write_vasprun: Write, write_outcar: Write, vasp_steps: list[Any]
) -> None:
    runs = tmp_path / "runs"
    for number, step in enumerate(vasp_steps):
        write_vasprun(runs / f"disp-{number}" / "vasprun.xml", [step])
    (runs / "disp-0" / "OUTCAR").write_text("not looked at")
    (runs / "old").mkdir()
    outcar = write_outcar(runs / "old" / "OUTCAR", vasp_steps[:1])
    with gzip.open(f"{outcar}.gz", "wb") as file:
        file.write(outcar.read_bytes())
    outcar.unlink()
    importer = Importer([runs], allow_mixed=True)
    imported = list(importer)
    assert importer.refused == []
    assert [frame.origin for frame in imported] == [
        "disp-0/vasprun.xml",
        "disp-1/vasprun.xml",
        "old/OUTCAR.gz",
    ]


def test_a_run_and_its_outcar_are_one_frame_for_a_dataset(
    tmp_path: Path, write_vasprun: Write, write_outcar: Write, vasp_steps: list[Any]
) -> None:
    files = [write_vasprun(tmp_path / "vasprun.xml", vasp_steps[:1])]
    files.append(write_outcar(tmp_path / "OUTCAR", vasp_steps[:1]))
    imported = import_frames(files, allow_mixed=True)
    assert len(imported) == 2
    assembly = Assembly([], allow_mixed=True)
    assembly.take(imported)
    assembly.drop_copies()
    assert len(list(assembly)) == 1


def test_runs_of_other_settings_are_refused_unless_allowed(two_runs: list[Path]) -> None:
    text = two_runs[1].read_text()
    other = '<parameters><i name="ENMAX">400.0</i>'
    two_runs[1].write_text(text.replace("<parameters>", other))
    with pytest.raises(FramesError, match=r"Mixed protocols: .*\(ENMAX unset and 400\)"):
        import_frames(two_runs)
    imported = import_frames(two_runs, allow_mixed=True)
    assert len({frame.protocol for frame in imported}) == 2
    assert {frame.labeller for frame in imported} == {"vasp"}


def test_magnetic_moments_of_an_outcar_and_of_extxyz_are_kept(tmp_path: Path) -> None:
    atoms = bulk("Fe", cubic=True)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-16.0, forces=np.zeros((2, 3)), magmoms=np.array([2.2, -2.2])
    )
    ase.io.write(tmp_path / "fe.extxyz", atoms)
    (frame,) = import_frames([tmp_path / "fe.extxyz"])
    assert frame.magmoms is not None
    write_frames(tmp_path / "again.extxyz", [frame])
    (again,) = read_frames(tmp_path / "again.extxyz")
    assert np.array_equal(again.magmoms, [2.2, -2.2])


def test_one_key_can_be_given_and_the_others_are_found(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    frame = make_frame()
    path = tmp_path / "a.extxyz"
    write_frames(path, [frame])
    path.write_text(path.read_text().replace("REF_energy", "dft_energy"))
    (found,) = Importer([path], {"energy": "dft_energy"})
    assert found.energy == frame.energy
    assert np.array_equal(found.forces, frame.forces)
    with pytest.raises(FramesError, match=r"energy under the key dft; keys found: .*dft_energy"):
        list(Importer([path], {"energy": "dft"}))


def test_a_bad_frame_of_a_file_is_refused_and_the_others_go_on(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [make_frame(energy=1.0), make_frame(), make_frame()])
    path.write_text(path.read_text().replace("REF_energy=1.0", "REF_energy=nan"))
    importer = Importer([path])
    imported = list(importer)
    assert len(imported) == 2
    assert [refusal.origin for refusal in importer.refused] == ["a.extxyz, frame 1"]


def test_a_protocol_can_be_named_for_files_that_do_not_tell_it(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    write_frames(tmp_path / "a.extxyz", [make_frame(), make_frame(protocol="own")])
    found = list(Importer([tmp_path / "a.extxyz"], protocol="ours", allow_mixed=True))
    assert [frame.protocol for frame in found] == ["ours", "own"]


def test_frames_come_one_by_one(tmp_path: Path, two_runs: list[Path]) -> None:
    read: list[tuple[int, str]] = []

    class Files(Progress):
        def show(self) -> None:
            read.append((self.done, self.text))

    importer = Importer(two_runs, progress=Files())
    frames = iter(importer)
    assert read == []
    next(frames)
    assert read == [(0, "disp-1/vasprun.xml")]
    assert len(list(frames)) == 1
    assert read[-1] == (2, "")


@pytest.mark.parametrize("name", ["outcar.extxyz", "vasprun.xml.xyz", "ml_ab.extxyz"])
def test_extxyz_named_after_a_file_of_vasp_is_extxyz(
    tmp_path: Path, make_frame: MakeFrame, name: str
) -> None:
    write_frames(tmp_path / name, [make_frame(energy=1.0)])
    (frame,) = import_frames([tmp_path / name])
    assert frame.energy == 1.0


@pytest.mark.real_data
def test_real_folders_are_imported_each_with_its_protocol(real_data_dir: Path) -> None:
    numbers = {"nacl-vasp": 10, "catio3-vasp": 4, "mgo-vasp": 2}
    imported = {name: import_frames([real_data_dir / name]) for name in numbers}
    assert {name: len(frames) for name, frames in imported.items()} == numbers
    protocols = {name: {frame.protocol for frame in frames} for name, frames in imported.items()}
    assert {len(found) for found in protocols.values()} == {1}
    assert len(set.union(*protocols.values())) == 3
    with pytest.raises(FramesError, match="ENMAX 500 and 300"):
        import_frames([real_data_dir / "mgo-vasp", real_data_dir / "nacl-vasp"])
    forces = import_frames([real_data_dir / "srtio3-vasp" / "phonopy_SrTiO3.yaml.xz"])
    assert len(forces) == 4


@pytest.mark.real_data
def test_ten_real_vasp_runs_give_the_frames_that_phonopy_kept(real_data_dir: Path) -> None:
    folder = real_data_dir / "nacl-vasp"
    importer = Importer(sorted(folder.glob("disp-0*/vasprun.xml")))
    imported = list(importer)
    assert len(imported) == 10
    assert not importer.refused
    assert len({frame.group for frame in imported}) == 10
    kept = import_frames([folder / "phonopy_params_NaCl-rd.yaml.xz"])
    for run, phonopy in zip(imported, kept, strict=True):
        assert len(run.structure) == 64
        assert run.stress is not None
        assert run.energy == pytest.approx(phonopy.energy, abs=1e-6)
        drift = run.forces.mean(axis=0)
        np.testing.assert_allclose(run.forces - drift, phonopy.forces, atol=1e-6)
        apart = run.structure.frac_coords - phonopy.structure.frac_coords
        np.testing.assert_allclose(apart - np.rint(apart), 0, atol=1e-7)


def test_runs_behind_links_are_found_once_and_cycles_end(
    tmp_path: Path, write_vasprun: Write, vasp_steps: list[Any]
) -> None:
    write_vasprun(tmp_path / "scratch" / "r2" / "vasprun.xml", vasp_steps[1:])
    write_vasprun(tmp_path / "runs" / "r1" / "vasprun.xml", vasp_steps[:1])
    (tmp_path / "runs" / "r2").symlink_to("../scratch/r2")
    (tmp_path / "runs" / "a-copy").symlink_to("../scratch/r2")
    (tmp_path / "runs" / "latest").symlink_to("r1")
    (tmp_path / "runs" / "r1" / "up").symlink_to("..")
    (tmp_path / "runs" / "gone").symlink_to("../scratch/r3")
    importer = Importer([tmp_path / "runs"])
    assert [frame.origin for frame in importer] == ["a-copy/vasprun.xml", "r1/vasprun.xml"]
    (note,) = importer.notes.values()
    assert str(note) == f"A link leads nowhere ({tmp_path}/runs/gone)."


def test_a_folder_of_nothing_but_links_is_imported(
    tmp_path: Path, write_vasprun: Write, vasp_steps: list[Any]
) -> None:
    run = write_vasprun(tmp_path / "scratch" / "r2" / "vasprun.xml", vasp_steps[:1])
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "r2").symlink_to(run.parent)
    (tmp_path / "only" / "vasprun.xml").symlink_to(run)
    assert len(import_frames([tmp_path / "only"])) == 2


@pytest.mark.parametrize("damage", ["cut off", "no gzip at all", "not text"])
def test_a_damaged_file_is_refused_and_the_good_ones_are_kept(
    tmp_path: Path, make_frame: MakeFrame, damage: str
) -> None:
    good, bad = tmp_path / "good.extxyz", tmp_path / "bad.extxyz.gz"
    write_frames(good, [make_frame()])
    write_frames(bad, [make_frame() for _ in range(50)])
    content = {"cut off": bad.read_bytes()[:-500], "no gzip at all": b"hello"}
    bad.write_bytes(content.get(damage, bytes(range(256))))
    importer = Importer([good, bad])
    frames = list(importer)
    whole = 40 < len(frames) < 51 if damage == "cut off" else len(frames) == 1
    assert whole, len(frames)
    (refusal,) = importer.refused
    said = "is cut off or damaged" if damage == "cut off" else "cannot be read as extxyz"
    assert said in refusal.reason


@pytest.fixture
def phonopy_folder(tmp_path: Path) -> Path:
    """One displacement of a phonopy calculation, its force in FORCE_SETS."""
    folder = tmp_path / "phonopy"
    folder.mkdir()
    (folder / "phonopy_disp.yaml").write_text(
        "phonopy: {version: 2.7.0}\n"
        "supercell_matrix: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n"
        "unit_cell: &cell\n"
        "  lattice: [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]\n"
        "  points:\n"
        "  - {symbol: Cs, coordinates: [0.0, 0.0, 0.0]}\n"
        "  - {symbol: Cl, coordinates: [0.5, 0.5, 0.5]}\n"
        "supercell: *cell\n"
        "displacements:\n- {atom: 2, displacement: [0.0, 0.0, 0.01]}\n"
    )
    (folder / "FORCE_SETS").write_text("2\n1\n\n2\n0 0 0.01\n0 0 0.1\n0 0 -0.1\n")
    return folder


def test_a_folder_of_phonopy_gives_its_forces(phonopy_folder: Path) -> None:
    for path in (phonopy_folder, phonopy_folder / "FORCE_SETS", phonopy_folder.parent):
        (frame,) = Importer([path])
        assert frame.energy is None
        np.testing.assert_array_equal(frame.forces, [[0, 0, 0.1], [0, 0, -0.1]])


def test_runs_of_vasp_count_before_the_files_of_phonopy_beside_them(
    phonopy_folder: Path, write_vasprun: Write, vasp_steps: list[Any]
) -> None:
    write_vasprun(phonopy_folder / "disp-001" / "vasprun.xml", vasp_steps[:1])
    importer = Importer([phonopy_folder])
    (frame,) = importer
    assert frame.energy is not None
    (note,) = importer.notes.values()
    assert "phonopy's files left aside" in note.what
    assert str(phonopy_folder / "phonopy_disp.yaml") in note.what
    importer = Importer([phonopy_folder, phonopy_folder / "phonopy_disp.yaml"], allow_mixed=True)
    assert len(list(importer)) == 2


def test_forces_of_a_model_in_a_folder_below_are_not_imported(phonopy_folder: Path) -> None:
    (phonopy_folder / "phonons.json").write_text("{}")
    with pytest.raises(FramesError, match="without phonopy's files"):
        Importer([phonopy_folder])


def test_force_constants_alone_name_the_command_that_takes_them(phonopy_folder: Path) -> None:
    (phonopy_folder / "FORCE_SETS").unlink()
    with (phonopy_folder / "FORCE_CONSTANTS").open("w") as file:
        file.write("2 2\n")
        for first in (1, 2):
            file.writelines(f"{first} {n}\n1 0 0\n0 1 0\n0 0 1\n" for n in (1, 2))
    with pytest.raises(FramesError, match="reference for `phonotune compare`"):
        list(Importer([phonopy_folder]))


def test_labels_of_deuterium_are_those_of_hydrogen(tmp_path: Path) -> None:
    file = tmp_path / "lid.extxyz"
    file.write_text(
        '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.0\n'
        "Li 0 0 0 0 0 0.1\nD 2 2 2 0 0 -0.1\n"
    )
    importer = Importer([file])
    (frame,) = importer
    assert [site.specie.name for site in frame.structure] == ["Li", "H"]
    assert frame.structure.site_properties == {}
    assert "Masses are left behind; labels do not depend on them" in importer.notes
