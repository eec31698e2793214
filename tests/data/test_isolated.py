"""Isolated atoms in training files give atomic energies and never train."""

from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Structure

from phonotune.data.assemble import assemble, assemble_given, split_to_folder
from phonotune.data.extxyz import read_frames, write_frames
from phonotune.data.folder import read_dataset, write_dataset
from phonotune.data.importers import Importer
from phonotune.data.isolated import IsolatedAtoms, is_isolated
from phonotune.data.split import SplitRequest
from phonotune.data.versions import append
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument, Frame

MakeFrame = Callable[..., Frame]

E0 = {"Na": -0.25, "Cl": -1.5}
"""eV, made up."""
BOX = 'Lattice="20 0 0 0 20 0 0 0 20" pbc="T T T" '
HEADS = {
    "MACE": BOX + "config_type=IsolatedAtom",
    "lower case": BOX + "config_type=isolated_atom",
    "GAP": 'Lattice="5 0 0 0 5 0 0 0 5" config_type=isolated_atom',
    "alone in its cell": BOX,
    "not periodic": 'Lattice="5 0 0 0 5 0 0 0 5" pbc="F F F"',
    "no cell": "",
    "no cell, named": "config_type=IsolatedAtom",
}


def atom(symbol: str, head: str = HEADS["MACE"], energy: float | None = None) -> str:
    energy = E0[symbol] if energy is None else energy
    return (
        f"1\n{head} Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy={energy}\n"
        f"{symbol} 1.0 0 0 0 0 0\n"
    )


@pytest.fixture
def file_of(tmp_path: Path, make_frame: MakeFrame) -> Callable[..., Path]:
    """Write texts of atoms before some frames."""

    def write(*atoms: str, n_frames: int = 4, name: str = "a.extxyz") -> Path:
        path = tmp_path / name
        write_frames(path, [make_frame(group=f"{name} {i}") for i in range(n_frames)])
        path.write_text("".join(atoms) + path.read_text())
        return path

    return write


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_an_isolated_atom_is_known_by_its_name_or_by_its_cell(
    file_of: Callable[..., Path], head: str
) -> None:
    first, second, *frames = read_frames(file_of(atom("Na", head), atom("Cl", head)))
    assert len(frames) == 4
    isolated = IsolatedAtoms()
    assert [isolated.take(frame) for frame in (first, second, *frames)] == [
        True,
        True,
        *[False] * 4,
    ]
    assert isolated.energies == E0


@pytest.mark.parametrize(
    ("edges", "isolated"), [((7, 7, 7), True), ((20, 20, 5.9), False), ((3, 3, 3), False)]
)
def test_an_atom_with_an_image_of_its_own_within_six_angstrom_is_a_crystal(
    edges: tuple[float, ...], isolated: bool
) -> None:
    assert is_isolated(Structure(Lattice.orthorhombic(*edges), ["Na"], [[0] * 3])) == isolated


def test_a_chain_of_atoms_is_not_isolated_but_refused(tmp_path: Path) -> None:
    chain = Atoms("Na", cell=[20, 20, 3], pbc=[False, False, True])
    chain.arrays["REF_forces"] = np.zeros((1, 3))
    ase.io.write(tmp_path / "a.extxyz", chain)
    with pytest.raises(FramesError, match="not periodic"):
        read_frames(tmp_path / "a.extxyz")


def test_several_atoms_called_isolated_are_refused(tmp_path: Path, make_frame: MakeFrame) -> None:
    write_frames(tmp_path / "a.extxyz", [make_frame()])
    text = (tmp_path / "a.extxyz").read_text()
    (tmp_path / "a.extxyz").write_text(text.replace("pbc=", "config_type=IsolatedAtom pbc="))
    with pytest.raises(FramesError, match="frame 1: config_type is IsolatedAtom, but there are 8"):
        read_frames(tmp_path / "a.extxyz")


def test_two_energies_of_one_element_are_refused_with_both(file_of: Callable[..., Path]) -> None:
    path = file_of(atom("Na"), atom("Cl"), atom("Na", energy=-0.75))
    said = r"isolated atom of Na has two energies: -0\.25 eV .*frame 1.* and -0\.75 eV .*frame 3"
    with pytest.raises(FramesError, match=said):
        list(Importer([path]))
    with pytest.raises(FramesError, match=said):
        assemble(read_frames(path), labeller="vasp", valid_groups=["a.extxyz 0"])


def test_an_isolated_atom_without_an_energy_is_refused(file_of: Callable[..., Path]) -> None:
    path = file_of(atom("Na").replace("REF_energy", "other"))
    with pytest.raises(FramesError, match="an isolated atom of Na without an energy"):
        assemble(read_frames(path), labeller="vasp", valid_groups=["a.extxyz 0"])


def check(dataset: DatasetDocument, bare: DatasetDocument) -> None:
    assert dataset.isolated_atoms == E0
    assert bare.isolated_atoms == {}
    assert dataset.dataset_hash != bare.dataset_hash
    assert len(dataset.frames()) == len(bare.frames())
    assert all(len(frame.structure) == 8 for frame in dataset.frames())
    assert (dataset.train, dataset.valid) == (bare.train, bare.valid)
    assert dataset.statistics == bare.statistics
    assert dataset.split == bare.split


def test_a_dataset_holds_their_energies_beside_its_frames(file_of: Callable[..., Path]) -> None:
    frames = read_frames(file_of(atom("Na"), atom("Cl")))
    options = {"labeller": "vasp", "valid_groups": ["a.extxyz 0"]}
    check(assemble(frames, **options), assemble(frames[2:], **options))
    with_atoms = assemble_given(frames[:4], [frames[0], *frames[4:]], labeller="vasp")
    check(with_atoms, assemble_given(frames[2:4], frames[4:], labeller="vasp"))


def test_the_hash_of_a_dataset_knows_every_bit_of_their_energies(
    file_of: Callable[..., Path],
) -> None:
    frames = read_frames(file_of())
    hashes = {
        assemble(
            [*IsolatedAtoms(energies).frames(), *frames],
            labeller="vasp",
            valid_groups=["a.extxyz 0"],
        ).dataset_hash
        for energies in (E0, dict(reversed(E0.items())), E0 | {"Na": -0.25000000000000006}, {})
    }
    assert len(hashes) == 3


def test_a_dataset_keeps_them_through_a_folder_and_its_files(
    tmp_path: Path, file_of: Callable[..., Path]
) -> None:
    energies = {"Na": -1 / 3, "Cl": -1.5}
    path = file_of(atom("Na", energy=energies["Na"]), atom("Cl"))
    asked = SplitRequest(valid_groups=["a.extxyz 0"])
    header, _ = split_to_folder(read_frames(path), asked, tmp_path / "d", labeller="vasp")
    dataset = read_dataset(tmp_path / "d")
    assert header.isolated_atoms == dataset.isolated_atoms == energies
    sides = [read_frames(tmp_path / "d" / f"{side}.extxyz") for side in ("train", "valid")]
    assert assemble_given(*sides, labeller="vasp").dataset_hash == dataset.dataset_hash
    assert "config_type=IsolatedAtom" in (tmp_path / "d" / "train.extxyz").read_text()
    write_dataset(dataset, tmp_path / "again")
    assert read_dataset(tmp_path / "again").dataset_hash == dataset.dataset_hash
    train = tmp_path / "again" / "train.extxyz"
    train.write_text(train.read_text().replace("REF_energy=-1.5", "REF_energy=-1.6"))
    with pytest.raises(FramesError, match="a file was changed"):
        read_dataset(tmp_path / "again")


def test_a_version_inherits_them_and_may_add_some(file_of: Callable[..., Path]) -> None:
    frames = read_frames(file_of(atom("Na")))
    parent = assemble(frames, labeller="vasp", valid_groups=["a.extxyz 0"])
    assert append(parent, frames) is parent
    more = append(parent, read_frames(file_of(atom("Cl"), n_frames=1, name="b.extxyz")))
    assert more.isolated_atoms == E0
    assert len(more.frames()) == 5
    added = append(parent, list(IsolatedAtoms(E0).frames()))
    assert (added.isolated_atoms, added.version) == (E0, 2)
    assert len(added.frames()) == 4
    with pytest.raises(FramesError, match=r"two energies: -0\.25 eV \(the dataset\)"):
        append(parent, list(IsolatedAtoms({"Na": 1.0}).frames()))


def test_import_keeps_them_as_isolated_atoms(tmp_path: Path, file_of: Callable[..., Path]) -> None:
    importer = Importer([file_of(atom("Na", HEADS["no cell"]), atom("Cl"))])
    counts = write_frames(tmp_path / "out.extxyz", importer)
    assert counts["frames"] == counts["forces"] == 4
    assert importer.isolated.energies == E0
    again = IsolatedAtoms()
    assert len(list(again.left_out(read_frames(tmp_path / "out.extxyz")))) == 4
    assert again.energies == E0
    images = ase.io.read(tmp_path / "out.extxyz", ":")
    assert [image.info.get("config_type") for image in images[:3]] == ["IsolatedAtom"] * 2 + [None]


def test_a_file_of_nothing_but_isolated_atoms_is_imported(file_of: Callable[..., Path]) -> None:
    lone = file_of()
    lone.write_text(atom("Na").replace(":REF_forces:R:3", "") + atom("Cl"))
    assert len(list(Importer([lone]))) == 2


def test_their_protocol_is_not_compared(tmp_path: Path, make_frame: MakeFrame) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [make_frame(protocol="p")])
    path.write_text(atom("Na", HEADS["MACE"] + " protocol=q") + path.read_text())
    importer = Importer([path])
    assert len(list(importer)) == 2
    assert not importer.guard.mixed
