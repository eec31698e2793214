from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from phonotune.physics.phonon.bands import band_path, pretty_label
from phonotune.physics.phonon.cells import primitive_cell


@pytest.mark.parametrize(
    ("name", "printed"),
    [("GAMMA", "Γ"), ("X", "X"), ("SIGMA_0", "Σ₀"), ("W_2", "W₂"), ("DELTA_10", "Δ₁₀")],
)
def test_special_points_are_printed_in_greek(name: str, printed: str) -> None:
    assert pretty_label(name) == printed


def test_the_path_of_an_fcc_crystal_runs_through_its_special_points(copper: Structure) -> None:
    primitive = primitive_cell(copper, 1e-5)
    path = band_path(primitive, 1e-5, 0.01)
    assert path.labels[0] == ("Γ", "X")
    x = path.q[path.segments[0, 1]] @ primitive.lattice.inv_matrix.T
    assert np.linalg.norm(x) == pytest.approx(1 / 3.59)


def test_distances_grow_along_segments_and_jump_nowhere(copper: Structure) -> None:
    path = band_path(primitive_cell(copper, 1e-5), 1e-5, 0.01)
    assert (np.diff(path.distances) >= 0).all()
    assert np.diff(path.distances).max() <= 0.01 + 1e-9
    starts, ends = path.segments[1:, 0], path.segments[:-1, 1]
    np.testing.assert_array_equal(starts, ends + 1)
    np.testing.assert_allclose(path.distances[starts], path.distances[ends])
