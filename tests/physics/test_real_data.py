"""Against real VASP forces and phonopy's own analysis of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import phonopy
import pytest

from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.phonon.born import read_born
from phonotune.physics.phonon.cells import to_structure
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.files import read_force_constants, read_phonopy
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source

pytestmark = pytest.mark.real_data

VASP = Source(role="reference", evaluator="vasp")


@pytest.mark.parametrize(("folder", "centring"), [("mgo-vasp", "F"), ("catio3-vasp", "P")])
def test_a_folder_gives_the_force_constants_that_phonopy_finds(
    folder: str, centring: str, real_data_dir: Path
) -> None:
    theirs = phonopy.load(
        real_data_dir / folder / "phonopy_disp.yaml",
        force_sets_filename=real_data_dir / folder / "FORCE_SETS",
        is_nac=False,
        primitive_matrix=centring,
        is_compact_fc=False,
    )
    supercell, constants = read_force_constants(real_data_dir / folder)
    assert len(supercell) == len(theirs.supercell)
    np.testing.assert_allclose(constants, theirs.force_constants, atol=2e-3)


@pytest.mark.parametrize(("folder", "centring"), [("mgo-vasp", "F"), ("catio3-vasp", "P")])
def test_forces_of_vasp_give_the_phonons_that_phonopy_finds(
    folder: str, centring: str, real_data_dir: Path, tmp_path: Path
) -> None:
    theirs = phonopy.load(
        real_data_dir / folder / "phonopy_disp.yaml",
        force_sets_filename=real_data_dir / folder / "FORCE_SETS",
        is_nac=False,
        primitive_matrix=centring,
    )
    theirs.save(tmp_path / "params.yaml")
    document = read_phonopy(tmp_path / "params.yaml", PhononSettings(mesh_density=20.0), VASP)
    mesh = theirs.run_mesh(list(document.mesh), is_gamma_center=True)
    np.testing.assert_allclose(
        np.sort(mesh.frequencies.ravel()),
        np.sort(document.data.arrays()["mesh_frequencies"].ravel()),
        atol=0.01,
    )


def test_mgo_planned_here_is_mgo_planned_by_phonopy(real_data_dir: Path) -> None:
    folder = real_data_dir / "mgo-vasp"
    theirs = phonopy.load(
        folder / "phonopy_disp.yaml",
        force_sets_filename=folder / "FORCE_SETS",
        is_nac=False,
        primitive_matrix="F",
    )
    structure = to_structure(theirs.unitcell)
    settings = PhononSettings(
        supercell_matrix=tuple(map(tuple, theirs.supercell_matrix.T.tolist())), mesh_density=20.0
    )
    plan = plan_displacements(structure, settings)
    forces = [d["forces"] for d in theirs.dataset["first_atoms"]]
    np.testing.assert_array_equal(plan.sites, [d["number"] for d in theirs.dataset["first_atoms"]])
    document = analyse_forces(plan, [Evaluation(0.0, f) for f in forces], VASP)
    mesh = theirs.run_mesh(list(document.mesh), is_gamma_center=True)
    np.testing.assert_allclose(
        mesh.frequencies, document.data.arrays()["mesh_frequencies"], atol=0.01
    )


def test_two_independent_datasets_of_nacl_agree(real_data_dir: Path) -> None:
    folder = real_data_dir / "nacl-vasp"
    settings = PhononSettings(mesh_density=20.0)
    sets = [
        PropertySet.of(
            [
                read_phonopy(
                    folder / f"phonopy_params_NaCl-{kind}.yaml.xz", settings, VASP, with_nac=False
                )
            ]
        )
        for kind in ("fd", "rd")
    ]
    mae = compare(sets[0], sets[1:]).rows[0].deviations.frequency_mae
    assert 0 < mae < 0.03


def test_born_charges_of_nacl_split_its_optical_modes_at_gamma(real_data_dir: Path) -> None:
    folder = real_data_dir / "nacl-vasp"
    document = read_phonopy(
        folder / "phonopy_params_NaCl-fd.yaml.xz", PhononSettings(mesh_density=20.0), VASP
    )
    born = read_born(folder / "BORN", document.unitcell)
    arrays = document.data.arrays()
    np.testing.assert_allclose(born.charges, arrays["born"], atol=1e-6)
    at_gamma = arrays["band_frequencies"][0]
    assert document.has_nac
    assert at_gamma[5] - at_gamma[4] > 2.0
    assert at_gamma[4] == pytest.approx(at_gamma[3], abs=1e-3)
