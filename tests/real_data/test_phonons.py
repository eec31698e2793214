"""Phonons of real VASP forces against phonopy's own analysis, and NAC for models alike."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import phonopy
import pytest
from phonopy.file_IO import parse_BORN

from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.born import read_born
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.document import analyse_force_constants, phonopy_of
from phonotune.physics.phonon.files import read_phonopy, write_phonopy_files
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument

pytestmark = pytest.mark.real_data

VASP = Source(role="reference", evaluator="vasp")
MINI = Source(role="untuned", evaluator="mini")
SETTINGS = PhononSettings(mesh_density=20.0)
SPLITTING = 1e-6
"""THz."""
DIRECTIONS = [(1, 0, 0), (1, 1, 0), (1, 1, 1)]


def at_gamma(phonon, direction) -> np.ndarray:
    return phonon.run_qpoints([[0, 0, 0]], nac_q_direction=direction).frequencies[0]


@pytest.fixture(scope="module")
def nacl(real_data_dir: Path) -> Path:
    return real_data_dir / "nacl-vasp"


@pytest.fixture(scope="module")
def vasp_phonons(nacl: Path, tmp_path_factory) -> PhononDocument:
    """NaCl by VASP's forces, without the charges that the file holds."""
    return read_phonopy(nacl / "phonopy_params_NaCl-fd.yaml.xz", SETTINGS, VASP, False)


@pytest.fixture(scope="module")
def polar(nacl: Path, vasp_phonons: PhononDocument) -> dict[str, PhononDocument]:
    """NaCl with the charges of BORN: by VASP's forces, and by those of ``mini``."""
    crystal = vasp_phonons.unitcell
    settings = SETTINGS.model_copy(update={"supercell_matrix": vasp_phonons.supercell_matrix})
    born = read_born(nacl / "BORN", crystal)
    plan = plan_displacements(crystal, settings, born)
    dft = phonopy_of(vasp_phonons)
    model = load_evaluator("mini")(plan.structures)
    return {
        "vasp": analyse_force_constants(dft, crystal, settings, VASP, born),
        "mini": analyse_forces(plan, model, MINI, born),
    }


@pytest.mark.parametrize("who", ["vasp", "mini"])
def test_the_splitting_of_nacl_is_that_of_phonopy(
    who: str, nacl: Path, polar: dict[str, PhononDocument]
) -> None:
    document = polar[who]
    arrays = document.data.arrays()
    theirs = phonopy.Phonopy(
        phonopy_of(document).unitcell,
        supercell_matrix=2 * np.eye(3, dtype=int),
        primitive_matrix="F",
    )
    theirs.force_constants = phonopy_of(document).force_constants
    theirs.nac_params = parse_BORN(theirs.primitive, filename=nacl / "BORN")
    ours = phonopy_of(document)
    for direction in DIRECTIONS:
        found = at_gamma(ours, direction)
        np.testing.assert_allclose(found, at_gamma(theirs, direction), atol=SPLITTING)
        assert found[5] - found[4] > 1.5
    splitting = arrays["band_frequencies"][0]
    np.testing.assert_allclose(splitting[3:], at_gamma(theirs, (0, 1, 0))[3:], atol=1e-4)


def test_phonopy_loads_the_splitting_of_nacl_from_what_is_written(
    polar: dict[str, PhononDocument], tmp_path: Path
) -> None:
    document = polar["mini"]
    params, constants = write_phonopy_files(document, tmp_path)
    theirs = phonopy.load(params, force_constants_filename=constants, log_level=0)
    for direction in DIRECTIONS:
        np.testing.assert_allclose(
            at_gamma(phonopy_of(document), direction), at_gamma(theirs, direction), atol=SPLITTING
        )


@pytest.mark.parametrize("who", ["vasp", "mini"])
def test_acoustic_modes_of_nacl_vanish_at_gamma(who: str, polar: dict[str, PhononDocument]) -> None:
    arrays = polar[who].data.arrays()
    np.testing.assert_allclose(
        np.sort(np.abs(arrays["commensurate_frequencies"][0]))[:3], 0, atol=1e-3
    )


def test_calcium_titanate_has_the_imaginary_modes_that_phonopy_finds(
    real_data_dir: Path, tmp_path
) -> None:
    folder = real_data_dir / "catio3-vasp"
    theirs = phonopy.load(
        folder / "phonopy_disp.yaml",
        force_sets_filename=folder / "FORCE_SETS",
        is_nac=False,
        primitive_matrix="P",
        log_level=0,
    )
    theirs.symmetrize_force_constants(level=3)
    theirs.save(tmp_path / "params.yaml")
    assert_same_verdict(read_phonopy(tmp_path / "params.yaml", SETTINGS, VASP), theirs)


def test_strontium_titanate_has_the_imaginary_modes_that_phonopy_finds(
    real_data_dir: Path, tmp_path
) -> None:
    path = real_data_dir / "srtio3-vasp" / "phonopy_SrTiO3.yaml.xz"
    (tmp_path / "params.yaml").write_bytes(lzma.decompress(path.read_bytes()))
    theirs = phonopy.load(tmp_path / "params.yaml", log_level=0)
    theirs.symmetrize_force_constants(level=3)
    document = read_phonopy(path, SETTINGS, VASP)
    assert document.has_nac
    assert_same_verdict(document, theirs)
    assert not document.is_stable
    arrays = document.data.arrays()
    corner = np.flatnonzero((np.abs(arrays["mesh_q"]) == 0.5).all(axis=1))
    assert arrays["mesh_frequencies"][corner].min() < document.imaginary_threshold


def assert_same_verdict(document: PhononDocument, theirs: phonopy.Phonopy) -> None:
    threshold = document.imaginary_threshold
    q = document.data.arrays()["commensurate_q"]
    own = phonopy_of(document)
    np.testing.assert_allclose(own.primitive.cell, theirs.primitive.cell, atol=1e-8)
    found = document.data.arrays()["commensurate_frequencies"]
    wanted = theirs.run_qpoints(q).frequencies
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    np.testing.assert_array_equal(found < threshold, wanted < threshold)
    mesh = theirs.run_mesh(list(document.mesh), is_gamma_center=True).frequencies
    assert document.is_stable == (min(mesh.min(), wanted.min()) >= threshold)
