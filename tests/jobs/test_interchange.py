from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from emmet.core.phonon import PhononBSDOSDoc
from pymatgen.core import Lattice, Structure

from phonotune.errors import InputError
from phonotune.jobs.interchange import from_emmet, to_emmet
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.document import born_of
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import BornCharges, PhononDocument

SETTINGS = PhononSettings(
    supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)), mesh_density=15.0, max_temperature=300.0
)
SOURCE = Source(role="untuned", evaluator="mini")


@pytest.fixture(scope="module")
def polar() -> PhononDocument:
    """MgO by ``mini`` in 8 atoms, with charges of a typical size."""
    crystal = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    born = BornCharges(
        charges=np.array([1.97 * np.eye(3), -1.97 * np.eye(3)]), dielectric=3.38 * np.eye(3)
    )
    plan = plan_displacements(crystal, SETTINGS, born)
    return analyse_forces(plan, load_evaluator("mini")(plan.structures), SOURCE, born)


def assert_same_phonons(one: PhononDocument, other: PhononDocument) -> None:
    ours, theirs = one.data.arrays(), other.data.arrays()
    for name in ("mesh_frequencies", "band_frequencies", "dos_total", "heat_capacity"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6, err_msg=name)
    assert one.supercell_matrix == other.supercell_matrix
    assert one.primitive_matrix == other.primitive_matrix
    assert born_of(one) == born_of(other)


def test_phonons_come_back_from_emmet_after_a_database(polar: PhononDocument) -> None:
    stored = json.loads(to_emmet(polar, "mp-1265").model_dump_json())
    again = PhononBSDOSDoc.model_validate(stored)
    assert again.identifier == "mp-1265"
    assert_same_phonons(from_emmet(again, SETTINGS, SOURCE), polar)


def test_emmet_holds_the_bands_and_the_dos(polar: PhononDocument) -> None:
    document, arrays = to_emmet(polar), polar.data.arrays()
    np.testing.assert_array_equal(
        document.phonon_bandstructure.frequencies, arrays["band_frequencies"].T
    )
    np.testing.assert_array_equal(document.phonon_dos.projected_densities, arrays["dos_projected"])
    assert document.has_imaginary_modes == (not polar.is_stable)
    assert document.heat_capacity(300.0) == pytest.approx(polar.thermal_300.heat_capacity, rel=0.01)
    assert document.check_sum_rule_deviations.asr < 1e-8
    assert document.check_sum_rule_deviations.cnsr < 1e-8


def test_atomate2_force_constants_are_read_too(polar: PhononDocument) -> None:
    theirs = to_emmet(polar)
    atomate2 = SimpleNamespace(
        structure=theirs.structure,
        supercell_matrix=theirs.supercell_matrix,
        primitive_matrix=theirs.primitive_matrix,
        force_constants=SimpleNamespace(force_constants=theirs.force_constants),
        born=theirs.born,
        epsilon_static=theirs.epsilon_static,
    )
    assert_same_phonons(from_emmet(atomate2, SETTINGS, SOURCE), polar)


def test_compact_force_constants_are_read_too(polar: PhononDocument) -> None:
    theirs = to_emmet(polar).model_copy(
        update={"force_constants": polar.data.arrays()["force_constants"].tolist()}
    )
    assert_same_phonons(from_emmet(theirs, SETTINGS, SOURCE), polar)


def test_a_document_without_force_constants_is_refused(polar: PhononDocument) -> None:
    theirs = to_emmet(polar).model_copy(update={"force_constants": None})
    with pytest.raises(InputError, match="holds no force_constants; phonons"):
        from_emmet(theirs, SETTINGS, SOURCE)


def test_force_constants_of_another_supercell_are_refused(polar: PhononDocument) -> None:
    theirs = to_emmet(polar).model_copy(
        update={"force_constants": np.zeros((64, 64, 3, 3)).tolist()}
    )
    with pytest.raises(InputError, match="do not fit a supercell of 8 atoms"):
        from_emmet(theirs, SETTINGS, SOURCE)
