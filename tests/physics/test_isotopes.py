"""Frequencies of isotopes of the rocksalt lattice, whose forces know only elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from phonopy import Phonopy
from phonopy.file_IO import write_FORCE_SETS
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.crystals import crystal_difference
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.document import phonopy_of
from phonotune.physics.phonon.files import (
    full_force_constants,
    read_phonopy,
    write_phonopy_files,
)
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.volumes import phonons_at_volumes
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.physics.supercell import as_matrix, displaced, make_supercell
from phonotune.physics.symmetry import space_group, standard_primitive
from phonotune.physics.wells.double_well import WellSettings, analyse_well, plan_well
from phonotune.schemas.base import Source
from phonotune.schemas.masses import isotope_masses, same_masses, with_masses
from phonotune.schemas.phonon import PhononDocument
from tests.physics.conftest import DOUBLE, HARMONIC, RocksaltWell

HEAVY = 2 * 22.98976928


@pytest.fixture(scope="module")
def settings(small_settings: PhononSettings) -> PhononSettings:
    return small_settings.model_copy(update={"supercell_matrix": as_matrix([1, 1, 1])})


@pytest.fixture(scope="module")
def all_heavy(rocksalt: Structure) -> Structure:
    return with_masses(rocksalt, [HEAVY] * 4 + [None] * 4)


@pytest.fixture(scope="module")
def one_heavy(rocksalt: Structure) -> Structure:
    return with_masses(rocksalt, [HEAVY] + [None] * 7)


def phonons(
    structure: Structure, settings: PhononSettings, engine: RocksaltWell = HARMONIC
) -> PhononDocument:
    plan = plan_displacements(structure, settings)
    return analyse_forces(
        plan, engine(plan.structures), Source(role="reference", evaluator="a toy")
    )


def test_an_isotope_everywhere_changes_frequencies_and_nothing_else(
    rocksalt: Structure, all_heavy: Structure, settings: PhononSettings
) -> None:
    plain, heavy = phonons(rocksalt, settings), phonons(all_heavy, settings)
    np.testing.assert_array_equal(full_force_constants(plain), full_force_constants(heavy))
    assert heavy.primitive_matrix == plain.primitive_matrix
    assert heavy.n_displacements == plain.n_displacements
    k, chlorine = HARMONIC.total_curvature, 35.453
    for document, sodium in ((plain, HEAVY / 2), (heavy, HEAVY)):
        reduced = sodium * chlorine / (sodium + chlorine)
        gamma = document.data.arrays()["commensurate_frequencies"][0]
        assert gamma[-1] == pytest.approx(15.633302 * np.sqrt(k / reduced), rel=1e-5)
    assert heavy.thermal_300.entropy > plain.thermal_300.entropy
    assert heavy.material_id != plain.material_id


def test_an_isotope_at_one_site_lowers_the_symmetry_of_frequencies_alone(
    rocksalt: Structure, one_heavy: Structure, settings: PhononSettings, tmp_path: Path
) -> None:
    plan = plan_displacements(one_heavy, settings)
    assert len(plan.structures) == len(plan_displacements(rocksalt, settings).structures)
    assert all(isotope_masses(structure) == [] for structure in plan.structures)
    document = phonons(one_heavy, settings)
    assert document.primitive_matrix == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    constants = full_force_constants(document)
    np.testing.assert_allclose(
        constants, full_force_constants(phonons(rocksalt, settings)), atol=1e-9
    )

    # all modes of the supercell at Γ, without any symmetry
    sodium, chlorine = HEAVY / 2, 35.453
    masses = np.repeat(np.array([HEAVY] + [sodium] * 3 + [chlorine] * 4), 3)
    dynamical = constants.swapaxes(1, 2).reshape(24, 24) / np.sqrt(np.outer(masses, masses))
    squares = np.linalg.eigvalsh(dynamical)
    expected = 15.633302 * np.sign(squares) * np.sqrt(np.abs(squares))
    found = document.data.arrays()["commensurate_frequencies"][0]
    np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-3)

    # the mesh reduced by symmetry gives the mean of the whole mesh
    arrays = document.data.arrays()
    mean = np.average(arrays["mesh_frequencies"].mean(axis=1), weights=arrays["mesh_weights"])
    phonon = phonopy_of(document)
    whole = phonon.run_mesh(list(document.mesh), is_gamma_center=True, is_mesh_symmetry=False)
    assert mean == pytest.approx(whole.frequencies.mean(), abs=1e-6)

    params, _ = write_phonopy_files(document, tmp_path)
    again = read_phonopy(params, settings, document.source)
    assert same_masses(again.unitcell, one_heavy)
    np.testing.assert_allclose(
        again.data.arrays()["mesh_frequencies"], arrays["mesh_frequencies"], atol=1e-4
    )


def test_a_reference_of_phonopy_keeps_the_masses_of_its_yaml(
    rocksalt: Structure, one_heavy: Structure, settings: PhononSettings, tmp_path: Path
) -> None:
    """Displacements reduced by the symmetry of the elements suffice, also where masses break it."""
    phonon: Phonopy = phonopy_of(phonons(rocksalt, settings))
    masses = phonon.unitcell.masses
    masses[0] = HEAVY
    own = Phonopy(phonon.unitcell.copy(), np.eye(3, dtype=int), primitive_matrix="P")
    own.masses = masses
    own.dataset = phonon.dataset
    kept = {"force_sets": False, "force_constants": False, "displacements": True}
    own.save(tmp_path / "phonopy_disp.yaml", settings=kept)
    write_FORCE_SETS(phonon.dataset, tmp_path / "FORCE_SETS")
    found = read_phonopy(tmp_path, settings, Source(role="reference", evaluator="a toy"))
    assert same_masses(found.unitcell, one_heavy)
    expected = phonons(one_heavy, settings)
    np.testing.assert_allclose(
        found.data.arrays()["mesh_frequencies"],
        expected.data.arrays()["mesh_frequencies"],
        atol=1e-4,
    )


def test_masses_follow_the_sites(rocksalt: Structure, one_heavy: Structure) -> None:
    doubled = make_supercell(one_heavy, as_matrix([2, 1, 1]))
    assert isotope_masses(doubled) == [HEAVY] * 2 + [None] * 14
    moved = displaced(doubled, np.full((16, 3), 0.01))
    assert same_masses(moved, doubled)
    primitive = standard_primitive(doubled, 1e-3)
    assert sorted(map(str, isotope_masses(primitive))) == [str(HEAVY)] + ["None"] * 7
    assert space_group(one_heavy, 1e-3).symbol == "Pm-3m"
    assert space_group(rocksalt, 1e-3).symbol == "Fm-3m"
    (relaxed,) = relax_batch(
        HARMONIC, [moved], RelaxSettings(relax_cell=False, symprec=None, max_steps=2)
    )
    assert same_masses(relaxed.final, doubled)


def test_a_well_keeps_its_depth_and_widens_with_the_mass(
    rocksalt: Structure, all_heavy: Structure, settings: PhononSettings
) -> None:
    found = []
    for structure in (rocksalt, all_heavy):
        document = phonons(structure, settings, DOUBLE)
        plan = plan_well(structure, document, WellSettings(max_displacement=0.3))
        found.append(analyse_well(plan, DOUBLE(plan.structures), document.source))
    light, heavy = found
    sodium, chlorine = HEAVY / 2, 35.453
    ratio = 2 * (sodium + chlorine) / (HEAVY + chlorine)
    assert heavy.depth == pytest.approx(light.depth, rel=1e-3)
    assert heavy.q0 == pytest.approx(np.sqrt(ratio) * light.q0, rel=1e-3)
    with pytest.raises(InputError, match=r"other masses than the crystal: Na 45.9795 amu"):
        plan_well(rocksalt, phonons(all_heavy, settings, DOUBLE), WellSettings())


def test_phonons_at_several_volumes_have_the_masses(
    all_heavy: Structure, settings: PhononSettings
) -> None:
    plan = plan_displacements(all_heavy, settings)
    forces = np.array([answer.forces for answer in HARMONIC(plan.structures)])
    found = phonons_at_volumes([plan, plan], [forces, forces], 5.0)
    assert list(found.masses) == [HEAVY, 35.453]


def test_other_masses_are_not_compared(
    rocksalt: Structure, all_heavy: Structure, settings: PhononSettings
) -> None:
    ours, theirs = (PropertySet.of([phonons(s, settings)]) for s in (rocksalt, all_heavy))
    with pytest.raises(
        InputError,
        match=r"masses, natural and Na 45.9795 amu \(4 of 4 atoms\) \(use --masses natural",
    ):
        compare(ours, [theirs])


def test_crystals_differ_in_words_with_values(rocksalt: Structure) -> None:
    def scaled(factor: float) -> Structure:
        cell = rocksalt.copy()
        cell.scale_lattice(rocksalt.volume * factor**3)
        return cell

    turned = rocksalt.copy()
    turned.lattice = type(rocksalt.lattice)(rocksalt.lattice.matrix @ rotation(30.0))
    permuted = Structure.from_sites([rocksalt[i] for i in (0, 4, 1, 2, 3, 5, 6, 7)])
    moved = rocksalt.copy()
    moved.translate_sites([3], [0.01, 0, 0])
    other = rocksalt.copy()
    other.replace_species({"Na": "K"})
    cases = {
        "other crystals, NaCl and KCl": other,
        "cells of 8 and 16 atoms": make_supercell(rocksalt, as_matrix([2, 1, 1])),
        "cells of 5.600 5.600 5.600 Å and 5.656 5.656 5.656 Å": scaled(1.01),
        "turned against each other by 30.0°": turned,
        "atoms in another order, from atom 2 on": permuted,
        "positions that differ by up to 0.0560 Å": moved,
    }
    for words, second in cases.items():
        assert words in crystal_difference(rocksalt, second)
    assert crystal_difference(rocksalt, scaled(1 + 1e-6)) == ""


def rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
