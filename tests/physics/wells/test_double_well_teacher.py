"""Wells of a real model: cubic BaTiO3 on the shipped reference surface."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.interpolate import CubicHermiteSpline

from phonotune.models.evaluators import load_evaluator
from phonotune.models.records import find_model
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.wells.double_well import WellSettings, analyse_well, plan_well
from phonotune.ports import Evaluator
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument

SITES = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


@pytest.fixture(scope="module")
def barium_titanate() -> Structure:
    return Structure(Lattice.cubic(4.0), ["Ba", "Ti", "O", "O", "O"], SITES)


@pytest.fixture(scope="module")
def teacher() -> Evaluator:
    return load_evaluator(find_model("teacher"))


@pytest.fixture(scope="module")
def phonons(barium_titanate: Structure, teacher: Evaluator, source: Source) -> PhononDocument:
    doubled = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
    settings = PhononSettings(supercell_matrix=doubled, mesh_density=10.0)
    plan = plan_displacements(barium_titanate, settings)
    return analyse_forces(plan, teacher(plan.structures), source)


def test_curvatures_of_all_directions_are_the_frequency_to_two_percent(
    barium_titanate: Structure, teacher: Evaluator, phonons: PhononDocument, source: Source
) -> None:
    plan = plan_well(barium_titanate, phonons, WellSettings(q=(0, 0, 0), directions=("all",)))
    document = analyse_well(plan, teacher(plan.structures), source)
    assert {part.direction for part in document.directions} == {"a00", "aa0", "aaa"}
    for part in document.directions:
        assert part.has_double_well
        assert part.curvature_frequency == pytest.approx(document.mode_frequency, rel=0.02)
        assert part.fit_residual < 0.01 * part.depth


@pytest.mark.parametrize("q", [(0, 0, 0), (0.5, 0, 0), (0.5, 0.5, 0)])
def test_eleven_points_give_the_depth_that_a_dense_spline_gives(
    q: tuple[float, float, float],
    barium_titanate: Structure,
    teacher: Evaluator,
    phonons: PhononDocument,
    source: Source,
) -> None:
    """The dense grid ends at a third of the range: 0.13 Å, beyond the minimum."""
    plan = plan_well(barium_titanate, phonons, WellSettings(q=q))
    document = analyse_well(plan, teacher(plan.structures), source)
    assert document.curvature_frequency == pytest.approx(document.mode_frequency, rel=0.02)
    near = plan_well(
        barium_titanate, phonons, WellSettings(q=q, max_displacement=0.13, n_amplitudes=25)
    )
    arrays = analyse_well(near, teacher(near.structures), source).data.arrays()
    spline = CubicHermiteSpline(arrays["amplitudes"], arrays["energies"], -arrays["forces"])
    grid = np.linspace(0, arrays["amplitudes"][-1], 20001)
    lowest = int(spline(grid).argmin())
    assert document.depth == pytest.approx(-spline(grid)[lowest], rel=0.005)
    assert document.q0 == pytest.approx(grid[lowest], rel=0.005)
