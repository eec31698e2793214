"""Folders of phonopy: a rocksalt lattice with known forces, written with phonopy's own writers."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from phonopy import Phonopy
from phonopy.file_IO import (
    write_disp_yaml_from_dataset,
    write_FORCE_CONSTANTS,
    write_force_constants_to_hdf5,
    write_FORCE_SETS,
)
from phonopy.interface.vasp import write_vasp
from phonopy.physical_units import get_calculator_physical_units
from pymatgen.core import Structure

from phonotune.errors import FramesError, InputError
from phonotune.physics.phonon.born import read_born
from phonotune.physics.phonon.calculation import find_calculations, read_calculation
from phonotune.physics.phonon.cells import to_phonopy, to_structure
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.files import full_force_constants, read_force_constants, read_phonopy
from phonotune.physics.phonon.frames import read_displacement_frames
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import as_matrix
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges, PhononDocument
from tests.physics.conftest import RocksaltWell

ENGINE = RocksaltWell(2.0, 0.0)
CHARGES = "2.5 0 0 0 2.5 0 0 0 2.5\n1 0 0 0 1 0 0 0 1\n-1 0 0 0 -1 0 0 0 -1\n"


@pytest.fixture(scope="module")
def settings(small_settings: PhononSettings) -> PhononSettings:
    return small_settings.model_copy(update={"supercell_matrix": as_matrix([1, 1, 1])})


@pytest.fixture(scope="module")
def expected(rocksalt: Structure, settings: PhononSettings, source: Source) -> PhononDocument:
    """Phonons of the lattice, with Born charges of ±1."""
    plan = plan_displacements(rocksalt, settings)
    born = BornCharges(charges=np.array([np.eye(3), -np.eye(3)]), dielectric=2.5 * np.eye(3))
    return analyse_forces(plan, ENGINE(plan.structures), source, born=born)


@pytest.fixture
def calculation(rocksalt: Structure, expected: PhononDocument) -> Callable[..., Phonopy]:
    """Phonopy with displacements and forces, in the units of a calculator."""

    def make(calculator: str | None = None, random: bool = False) -> Phonopy:
        units = get_calculator_physical_units(calculator)
        cell = to_phonopy(rocksalt)
        cell.cell = cell.cell / units.distance_to_A
        matrix = np.array(expected.supercell_matrix).T
        phonon = Phonopy(cell, matrix, primitive_matrix="P", calculator=calculator)
        if random:
            phonon.generate_displacements(
                distance=0.03 / units.distance_to_A, number_of_snapshots=2, random_seed=5
            )
        else:
            phonon.generate_displacements(distance=0.01 / units.distance_to_A)
        cells = []
        for displaced in phonon.supercells_with_displacements:
            displaced.cell = displaced.cell * units.distance_to_A
            cells.append(to_structure(displaced))
        phonon.forces = np.array([a.forces for a in ENGINE(cells)]) / units.force_to_eVperA
        return phonon

    return make


def write_disp(phonon: Phonopy, folder: Path, **settings: bool) -> None:
    folder.mkdir(exist_ok=True)
    kept = {"force_sets": False, "force_constants": False, "displacements": True} | settings
    phonon.save(folder / "phonopy_disp.yaml", settings=kept)


def assert_same(folder: Path, expected: PhononDocument, atol: float = 1e-5) -> None:
    """Force constants in eV/Å^2, and the charges of both atoms with e²/4πε₀ in eV Å."""
    _, constants = read_force_constants(folder)
    np.testing.assert_allclose(constants, full_force_constants(expected), rtol=0, atol=atol)
    born = read_calculation(folder).born(expected.primitive_matrix, 1e-5)
    assert born is not None
    np.testing.assert_allclose(born.charges, [np.eye(3), -np.eye(3)], atol=1e-12)
    assert born.factor == pytest.approx(14.4, rel=1e-4)


@pytest.mark.parametrize("calculator", [None, "qe", "abinit", "wien2k", "elk", "cp2k", "castep"])
def test_a_folder_with_force_sets_gives_the_same_whatever_the_units(
    calculator: str | None,
    calculation: Callable[..., Phonopy],
    expected: PhononDocument,
    tmp_path: Path,
) -> None:
    phonon = calculation(calculator)
    write_disp(phonon, tmp_path)
    write_FORCE_SETS(phonon.dataset, tmp_path / "FORCE_SETS")
    (tmp_path / "BORN").write_text(f"default\n{CHARGES}")
    assert_same(tmp_path, expected)
    frames = read_displacement_frames(tmp_path / "FORCE_SETS", "run")
    assert all(frame.energy is None and frame.stress is None for frame in frames)
    for frame, answer in zip(frames, ENGINE([f.structure for f in frames]), strict=True):
        np.testing.assert_allclose(frame.forces, answer.forces, atol=1e-6)


def test_a_folder_is_a_reference_with_the_same_frequencies(
    calculation: Callable[..., Phonopy],
    expected: PhononDocument,
    settings: PhononSettings,
    source: Source,
    tmp_path: Path,
) -> None:
    phonon = calculation("qe", random=True)
    write_disp(phonon, tmp_path)
    write_FORCE_SETS(phonon.dataset, tmp_path / "FORCE_SETS")
    (tmp_path / "BORN").write_text(f"2.0\n{CHARGES}")
    found = read_phonopy(tmp_path, settings, source)
    assert found.has_nac
    assert found.n_displacements == 2
    ours, theirs = (d.data.arrays()["mesh_frequencies"] for d in (expected, found))
    np.testing.assert_allclose(theirs, ours, atol=2e-3)
    assert len(read_displacement_frames(tmp_path, "run")) == 2
    assert not read_phonopy(tmp_path, settings, source, with_nac=False).has_nac


@pytest.mark.parametrize("kind", ["full", "compact", "hdf5", "yaml"])
@pytest.mark.parametrize("calculator", [None, "qe"])
def test_force_constants_alone_are_a_reference_and_give_no_frames(
    kind: str,
    calculator: str | None,
    calculation: Callable[..., Phonopy],
    expected: PhononDocument,
    tmp_path: Path,
) -> None:
    phonon = calculation(calculator)
    phonon.produce_force_constants(calculate_full_force_constants=kind == "full")
    phonon.symmetrize_force_constants(level=3)
    write_disp(phonon, tmp_path, displacements=False, force_constants=kind == "yaml")
    atoms = phonon.primitive.p2s_map
    if kind in ("full", "compact"):
        write_FORCE_CONSTANTS(phonon.force_constants, tmp_path / "FORCE_CONSTANTS", atoms)
    elif kind == "hdf5":
        write_force_constants_to_hdf5(
            phonon.force_constants, filename=tmp_path / "force_constants.hdf5", p2s_map=atoms
        )
    (tmp_path / "BORN").write_text(f"# charges\n{CHARGES}")
    assert_same(tmp_path, expected)
    with pytest.raises(FramesError, match=r"force constants and no forces.*`phonotune compare`"):
        read_displacement_frames(tmp_path, "run")


def test_a_folder_of_old_phonopy_is_read_by_its_poscar(
    calculation: Callable[..., Phonopy],
    expected: PhononDocument,
    tmp_path: Path,
) -> None:
    phonon = calculation()
    write_vasp(tmp_path / "POSCAR", phonon.unitcell)
    write_FORCE_SETS(phonon.dataset, tmp_path / "FORCE_SETS")
    (tmp_path / "BORN").write_text(f"14.4\n{CHARGES}")
    with pytest.raises(FramesError, match="names no supercell"):
        read_calculation(tmp_path)
    write_disp_yaml_from_dataset(phonon.dataset, phonon.supercell, tmp_path / "disp.yaml")
    assert_same(tmp_path, expected, 1e-3)
    sheared = phonon.supercell.copy()
    cell = sheared.cell.copy()
    cell[1, 2] = 1e30
    sheared.cell = cell
    write_disp_yaml_from_dataset(phonon.dataset, sheared, tmp_path / "disp.yaml")
    with pytest.raises(FramesError, match=r"whose multiple is the supercell of disp\.yaml"):
        read_calculation(tmp_path)
    (tmp_path / "disp.yaml").unlink()
    write_vasp(tmp_path / "SPOSCAR", phonon.supercell)
    assert_same(tmp_path, expected, 1e-3)
    cell = phonon.unitcell.copy()
    cell.cell = cell.cell * 0.8
    write_vasp(tmp_path / "POSCAR", cell)
    with pytest.raises(FramesError, match="whose multiple is the supercell of SPOSCAR"):
        read_calculation(tmp_path)


def test_forces_count_before_force_constants_and_what_is_not_used_is_said(
    calculation: Callable[..., Phonopy], tmp_path: Path
) -> None:
    phonon = calculation()
    write_disp(phonon, tmp_path)
    write_FORCE_SETS(phonon.dataset, tmp_path / "FORCE_SETS")
    (tmp_path / "FORCE_CONSTANTS").write_text("nonsense")
    found = read_calculation(tmp_path)
    assert [path.name for path in found.files] == ["phonopy_disp.yaml", "FORCE_SETS"]
    assert found.force_constants is None
    assert "FORCE_CONSTANTS in" in found.notes[0]
    assert "not used" in found.notes[0]


def test_force_sets_of_other_displacements_are_used_and_said(
    calculation: Callable[..., Phonopy], tmp_path: Path
) -> None:
    phonon = calculation()
    write_disp(phonon, tmp_path)
    dataset = phonon.dataset
    for entry in dataset["first_atoms"]:
        entry["displacement"] = 2 * np.array(entry["displacement"])
    write_FORCE_SETS(dataset, tmp_path / "FORCE_SETS")
    (note,) = read_calculation(tmp_path).notes
    assert "other displacements than phonopy_disp.yaml" in note


def test_more_random_displacements_than_planned_are_used_and_said(
    calculation: Callable[..., Phonopy], tmp_path: Path
) -> None:
    phonon = calculation(random=True)
    write_disp(phonon, tmp_path)
    dataset = {
        key: np.concatenate([phonon.dataset[key]] * 2) for key in ("displacements", "forces")
    }
    write_FORCE_SETS(dataset, tmp_path / "FORCE_SETS")
    found = read_calculation(tmp_path)
    assert len(found.dataset["forces"]) == 4
    assert "other displacements than phonopy_disp.yaml" in found.notes[0]
    write_FORCE_SETS({key: rows[:1] for key, rows in dataset.items()}, tmp_path / "FORCE_SETS")
    assert read_calculation(tmp_path).notes == ()


def test_broken_files_beside_the_yaml_are_one_sentence(
    calculation: Callable[..., Phonopy], tmp_path: Path
) -> None:
    phonon = calculation()
    write_disp(phonon, tmp_path)
    sets = tmp_path / "FORCE_SETS"
    write_FORCE_SETS(phonon.dataset, sets)
    whole = sets.read_text()
    cases = {
        whole[: len(whole) // 2]: "cannot be read as FORCE_SETS|ends too early",
        "": "ends too early",
        "\x00\x01": "cannot be read as FORCE_SETS",
        whole.replace(whole.split()[0], "3", 1): "cannot be read as FORCE_SETS",
    }
    for text, reason in cases.items():
        sets.write_text(text)
        with pytest.raises(FramesError, match=reason) as refused:
            read_calculation(tmp_path)
        assert "\n" not in str(refused.value)
    sets.unlink()
    with pytest.raises(FramesError, match=r"2 displacements without forces.*no forces or force"):
        read_phonopy(tmp_path, PhononSettings(), Source(role="reference", evaluator="x"))
    for name in ("FORCE_CONSTANTS", "force_constants.hdf5"):
        (tmp_path / name).write_text("8 8\n1 1\n")
        with pytest.raises(FramesError, match=f"{name} cannot be read as force constants"):
            read_calculation(tmp_path)
        (tmp_path / name).unlink()
    write_FORCE_CONSTANTS(np.zeros((2, 2, 3, 3)), tmp_path / "FORCE_CONSTANTS")
    with pytest.raises(FramesError, match="do not fit a supercell of"):
        read_calculation(tmp_path)


def test_several_yaml_are_named_and_one_is_asked_for(
    calculation: Callable[..., Phonopy], tmp_path: Path
) -> None:
    phonon = calculation()
    for name in ("phonopy_a.yaml", "phonopy_b.yaml"):
        phonon.save(tmp_path / name)
    with pytest.raises(
        FramesError, match=r"several phonopy yaml \(phonopy_a.yaml, phonopy_b.yaml\)"
    ):
        read_calculation(tmp_path)
    assert len(find_calculations([tmp_path])) == 2
    phonon.save(tmp_path / "phonopy_params.yaml", compression=True)
    assert read_calculation(tmp_path).files[0].name == "phonopy_params.yaml.xz"
    assert [path.name for path in find_calculations([tmp_path])] == ["phonopy_params.yaml.xz"]
    (tmp_path / "phonons.json").write_text("{}")
    assert find_calculations([tmp_path]) == []
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FramesError, match="holds no phonon calculation of phonopy"):
        read_calculation(empty)


@pytest.mark.parametrize(
    ("first_line", "factor"),
    [
        ("14.400", 14.4),
        ("# epsilon and Z* of atoms 1 2", 14.39965),
        ("default value", 14.39965),
        ("14.4 0.5 0.3", 14.4),
        ("2.0", 14.39965),
        ("51.422", 14.39965),
        ("2000", 14.39965),
    ],
)
def test_the_factor_of_born_is_the_same_constant_in_any_units(
    first_line: str, factor: float, tmp_path: Path, rocksalt: Structure
) -> None:
    (tmp_path / "BORN").write_text(f"{first_line}\n{CHARGES}")
    assert read_born(tmp_path / "BORN", rocksalt).factor == pytest.approx(factor, rel=1e-5)


def test_a_factor_of_no_calculator_is_refused(tmp_path: Path, rocksalt: Structure) -> None:
    (tmp_path / "BORN").write_text(f"5.0\n{CHARGES}")
    with pytest.raises(InputError, match=r"the factor 5 of .*BORN is e²/4πε₀ in the units of no"):
        read_born(tmp_path / "BORN", rocksalt)


def test_cells_that_do_not_belong_together_are_refused(
    calculation: Callable[..., Phonopy], tmp_path: Path
) -> None:
    write_disp(calculation(), tmp_path)
    yaml = tmp_path / "phonopy_disp.yaml"
    whole = yaml.read_text()
    head, _, tail = whole.partition("supercell_matrix:\n")
    rows = "- [   1,   0,   0 ]\n- [   0,   1,   0 ]\n- [   0,   0,   1 ]\n"
    assert tail.startswith(rows)
    cases = {
        "2, 0, 0": "supercell of 8 atoms, and its matrix makes 16",
        "-1, 0, 0": "needs a positive determinant",
        "0.5, 0, 0": "needs a positive determinant|integers only",
        "1, 0": "phonopy yaml",
    }
    for row, reason in cases.items():
        changed = f"- [ {row} ]\n- [ 0, 1, 0 ]\n- [ 0, 0, 1 ]\n{tail[len(rows) :]}"
        yaml.write_text(f"{head}supercell_matrix:\n{changed}")
        with pytest.raises(FramesError, match=reason) as refused:
            read_calculation(tmp_path)
        assert "\n" not in str(refused.value)
    before, _, _ = whole.partition("\nsupercell:")
    yaml.write_text(before.replace(rows, rows.replace(" 1", " 9999"), 1))
    with pytest.raises(FramesError, match=r"cannot be read|need about"):
        read_calculation(tmp_path)


@pytest.mark.parametrize("damage", ["cut off", "no compression at all"])
def test_a_damaged_compressed_yaml_is_one_sentence(
    damage: str, calculation: Callable[..., Phonopy], tmp_path: Path
) -> None:
    calculation().save(tmp_path / "phonopy_params.yaml")
    plain = (tmp_path / "phonopy_params.yaml").read_bytes()
    for suffix, module in (("xz", lzma), ("gz", gzip), ("bz2", bz2)):
        path = tmp_path / f"phonopy_params.yaml.{suffix}"
        packed = module.compress(plain)
        path.write_bytes(packed)
        assert read_calculation(path).dataset is not None
        path.write_bytes(packed[:200] if damage == "cut off" else b"phonopy: {}\n")
        reason = "cut off or damaged" if damage == "cut off" else "no unit cell and supercell"
        with pytest.raises(FramesError, match=reason):
            read_calculation(path)
        path.write_bytes(plain)
        assert read_calculation(path).dataset is not None


def test_too_few_displacements_give_no_force_constants(
    calculation: Callable[..., Phonopy], settings: PhononSettings, source: Source, tmp_path: Path
) -> None:
    phonon = calculation()
    write_disp(phonon, tmp_path)
    dataset = {**phonon.dataset, "first_atoms": phonon.dataset["first_atoms"][:1]}
    write_FORCE_SETS(dataset, tmp_path / "FORCE_SETS")
    assert len(read_displacement_frames(tmp_path, "run")) == 1
    with pytest.raises(FramesError, match="give no force constants"):
        read_phonopy(tmp_path, settings, source)


def test_a_file_that_is_named_counts_before_the_forces_of_the_yaml(
    calculation: Callable[..., Phonopy], tmp_path: Path
) -> None:
    phonon = calculation()
    phonon.produce_force_constants()
    phonon.save(tmp_path / "phonopy_params.yaml")
    constants = tmp_path / "FORCE_CONSTANTS"
    write_FORCE_CONSTANTS(2 * phonon.force_constants, constants, phonon.primitive.p2s_map)
    assert read_calculation(tmp_path).dataset is not None
    found = read_calculation(constants)
    assert [path.name for path in found.files] == ["phonopy_params.yaml", "FORCE_CONSTANTS"]
    assert found.dataset is None
    rows = found.force_constants[phonon.primitive.p2s_map]
    np.testing.assert_allclose(rows, 2 * phonon.force_constants, atol=1e-9)
    dataset = phonon.dataset
    for entry in dataset["first_atoms"]:
        entry["forces"] = 3 * np.array(entry["forces"])
    write_FORCE_SETS(dataset, tmp_path / "FORCE_SETS")
    named = read_calculation(tmp_path / "FORCE_SETS").dataset["first_atoms"][0]["forces"]
    own = read_calculation(tmp_path).dataset["first_atoms"][0]["forces"]
    np.testing.assert_allclose(named, 3 * own, atol=1e-8)
