"""Linear response against what it stands for: strained cells whose ions are truly relaxed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase.optimize import BFGS
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from phonotune.models.calculator import load_calculator
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.elastic import ElasticSettings, analyse_stresses, plan_strains
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.ports import Evaluator
from phonotune.schemas.base import Source
from phonotune.schemas.elastic import ElasticDocument
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA
from tests.physics.conftest import to_atoms

STRAIN = 0.002
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
TIGHT = RelaxSettings(fmax=1e-5, max_steps=2000, relax_cell=False)

Stresses = Callable[[list[Structure]], list[NDArray[np.float64]]]


@pytest.fixture(scope="module")
def teacher() -> Evaluator:
    return load_evaluator("teacher", "cpu")


@pytest.fixture(scope="module")
def diamond(teacher: Evaluator) -> Structure:
    """Two atoms of silicon at the minimum of `teacher`."""
    start = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    settings = RelaxSettings(fmax=1e-5, max_steps=2000)
    return relax_batch(teacher, [start.get_primitive_structure()], settings)[0].final


@pytest.fixture(scope="module")
def tetragonal(teacher: Evaluator) -> Structure:
    """Ferroelectric BaTiO3 at the minimum of `teacher` with the symmetry P4mm."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.53], [0.5, 0.5, -0.03], [0.5, 0, 0.48], [0, 0.5, 0.48]]
    start = Structure(Lattice.tetragonal(3.99, 4.05), ["Ba", "Ti", "O", "O", "O"], sites)
    (relaxed,) = relax_batch(teacher, [start], RelaxSettings(fmax=1e-5, max_steps=3000))
    assert relaxed.converged
    assert relaxed.final.get_space_group_info(symprec=1e-3)[0] == "P4mm"
    return relaxed.final


def elastic(structure: Structure, evaluator: Evaluator) -> ElasticDocument:
    plan = plan_strains(structure, ElasticSettings(symprec=1e-4))
    source = Source(role="reference", evaluator="teacher")
    return analyse_stresses(plan, evaluator(plan.structures), source)


def difference_tensor(
    structure: Structure, stresses_of: Stresses, strained: tuple[tuple[int, int], ...] = VOIGT
) -> NDArray[np.float64]:
    """Return dσ/dε (GPa, Voigt, engineering shear), one column a strain, by central differences."""
    cells = []
    for row, column in strained:
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[row, column] += sign * STRAIN / 2
            strain[column, row] += sign * STRAIN / 2
            lattice = structure.lattice.matrix @ (np.eye(3) + strain)
            cells.append(Structure(lattice, structure.species, structure.frac_coords))
    stresses = stresses_of(cells)
    columns = [
        [(plus - minus)[pair] / (2 * STRAIN) for pair in VOIGT]
        for plus, minus in zip(stresses[::2], stresses[1::2], strict=True)
    ]
    return EV_PER_CUBIC_ANGSTROM_IN_GPA * np.array(columns).T


def relaxed_by_ase(cells: list[Structure]) -> list[NDArray[np.float64]]:
    stresses = []
    for cell in cells:
        atoms = to_atoms(cell)
        atoms.calc = load_calculator("teacher", "cpu")
        BFGS(atoms, logfile=None).run(fmax=1e-5, steps=300)
        stresses.append(atoms.get_stress(voigt=False))
    return stresses


def test_silicon_on_the_teacher_has_the_constants_of_an_independent_finite_difference(
    diamond: Structure, teacher: Evaluator
) -> None:
    document = elastic(diamond, teacher)
    own, other = np.array(document.elastic_tensor), difference_tensor(diamond, relaxed_by_ase)
    bulk = other[:3, :3].mean()
    assert document.bulk_modulus == pytest.approx(bulk, rel=0.01)
    for pair in ((0, 0), (0, 1), (3, 3)):
        assert own[pair] == pytest.approx(other[pair], rel=0.01)
    assert document.clamped_tensor[3][3] > 1.05 * own[3, 3]


def test_linear_response_equals_a_batch_of_relaxations_in_a_polar_crystal(
    tetragonal: Structure, teacher: Evaluator
) -> None:
    """Tetragonal BaTiO3: its internal strain under normal strains is large.

    A shear that turns the polarisation would drive a relaxation off this saddle towards R3m; linear
    response stays and says so.
    """

    def relaxed_in_a_batch(cells: list[Structure]) -> list[NDArray[np.float64]]:
        relaxations = relax_batch(teacher, cells, TIGHT)
        assert all(relaxation.converged for relaxation in relaxations)
        return [np.array(relaxation.evaluations[-1].stress) for relaxation in relaxations]

    document = elastic(tetragonal, teacher)
    clamped, own = np.array(document.clamped_tensor), np.array(document.elastic_tensor)
    other = difference_tensor(tetragonal, relaxed_in_a_batch, VOIGT[:3])
    assert np.abs(clamped - own)[:3, :3].max() > 0.1 * clamped.max()
    np.testing.assert_allclose(own[:, :3], other, atol=0.01 * other.max())
    assert document.internal_instability
