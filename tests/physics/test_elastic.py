from __future__ import annotations

import numpy as np
import pytest
from ase.optimize import BFGS
from pymatgen.analysis.elasticity import ElasticTensor
from pymatgen.core import Lattice, Structure, SymmOp
from scipy.spatial.transform import Rotation

from phonotune.errors import LabelError
from phonotune.physics.elastic import (
    ElasticSettings,
    analyse_stresses,
    internal_softening,
    plan_strains,
)
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.elastic import ElasticDocument
from phonotune.units import EV_PER_CUBIC_ANGSTROM_IN_GPA
from tests.physics.conftest import AseEvaluator, emt, silicon_potential, to_atoms


def elastic(structure: Structure, evaluator: AseEvaluator, source: Source) -> ElasticDocument:
    plan = plan_strains(structure, ElasticSettings())
    return analyse_stresses(plan, evaluator(plan.structures), source)


def finite_difference_c44(structure: Structure, evaluator: AseEvaluator, relax: bool) -> float:
    """Return C44 in GPa from ± shear of the cell and, if asked, a real relaxation of the ions."""
    stresses = []
    for sign in (1, -1):
        shear = np.eye(3)
        shear[1, 2] = shear[2, 1] = sign * 0.0025
        atoms = to_atoms(structure)
        atoms.set_cell(atoms.cell @ shear, scale_atoms=True)
        atoms.calc = evaluator.calculator
        if relax:
            BFGS(atoms, logfile=None).run(fmax=1e-6, steps=200)
        stresses.append(atoms.get_stress(voigt=False)[1, 2])
    return (stresses[0] - stresses[1]) / (4 * 0.0025) * EV_PER_CUBIC_ANGSTROM_IN_GPA


def test_linear_response_relaxes_ions_as_a_relaxation_does(
    silicon: Structure, source: Source
) -> None:
    document = elastic(silicon, silicon_potential(), source)
    clamped = finite_difference_c44(silicon, silicon_potential(), relax=False)
    relaxed = finite_difference_c44(silicon, silicon_potential(), relax=True)
    assert relaxed < 0.7 * clamped
    assert document.clamped_tensor[3][3] == pytest.approx(clamped, rel=2e-3)
    assert document.elastic_tensor[3][3] == pytest.approx(relaxed, rel=2e-3)
    assert document.born_stable
    assert not document.internal_instability


def test_silicon_has_the_published_constants_of_its_potential(
    silicon: Structure, source: Source
) -> None:
    """Cowley, PRL 60, 2379 (1988): 151.4, 76.4, 56.4 GPa for Stillinger and Weber's silicon."""
    tensor = np.array(elastic(silicon, silicon_potential(), source).elastic_tensor)
    np.testing.assert_allclose(
        [tensor[0, 0], tensor[0, 1], tensor[3, 3]], [151.4, 76.4, 56.4], rtol=0.01
    )


def test_the_tensor_turns_with_the_crystal(silicon: Structure, source: Source) -> None:
    turn = Rotation.from_rotvec([0.3, -0.5, 0.9]).as_matrix()
    turned = silicon.copy().apply_operation(SymmOp.from_rotation_and_translation(turn))
    own = elastic(silicon, silicon_potential(), source)
    other = elastic(turned, silicon_potential(), source)
    expected = ElasticTensor.from_voigt(own.elastic_tensor).rotate(turn)
    np.testing.assert_allclose(other.elastic_tensor, expected.voigt, atol=0.2)
    assert other.bulk_modulus == pytest.approx(own.bulk_modulus, rel=1e-3)


def test_the_tensor_is_symmetric_and_cubic(copper: Structure, source: Source) -> None:
    tensor = np.array(elastic(copper, emt(), source).elastic_tensor)
    np.testing.assert_allclose(tensor, tensor.T, atol=1e-9)
    c11, c12, c44 = tensor[0, 0], tensor[0, 1], tensor[3, 3]
    expected = np.diag([c11 - c12] * 3 + [c44] * 3)
    expected[:3, :3] += c12
    np.testing.assert_allclose(tensor, expected, atol=1e-6)


def test_one_atom_a_cell_has_nothing_to_relax(copper: Structure, source: Source) -> None:
    document = elastic(copper, emt(), source)
    np.testing.assert_allclose(document.elastic_tensor, document.clamped_tensor, atol=1e-9)


def test_the_bulk_modulus_is_the_curvature_of_the_energy(copper: Structure, source: Source) -> None:
    document = elastic(copper, emt(), source)
    scales = 1 + np.linspace(-0.004, 0.004, 5)
    cells = []
    for scale in scales:
        cell = copper.copy()
        cell.scale_lattice(copper.volume * scale)
        cells.append(cell)
    energies = [a.energy for a in emt()(cells)]
    curvature = 2 * np.polyfit(scales * copper.volume, energies, 2)[0]
    expected = copper.volume * curvature * EV_PER_CUBIC_ANGSTROM_IN_GPA
    assert document.bulk_modulus == pytest.approx(expected, rel=0.01)


def test_the_residual_pressure_of_a_squeezed_crystal_is_positive(source: Source) -> None:
    squeezed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.50), ["Cu"], [[0, 0, 0]])
    document = elastic(squeezed, emt(), source)
    pressure = -np.trace(emt()([squeezed])[0].stress) / 3 * EV_PER_CUBIC_ANGSTROM_IN_GPA
    assert document.residual_pressure == pytest.approx(pressure)
    assert pressure > 5


def test_symmetry_reduces_the_strains_and_a_low_symmetry_crystal_agrees_with_itself(
    source: Source,
) -> None:
    cubic = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.75), ["Cu", "Au"], [[0, 0.5, 0.5], [0, 0, 0]]
    )
    few = plan_strains(cubic, ElasticSettings())
    broken = cubic.copy()
    broken.translate_sites([0], [2e-4, 1e-4, 3e-4])
    many = plan_strains(broken, ElasticSettings())
    assert len(few.strains) < len(many.strains) == 24
    a = analyse_stresses(few, emt()(few.structures), source)
    b = analyse_stresses(many, emt()(many.structures), source)
    np.testing.assert_allclose(a.elastic_tensor, b.elastic_tensor, atol=0.5)


def test_a_mode_without_restoring_force_is_told_only_where_strain_feels_it() -> None:
    pair = np.kron(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.diag([2.0, 2.0, -1.0]))
    feels_z, feels_x = np.zeros((6, 6)), np.zeros((6, 6))
    feels_z[2, 0], feels_z[5, 0] = 1.0, -1.0
    feels_x[0, 0], feels_x[3, 0] = 1.0, -1.0
    softening, unstable = internal_softening(pair, feels_z)
    assert unstable
    assert softening[0, 0] == pytest.approx(-1.0)
    softening, unstable = internal_softening(pair, feels_x)
    assert not unstable
    assert softening[0, 0] == pytest.approx(0.5)


def test_a_missing_stress_is_named(copper: Structure, source: Source) -> None:
    plan = plan_strains(copper, ElasticSettings())
    answers = emt()(plan.structures)
    answers[1] = Evaluation(answers[1].energy, answers[1].forces)
    with pytest.raises(LabelError, match="no stress for frames: 1"):
        analyse_stresses(plan, answers, source)


def test_the_compliance_is_the_inverse_of_the_tensor(silicon: Structure, source: Source) -> None:
    document = elastic(silicon, silicon_potential(), source)
    product = np.array(document.elastic_tensor) @ np.array(document.compliance_tensor) / 1000
    np.testing.assert_allclose(product, np.eye(6), atol=1e-10)


def test_the_averages_of_a_cubic_crystal_follow_from_its_three_constants(
    silicon: Structure, source: Source
) -> None:
    document = elastic(silicon, silicon_potential(), source)
    c11, c12, c44 = (document.elastic_tensor[i][j] for i, j in ((0, 0), (0, 1), (3, 3)))
    zener = 2 * c44 / (c11 - c12)
    expected = 1.2 * (np.sqrt(zener) - 1 / np.sqrt(zener)) ** 2
    assert document.universal_anisotropy == pytest.approx(expected, rel=1e-6)
    bulk, shear = document.bulk_modulus, document.shear_modulus
    assert document.young_modulus == pytest.approx(9 * bulk * shear / (3 * bulk + shear))
    assert document.poisson_ratio == pytest.approx(document.young_modulus / (2 * shear) - 1)


def test_an_unstable_crystal_has_no_polycrystal(source: Source) -> None:
    """Body-centred copper: C11 < C12, the way to the face-centred lattice."""
    cell = Structure.from_spacegroup("Im-3m", Lattice.cubic(2.85), ["Cu"], [[0, 0, 0]])
    document = elastic(cell, emt(), source)
    assert document.elastic_tensor[0][0] < document.elastic_tensor[0][1]
    assert not document.born_stable
    assert document.young_modulus is document.poisson_ratio is None
    assert document.universal_anisotropy is None
    assert document.compliance_tensor is not None
