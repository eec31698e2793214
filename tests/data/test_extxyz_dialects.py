"""Frames as other programs write them: names of labels, forms of a stress, notations."""

from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from pymatgen.io.ase import AseAtomsAdaptor

from phonotune.data.extxyz import read_frames
from phonotune.data.importers import Importer
from phonotune.data.notes import Notes
from phonotune.errors import FramesError
from phonotune.schemas.dataset import Frame

Write = Callable[..., Path]

HEADER = (
    'Lattice="4.1 0.0 0.0 0.0 4.2 0.0 0.0 0.0 4.3" Properties=species:S:1:pos:R:3:REF_forces:R:3 '
    'REF_energy=-6.5 pbc="T T T"'
)
ATOMS = ("Cs 0.0 0.0 0.0 0.125 0.0 -0.25", "Cl 2.0 2.1 2.2 -0.125 0.0 0.25")
VOLUME = 4.1 * 4.2 * 4.3
SIX = "0.01 0.02 0.03 0.001 0.002 0.003"
FULL = np.array([[0.01, 0.003, 0.002], [0.003, 0.02, 0.001], [0.002, 0.001, 0.03]])
"""What ASE and MACE make of the six numbers: xx yy zz yz xz xy, eV/Å^3."""


def text_of(header: str = HEADER, atoms: tuple[str, ...] = ATOMS) -> str:
    return "\n".join([str(len(atoms)), header, *atoms]) + "\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write texts of frames, one after the other, to a file."""

    def write(*frames: str, name: str = "a.extxyz") -> Path:
        (tmp_path / name).write_bytes("".join(frames).encode())
        return tmp_path / name

    return write


def imported(path: Path, **keys: str) -> tuple[list[Frame], Importer]:
    importer = Importer([path], keys or None)
    return list(importer), importer


NEP = (
    HEADER.replace("Lattice", "lattice")
    .replace("Properties", "properties")
    .replace("REF_forces", "force")
    .replace("REF_energy", "Energy")
)
FORTRAN = tuple(row.replace("0.125", "1.25D-01").replace("2.1", "0.21d+1") for row in ATOMS)


@pytest.mark.parametrize(
    "text",
    [
        text_of(HEADER.replace('pbc="T T T"', "")),
        text_of(HEADER.replace('Lattice="', 'Lattice = "')),
        text_of(HEADER.replace('="4.1 0.0 0.0 0.0', "='4.1  0 0   0").replace('4.3"', "4.3'")),
        text_of(HEADER.replace('"4.1 0.0 0.0', '"4.1, 0.0, 0.0,')),
        text_of(HEADER.replace('"4.1 0.0', '"4.1D0 0.0D+00').replace("-6.5", "-65.0D-01")),
        text_of(HEADER.replace("REF_", "")),
        text_of(HEADER.replace("REF_energy", "free_energy").replace("REF_forces", "forces")),
        text_of(NEP),
        text_of(atoms=FORTRAN),
        text_of().replace("\n", "\r\n"),
        "\ufeff" + text_of(),
        text_of(HEADER + ' comment="Müller: größte Kräfte, 力 = stress=3" unrelated'),
        "\n" + text_of() + "\n\n",
        text_of(
            HEADER.replace("pos:R:3", "pos:R:3:charge:R:1:tag:S:1"),
            tuple(" ".join([*r.split()[:4], "0.5", "bulk", *r.split()[4:]]) for r in ATOMS),
        ),
    ],
)
def test_older_and_odd_notations_give_the_same_frame(write: Write, text: str) -> None:
    (frame,), importer = imported(write(text))
    assert not importer.refused
    assert frame.energy == -6.5
    assert np.array_equal(frame.forces, [[0.125, 0.0, -0.25], [-0.125, 0.0, 0.25]])
    assert np.array_equal(frame.structure.lattice.matrix, np.diag([4.1, 4.2, 4.3]))
    assert [site.specie.symbol for site in frame.structure] == ["Cs", "Cl"]
    np.testing.assert_allclose(frame.structure.cart_coords[1], [2.0, 2.1, 2.2], atol=1e-14)


def test_each_frame_has_its_own_names_of_the_labels(write: Write) -> None:
    path = write(text_of(), text_of(HEADER.replace("REF_", "").replace("-6.5", "-6.25")))
    (first, second), importer = imported(path)
    assert (first.energy, second.energy) == (-6.5, -6.25)
    assert np.array_equal(first.forces, second.forces)
    assert [str(note) for note in importer.notes.values()] == [
        "The label energy comes from energy, in other frames from REF_energy (a.extxyz, frame 2).",
        "The label forces comes from forces, in other frames from REF_forces (a.extxyz, frame 2).",
    ]


def test_a_frame_without_any_label_is_refused_by_name(write: Write) -> None:
    other = HEADER.replace("REF_", "dft_")
    (frame,), importer = imported(write(text_of(), text_of(other)))
    assert frame.energy == -6.5
    (refusal,) = importer.refused
    assert refusal.origin == "a.extxyz, frame 2"
    assert "no label; keys found: dft_energy, dft_forces" in refusal.reason
    assert "--energy-key dft_energy --forces-key dft_forces" in refusal.reason


def test_other_names_are_refused_with_the_options_that_name_them(write: Write) -> None:
    path = write(text_of(HEADER.replace("REF_", "dft_")))
    options = "--energy-key dft_energy --forces-key dft_forces"
    with pytest.raises(FramesError, match=options):
        imported(path)
    with pytest.raises(FramesError, match=f"`phonotune import a.extxyz {options} -o"):
        read_frames(path)
    (frame,), _ = imported(path, energy="dft_energy", forces="dft_forces")
    assert frame.energy == -6.5


@pytest.mark.parametrize("key", ["REF_stress", "stress"])
def test_six_numbers_of_stress_are_in_the_order_of_ase(write: Write, key: str) -> None:
    path = write(text_of(f'{HEADER} {key}="{SIX}"'))
    (frame,), importer = imported(path)
    assert np.array_equal(frame.stress, FULL)
    note, *others = map(str, importer.notes.values())
    assert note == f"Six numbers of {key} are taken as xx yy zz yz xz xy (a.extxyz, frame 1)."
    two_kinds = (
        "Labels have names of two kinds (REF_energy, REF_forces, stress) (a.extxyz, frame 1)."
    )
    assert others == ([two_kinds] if key == "stress" else [])
    notes = Notes()
    (own,) = read_frames(path, notes=notes)
    assert (own.stress is None) == (key == "stress")
    assert len(notes) == (key == "REF_stress")


@pytest.mark.parametrize("key", ["REF_stress", "stress", "REF_virials", "virial"])
@pytest.mark.parametrize("value", ["1 2 3", "1 2 3 4 5 x", "high"])
def test_another_stress_is_refused_by_frame_and_name(write: Write, key: str, value: str) -> None:
    path = write(text_of(), text_of(f'{HEADER} {key}="{value}"'))
    frames, importer = imported(path)
    assert len(frames) == 1
    (refusal,) = importer.refused
    assert refusal.origin == "a.extxyz, frame 2"
    assert key in refusal.reason


@pytest.mark.parametrize(
    "key", ["REF_virials", "REF_virial", "virials", "virial", "dft_virial", "Virial"]
)
def test_a_virial_is_minus_the_stress_times_the_volume(write: Write, key: str) -> None:
    nine = " ".join(map(repr, (-FULL * VOLUME).ravel().tolist()))
    six = " ".join(repr(-VOLUME * float(number)) for number in SIX.split())
    for value, notes in ((nine, 1), (six, 2)):
        path = write(text_of(f'{HEADER} {key}="{value}"'))
        (frame,), importer = imported(path)
        np.testing.assert_allclose(frame.stress, FULL, rtol=1e-13)
        assert f"The stress is -{key}/volume" in importer.notes
        assert len(importer.notes) == notes
        (own,) = read_frames(path)
        np.testing.assert_allclose(own.stress, FULL, rtol=1e-13)


def test_a_virial_has_the_sign_that_ase_gives_a_compressed_crystal(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(0.97 * atoms.cell, scale_atoms=True)
    atoms.calc = EMT()
    stress, forces = atoms.get_stress(voigt=False), atoms.get_forces()
    atoms.calc = None
    atoms.arrays["REF_forces"] = forces
    atoms.info["REF_virials"] = -stress * atoms.get_volume()
    ase.io.write(tmp_path / "a.extxyz", atoms)
    (frame,), _ = imported(tmp_path / "a.extxyz")
    assert frame.stress is not None
    assert frame.stress[0, 0] < 0
    np.testing.assert_allclose(frame.stress, stress, atol=1e-10)


def test_a_stress_and_a_virial_must_agree(write: Write) -> None:
    header = f'{HEADER} REF_stress="{SIX}" virial="{{}}"'
    agree = " ".join(map(repr, (-FULL * VOLUME).ravel().tolist()))
    wrong = " ".join(map(repr, (FULL * VOLUME).ravel().tolist()))
    path = write(text_of(header.format(agree)), text_of(header.format(wrong)))
    (frame,), importer = imported(path)
    assert np.array_equal(frame.stress, FULL)
    (refusal,) = importer.refused
    assert "frame 2: REF_stress and virial contradict each other" in refusal.reason
    assert "0.06 eV/Å^3" in refusal.reason
    frames, _ = imported(path, stress="REF_stress")
    assert len(frames) == 1
    (_, turned), _ = imported(path, stress="virial")
    np.testing.assert_allclose(turned.stress, -FULL, rtol=1e-13)


def test_a_virial_of_an_unknown_name_is_named(write: Write) -> None:
    (frame,), importer = imported(write(text_of(f'{HEADER} mace_virials="{SIX}"')))
    assert frame.stress is None
    assert "mace_virials is left behind; --stress-key mace_virials takes it" in importer.notes


def test_energies_of_single_atoms_are_left_behind_and_said(write: Write) -> None:
    header = HEADER.replace("REF_forces:R:3 REF_energy=-6.5", "forces:R:3:energy:R:1")
    path = write(text_of(header, tuple(f"{row} -3.25" for row in ATOMS)))
    (frame,), importer = imported(path)
    assert frame.energy is None
    assert np.array_equal(frame.forces[0], [0.125, 0.0, -0.25])
    assert "energy of every atom is left behind; the total energy is needed" in importer.notes


def test_columns_that_have_no_name_are_left_behind_and_said(write: Write) -> None:
    path = write(text_of(atoms=tuple(f"{row} 1 2" for row in ATOMS)))
    (frame,), importer = imported(path)
    assert frame.energy == -6.5
    assert "2 columns that Properties does not name are left behind" in importer.notes


def test_labels_of_a_left_handed_cell_stay_what_they_are(tmp_path: Path) -> None:
    atoms = bulk("Cu", orthorhombic=True)
    atoms.rattle(0.1, seed=4)
    atoms.set_cell(atoms.cell[[2, 1, 0]], scale_atoms=False)
    atoms.calc = EMT()
    stress = atoms.get_stress(voigt=False)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert np.linalg.det(atoms.cell) < 0
    ase.io.write(tmp_path / "left.extxyz", atoms)
    (frame,), importer = imported(tmp_path / "left.extxyz")
    (note,) = importer.notes.values()
    assert "Two vectors of a left-handed cell are swapped, its labels unchanged" in str(note)
    assert np.linalg.det(frame.structure.lattice.matrix) > 0
    again = AseAtomsAdaptor.get_atoms(frame.structure)
    again.calc = EMT()
    assert again.get_potential_energy() == pytest.approx(energy, abs=1e-7)
    np.testing.assert_allclose(again.get_forces(), forces, atol=1e-6)
    np.testing.assert_allclose(again.get_stress(voigt=False), stress, atol=1e-6)
    np.testing.assert_allclose(frame.stress, stress, atol=1e-7)
    np.testing.assert_allclose(frame.forces, forces, atol=1e-7)


def test_a_frame_that_cannot_be_read_does_not_cost_the_others(write: Write) -> None:
    bad = [
        text_of(atoms=("Cs 0 0 0 0 0", ATOMS[1])),
        text_of(HEADER.replace("4.3", "wide")),
        text_of(HEADER.replace('Lattice="4.1 0.0', 'Lattice="')),
        text_of(atoms=("Na1 0 0 0 0 0 0", ATOMS[1])),
        text_of(HEADER.replace("forces:R:3", "forces:Q:3")),
        text_of(HEADER.replace("REF_energy", 'a="_JSON [1" REF_energy')),
        text_of(HEADER.replace("forces:R:3", "forces:R:9999999999999")),
        text_of(HEADER.replace("0.0 4.2 0.0", "1e200 4.2 1e200").replace("4.1", "1e200")),
        text_of(HEADER.replace("4.1", "nan")),
        text_of(HEADER.replace("species:S:1", "Z:I:1"), ("119 0 0 0 0 0 0", "-5 2 2 2 0 0 0")),
        text_of(HEADER.replace("species:S:1", "Z:I:1"), ("999 0 0 0 0 0 0",)),
        text_of(HEADER.replace("4.1 0.0 0.0 0.0 4.2", "4.1 4.2 0.0 4.1 4.2")),
    ]
    frames, importer = imported(write(*(t for one in bad for t in (one, text_of()))))
    assert len(frames) == len(bad)
    assert [r.origin for r in importer.refused] == [
        f"a.extxyz, frame {number}" for number in range(1, 2 * len(bad), 2)
    ]


def test_a_file_that_ends_inside_a_frame_gives_the_frames_before(write: Write) -> None:
    path = write(text_of(), text_of()[:-40])
    frames, importer = imported(path)
    assert len(frames) == 1
    (refusal,) = importer.refused
    assert "frame 2 cannot be read as extxyz (the file ends after 1 of 2 atoms)" in refusal.reason
    with pytest.raises(FramesError, match="frame 2 cannot be read"):
        read_frames(path)
