from __future__ import annotations

from pathlib import Path

import numpy as np
import phonopy
import pytest
from phonopy.file_IO import read_force_constants_hdf5
from pymatgen.core import Structure

from phonotune.errors import FramesError, InputError
from phonotune.physics.phonon.born import read_born
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.document import phonopy_of
from phonotune.physics.phonon.files import read_phonopy, write_phonopy_files
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges, PhononDocument
from tests.physics.conftest import RocksaltWell


@pytest.fixture(scope="module")
def polar(rocksalt: Structure, small_settings: PhononSettings, source: Source) -> PhononDocument:
    plan = plan_displacements(rocksalt, small_settings)
    born = BornCharges(charges=np.array([np.eye(3), -np.eye(3)]), dielectric=2.5 * np.eye(3))
    return analyse_forces(plan, RocksaltWell(2.0, 0.0)(plan.structures), source, born=born)


def test_phonopy_loads_what_is_written(polar: PhononDocument, tmp_path: Path) -> None:
    params, constants = write_phonopy_files(polar, tmp_path / "out")
    phonon = phonopy.load(params, force_constants_filename=constants)
    assert phonon.nac_params is not None
    mesh = phonon.run_mesh(list(polar.mesh), is_gamma_center=True)
    np.testing.assert_allclose(mesh.frequencies, polar.data.arrays()["mesh_frequencies"], atol=1e-6)
    stored = read_force_constants_hdf5(constants)
    np.testing.assert_array_equal(stored, polar.data.arrays()["force_constants"])


def test_phonopy_refits_the_same_phonons_from_the_written_forces(
    polar: PhononDocument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, constants = write_phonopy_files(polar, tmp_path)
    constants.unlink()
    monkeypatch.chdir(tmp_path)
    mesh = phonopy.load(params).run_mesh(list(polar.mesh), is_gamma_center=True)
    np.testing.assert_allclose(mesh.frequencies, polar.data.arrays()["mesh_frequencies"], atol=1e-4)


def test_a_written_yaml_is_read_back(
    polar: PhononDocument, tmp_path: Path, small_settings: PhononSettings, source: Source
) -> None:
    params, _ = write_phonopy_files(polar, tmp_path)
    again = read_phonopy(params, small_settings, source)
    assert again.supercell_matrix == polar.supercell_matrix
    assert again.n_displacements == polar.n_displacements
    assert again.has_nac
    np.testing.assert_allclose(
        again.data.arrays()["mesh_frequencies"], polar.data.arrays()["mesh_frequencies"], atol=1e-4
    )
    plain = read_phonopy(params, small_settings, source, with_nac=False)
    assert not plain.has_nac


def test_random_displacements_are_fitted_by_symfc(
    rocksalt: Structure, small_settings: PhononSettings, source: Source, tmp_path: Path
) -> None:
    plan = plan_displacements(rocksalt, small_settings)
    engine = RocksaltWell(2.0, 0.0)
    reference = analyse_forces(plan, engine(plan.structures), source)
    phonon = phonopy_of(reference)
    phonon.dataset = None
    phonon.generate_displacements(distance=0.03, number_of_snapshots=2, random_seed=5)
    cells = [
        Structure(c.cell, list(c.symbols), c.scaled_positions)
        for c in phonon.supercells_with_displacements
    ]
    phonon.forces = np.array([a.forces for a in engine(cells)])
    phonon.save(tmp_path / "random.yaml", settings={"force_constants": False})
    document = read_phonopy(tmp_path / "random.yaml", small_settings, source)
    assert document.n_displacements == 2
    np.testing.assert_allclose(
        document.data.arrays()["mesh_frequencies"],
        reference.data.arrays()["mesh_frequencies"],
        atol=1e-3,
    )
    assert "displacements" in phonopy_of(document).dataset


def test_what_is_no_phonopy_yaml_is_refused(
    tmp_path: Path, small_settings: PhononSettings, source: Source
) -> None:
    for name, text in (("a.yaml", "hello"), ("b.yaml", "x: 1"), ("c.yaml", "a: [1")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=rf"{name} .*phonopy yaml"):
            read_phonopy(tmp_path / name, small_settings, source)
    with pytest.raises(InputError, match="does not exist"):
        read_phonopy(tmp_path / "none.yaml", small_settings, source)


def test_a_yaml_without_forces_is_refused(
    polar: PhononDocument, tmp_path: Path, small_settings: PhononSettings, source: Source
) -> None:
    phonon = phonopy_of(polar)
    phonon.save(tmp_path / "disp.yaml", settings={"force_sets": False, "force_constants": False})
    with pytest.raises(FramesError, match="no forces"):
        read_phonopy(tmp_path / "disp.yaml", small_settings, source)


def test_a_born_file_gives_one_tensor_an_atom(tmp_path: Path, rocksalt: Structure) -> None:
    unit, minus = "1 0 0 0 1 0 0 0 1", "-1 0 0 0 -1 0 0 0 -1"
    (tmp_path / "BORN").write_text(f"14.4\n2.5 0 0 0 2.5 0 0 0 2.5\n{unit}\n{minus}\n")
    born = read_born(tmp_path / "BORN", rocksalt)
    np.testing.assert_allclose(born.charges, [np.eye(3), -np.eye(3)], atol=1e-12)
    np.testing.assert_allclose(born.dielectric, 2.5 * np.eye(3))


def test_a_born_file_of_another_crystal_is_refused(tmp_path: Path, silicon: Structure) -> None:
    (tmp_path / "BORN").write_text("14.4\n1 0 0 0 1 0 0 0 1\n")
    with pytest.raises(InputError, match="does not fit Si"):
        read_born(tmp_path / "BORN", silicon)
    with pytest.raises(InputError, match="does not exist"):
        read_born(tmp_path / "NONE", silicon)
