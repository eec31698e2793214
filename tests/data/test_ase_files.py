"""Trajectories and databases of ASE are imported as extxyz is."""

import sqlite3
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from phonotune.data.importers import Importer
from phonotune.errors import FramesError


def strained(seed: int, element: str = "Cu") -> Atoms:
    """A sheared, rattled crystal with labels of EMT; its first atom is held fixed."""
    atoms = bulk(element, cubic=True)
    atoms.set_cell(
        atoms.cell @ [[0.98, 0.01, 0], [0.01, 1.0, 0.02], [0, 0.02, 1.01]], scale_atoms=True
    )
    atoms.rattle(0.05, seed=seed)
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = EMT()
    atoms.get_stress()
    return atoms


def write(path: Path, images: list[Atoms]) -> Path:
    if path.suffix == ".db":
        with ase.db.connect(path) as database:
            for number, atoms in enumerate(images):
                database.write(atoms, group=f"g {number}", data={"REF_magmoms": np.full(4, 0.5)})
    else:
        ase.io.write(path, images)
    return path


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
def test_labels_come_from_the_calculator(tmp_path: Path, name: str) -> None:
    images = [strained(1), strained(2)]
    importer = Importer([write(tmp_path / name, images)])
    frames = list(importer)
    assert not importer.refused
    assert not importer.notes
    for number, (frame, atoms) in enumerate(zip(frames, images, strict=True)):
        assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        forces = atoms.get_forces(apply_constraint=False)
        assert np.linalg.norm(forces[0]) > 0.05
        np.testing.assert_allclose(frame.forces, forces, atol=1e-12)
        np.testing.assert_allclose(frame.stress, atoms.get_stress(voigt=False), atol=1e-12)
        np.testing.assert_allclose(frame.structure.lattice.matrix, atoms.cell.array, atol=1e-12)
        assert frame.origin == f"{name} frame {number + 1}"
        assert frame.group == (name if name == "a.traj" else f"g {number}")
        assert (frame.magmoms is None) == (name == "a.traj")


def test_images_without_labels_or_with_bad_ones_are_refused_by_number(tmp_path: Path) -> None:
    bare, bad, single = strained(1), strained(2), Atoms("Cu", cell=[9, 9, 9], pbc=True)
    bare.calc = None
    bad.calc = SinglePointCalculator(bad, energy=np.nan, forces=np.zeros((4, 3)))
    single.calc = SinglePointCalculator(single, energy=-0.5, forces=np.zeros((1, 3)))
    importer = Importer([write(tmp_path / "a.traj", [strained(0), bare, bad, single])])
    assert len(list(importer)) == 2
    assert importer.isolated.energies == {"Cu": -0.5}
    assert [refusal.origin[-7:] for refusal in importer.refused] == ["frame 2", "frame 3"]
    assert "no label" in importer.refused[0].reason


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
def test_a_file_that_is_cut_off_empty_or_another_one_is_refused(tmp_path: Path, name: str) -> None:
    whole = write(tmp_path / name, [strained(seed) for seed in range(3)]).read_bytes()
    for content in (b"", b"hello", whole[:200], whole[: len(whole) // 2], bytes(range(256)) * 9):
        path = tmp_path / f"bad{Path(name).suffix}"
        path.write_bytes(content)
        with pytest.raises(
            FramesError, match=rf"{path.name}.*(cannot be read as a|holds no image)"
        ):
            list(Importer([path]))
        assert path.read_bytes() == content


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(FramesError, match="has no table systems"):
        list(Importer([path]))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_forces_are_needed(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    with pytest.raises(FramesError, match="no frame has forces"):
        list(Importer([write(tmp_path / "a.traj", [atoms])]))
