from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pymatgen.core import Structure

from phonotune.data.extxyz import LabelKeys, frame_of, read_frames, write_frames
from phonotune.data.extxyz_reader import header_keys, iter_images
from phonotune.data.identity import frame_key
from phonotune.data.importers import import_frames
from phonotune.errors import FramesError
from phonotune.schemas.base import structure_hash
from phonotune.schemas.dataset import Frame, pack_frames, unpack_frames

MakeFrame = Callable[..., Frame]


def test_labels_and_cell_come_back_bit_for_bit(tmp_path: Path, make_frame: MakeFrame) -> None:
    frames = [make_frame() for _ in range(5)]
    write_frames(tmp_path / "f.extxyz", frames)
    for before, after in zip(frames, read_frames(tmp_path / "f.extxyz"), strict=True):
        assert after.energy == before.energy
        assert np.array_equal(after.forces, before.forces)
        assert np.array_equal(after.stress, before.stress)
        assert np.array_equal(after.structure.lattice.matrix, before.structure.lattice.matrix)
        assert (after.group, after.origin) == (before.group, before.origin)
        assert structure_hash(after.structure) == structure_hash(before.structure)
        np.testing.assert_allclose(
            after.structure.cart_coords, before.structure.cart_coords, rtol=0, atol=1e-13
        )


def test_a_missing_label_is_absent_from_the_file_and_none_after_reading(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "f.extxyz"
    write_frames(path, [make_frame(energy=None, stress=None), make_frame(forces=None)])
    text = path.read_text()
    assert text.count("REF_energy") == text.count("REF_forces") == text.count("REF_stress") == 1
    first, second = read_frames(path)
    assert first.energy is None
    assert first.stress is None
    assert second.forces is None


@pytest.mark.parametrize("text", ["01", "T", "1 2", "2e3", "", "volume +0.0 %", 'a "b" [c]', "k=v"])
def test_any_group_name_stays_text(tmp_path: Path, make_frame: MakeFrame, text: str) -> None:
    write_frames(tmp_path / "f.extxyz", [make_frame(group=text, origin=text)])
    (frame,) = read_frames(tmp_path / "f.extxyz")
    assert (frame.group, frame.origin) == (text, text)


def test_a_group_that_no_line_can_hold_is_refused(tmp_path: Path, make_frame: MakeFrame) -> None:
    with pytest.raises(FramesError, match="cannot be written"):
        write_frames(tmp_path / "f.extxyz", [make_frame(group="two\nlines")])
    assert not (tmp_path / "f.extxyz").exists()


def test_ase_reads_our_files_with_the_same_sign_and_order(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    frame = make_frame()
    write_frames(tmp_path / "f.extxyz", [frame])
    atoms = ase.io.read(tmp_path / "f.extxyz")
    assert atoms.pbc.all()
    assert atoms.info["REF_energy"] == frame.energy
    assert np.array_equal(atoms.arrays["REF_forces"], frame.forces)
    assert np.array_equal(atoms.info["REF_stress"].reshape(3, 3), frame.stress)


def test_frames_without_a_group_belong_together(tmp_path: Path) -> None:
    images = [bulk("Cu", cubic=True) for _ in range(3)]
    for atoms in images:
        atoms.arrays["REF_forces"] = np.zeros((4, 3))
    ase.io.write(tmp_path / "f.extxyz", images)
    frames = read_frames(tmp_path / "f.extxyz")
    assert {frame.group for frame in frames} == {"f.extxyz"}
    assert [frame.origin for frame in frames] == [f"f.extxyz frame {i}" for i in (1, 2, 3)]


def test_labels_under_ase_keys_are_found_by_name(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    atoms.rattle(0.05, seed=1)
    atoms.get_stress()
    ase.io.write(tmp_path / "f.extxyz", atoms)
    (read,) = iter_images(tmp_path / "f.extxyz")
    frame = frame_of(read, "f", 1, LabelKeys("energy", "forces", "stress"))
    assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-7)


def test_a_file_without_ref_forces_names_the_keys_found(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    atoms.get_forces()
    ase.io.write(tmp_path / "f.extxyz", atoms)
    with pytest.raises(FramesError, match=r"has REF_forces\. Keys found: .*forces.*import"):
        read_frames(tmp_path / "f.extxyz")
    (frame,) = read_frames(tmp_path / "f.extxyz", need=())
    assert frame.forces is None


def _written(tmp_path: Path, make_frame: MakeFrame, old: str, new: str) -> Path:
    path = tmp_path / "bad.extxyz"
    frame = make_frame(energy=1.0, stress=np.eye(3))
    write_frames(path, [frame, frame])
    head, _, tail = path.read_text().rpartition(old)
    path.write_text(head + new + tail)
    return path


def test_nan_in_forces_names_the_frame_and_the_atom(tmp_path: Path, make_frame: MakeFrame) -> None:
    path = tmp_path / "bad.extxyz"
    frame = make_frame()
    write_frames(path, [frame, frame])
    last = str(float(frame.forces[-1, -1]))
    head, _, tail = path.read_text().rpartition(last)
    path.write_text(head + "nan" + tail)
    with pytest.raises(FramesError, match=r"frame 2: forces hold NaN .*atom 8"):
        read_frames(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("REF_energy=1.0", "REF_energy=nan", "energy is nan"),
        ("REF_energy=1.0", "REF_energy=low", "numbers are needed"),
        ("REF_energy=1.0", 'REF_energy="1.0 2.0"', "one number"),
        ("1.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 1.0", "1 1 1 0 0", "5 numbers; nine are needed"),
        ("1.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 1.0", "1 2 3 4 5 6 7 8 9", "not symmetric"),
        ('pbc="T T T"', 'pbc="T T F"', "not periodic"),
        ("REF_forces:R:3", "REF_forces:R:2:junk:R:1", "forces have shape"),
        ("\nCl", "\nX", "no element"),
        ("8\nLattice", "9\nLattice", "cannot be read as extxyz"),
    ],
)
def test_bad_frames_are_refused_by_number(
    tmp_path: Path, make_frame: MakeFrame, old: str, new: str, message: str
) -> None:
    with pytest.raises(FramesError, match=message):
        read_frames(_written(tmp_path, make_frame, old, new))


def test_overlapping_atoms_are_refused(
    tmp_path: Path, make_frame: MakeFrame, rocksalt: Structure
) -> None:
    good = make_frame()
    path = tmp_path / "f.extxyz"
    write_frames(path, [good])
    lines = path.read_text().splitlines()
    lines[3] = " ".join(["Na", *lines[2].split()[1:]])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(FramesError, match=r"frame 1.*0\.5 Å"):
        read_frames(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), ("", "no frame"), ("not a structure at all\n", "cannot be read")],
)
def test_files_without_frames_are_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "f.extxyz"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FramesError, match=message):
        read_frames(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FramesError, match="is a folder"):
        read_frames(tmp_path)


def test_nothing_to_write_and_a_place_that_cannot_be_written_are_refused(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    with pytest.raises(FramesError, match="No frame to write"):
        write_frames(tmp_path / "f.extxyz", [])
    (tmp_path / "file").write_text("")
    with pytest.raises(FramesError, match="cannot be written"):
        write_frames(tmp_path / "file" / "f.extxyz", [make_frame()])


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_file_and_document_lose_nothing_of_any_frame(
    tmp_path: Path, make_frame: MakeFrame, data: st.DataObject
) -> None:
    half = data.draw(npst.arrays(float, (3, 3), elements=st.floats(-1, 1)))
    magmoms = data.draw(st.none() | npst.arrays(float, 8, elements=NUMBERS))
    frame = make_frame(
        energy=data.draw(st.none() | NUMBERS),
        forces=data.draw(npst.arrays(float, (8, 3), elements=NUMBERS)),
        stress=data.draw(st.none() | st.just(half + half.T)),
        magmoms=magmoms,
        **{name: data.draw(TEXTS) for name in ("group", "origin", "labeller", "protocol")},
    )
    path = tmp_path / "f.extxyz"
    try:
        write_frames(path, [frame])
    except FramesError as error:
        assert "cannot be written" in str(error)  # noqa: PT017
        return
    (document,) = unpack_frames(pack_frames([frame]))
    (again,) = read_frames(path)
    for other in (document, again):
        assert other.energy == frame.energy
        for label in ("forces", "stress", "magmoms"):
            one, two = getattr(frame, label), getattr(other, label)
            assert (one is None) == (two is None)
            assert one is None or np.array_equal(one, two)
        for text in ("group", "origin", "labeller", "protocol"):
            assert getattr(other, text) == getattr(frame, text)
        assert np.array_equal(other.structure.lattice.matrix, frame.structure.lattice.matrix)
        assert other.structure.lattice.pbc == (True, True, True)
        assert frame_key(other.structure) == frame_key(frame.structure)


def test_the_sign_of_a_stress_is_ases(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(0.97 * atoms.cell, scale_atoms=True)
    atoms.calc = EMT()
    assert atoms.get_stress()[0] < 0
    ase.io.write(tmp_path / "a.extxyz", atoms)
    (frame,) = import_frames([tmp_path / "a.extxyz"])
    write_frames(tmp_path / "b.extxyz", [frame])
    (again,) = read_frames(tmp_path / "b.extxyz")
    np.testing.assert_allclose(again.stress, atoms.get_stress(voigt=False), atol=1e-8)


def test_other_names_of_labels_can_be_written(tmp_path: Path, make_frame: MakeFrame) -> None:
    frame = make_frame()
    keys = LabelKeys("energy", "forces", "stress")
    assert write_frames(tmp_path / "f.extxyz", [frame], keys) == {
        "frames": 1,
        "energy": 1,
        "forces": 1,
        "stress": 1,
    }
    atoms = ase.io.read(tmp_path / "f.extxyz")
    assert atoms.get_potential_energy() == frame.energy
    assert np.array_equal(atoms.get_forces(), frame.forces)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), frame.stress, rtol=0, atol=1e-17)


def test_a_file_that_could_not_be_written_to_its_end_leaves_the_old_one(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "f.extxyz"
    write_frames(path, [make_frame()])
    before = path.read_bytes()
    with pytest.raises(FramesError, match="Frame 2"):
        write_frames(path, [make_frame(), make_frame(energy=np.nan)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_header_tells_the_keys_without_reading_atoms(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    write_frames(tmp_path / "f.extxyz", [make_frame(stress=None), make_frame(magmoms=np.ones(8))])
    found = header_keys(tmp_path / "f.extxyz")
    assert found == {"REF_energy", "REF_forces", "REF_stress", "REF_magmoms", "group", "origin"}
    (tmp_path / "bad").write_text("three\n")
    with pytest.raises(FramesError, match="cannot be read as extxyz"):
        header_keys(tmp_path / "bad")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_frames_are_written_compressed_where_the_name_says_so(
    tmp_path: Path, make_frame: MakeFrame, suffix: str
) -> None:
    frames, path = [make_frame(), make_frame()], tmp_path / f"f.extxyz{suffix}"
    write_frames(path, frames)
    assert not path.read_bytes().startswith(b"8\n")
    assert [frame.energy for frame in read_frames(path)] == [frame.energy for frame in frames]
    assert len(ase.io.read(path, ":")) == 2
