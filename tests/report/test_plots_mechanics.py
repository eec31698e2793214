from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from phonotune.report.plots import plot_elastic, plot_well
from phonotune.report.plots_mechanics import well_curves
from phonotune.report.tables import distinct_constants
from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.wells import WellDirection

REFERENCE = Source(role="reference", evaluator="teacher")


def test_the_drawn_well_has_its_minima_at_q0_and_its_depth(soft) -> None:
    well = soft.wells[0]
    figure = plot_well([well])
    curve = next(x for x in figure.axes[0].get_lines() if "teacher" in x.get_label()).get_xydata()
    lowest = curve[np.argmin(curve[:, 1])]
    assert lowest[1] == pytest.approx(-well.depth, rel=1e-2)
    assert abs(lowest[0]) == pytest.approx(well.q0, abs=0.02)


def test_the_drawn_curve_passes_through_every_computed_point(soft) -> None:
    (curve, *_) = well_curves(soft.wells)
    np.testing.assert_allclose(curve.potential(curve.amplitudes), curve.energies, atol=1e-9)
    np.testing.assert_allclose(curve.potential(-curve.amplitudes), curve.energies, atol=1e-9)


def test_an_uneven_curve_is_drawn_where_it_was_computed_only(soft) -> None:
    well = soft.wells[0].model_copy(update={"even": False})
    line = plot_well([well]).axes[0].get_lines()[1].get_xydata()
    assert line[:, 0].min() == 0


def test_every_direction_of_one_document_has_its_own_curve(soft) -> None:
    deep = soft.wells[0]
    part = WellDirection(
        direction="a00",
        even=True,
        curvature_frequency=deep.curvature_frequency,
        has_double_well=True,
        minimum_in_range=True,
        depth=deep.depth,
        q0=deep.q0,
        fit_residual=0.0,
        levels=[],
        transition_frequency=None,
        tunnel_splitting=None,
    )
    other = part.model_copy(update={"direction": "aaa", "depth": deep.depth / 2})
    arrays = deep.data.arrays() | {"orders": np.array([2, 4, 6])}
    both = {
        f"{k}_{i}": v * (0.5 if k == "energies" and i else 1)
        for k, v in arrays.items()
        for i in (0, 1)
    }
    well = deep.model_copy(
        update={"directions": [part, other], "data": Blob.pack(**arrays, **both)}
    )
    texts = [t.get_text() for t in plot_well([well]).legends[0].get_texts()]
    assert texts[0].startswith("reference · teacher, a00: 46.5 meV/f.u.")
    assert texts[1].startswith("reference · teacher, aaa: 23.2 meV/f.u.")
    assert len(plot_well([well, well]).legends[0].get_texts()) == 2


def test_well_axes_carry_units_and_the_legend_the_depth(soft) -> None:
    figure = plot_well(soft.wells)
    assert figure.axes[0].get_xlabel() == "Q (Å·√amu)"
    assert figure.axes[0].get_ylabel() == "E − E(Q = 0) (meV/f.u.)"
    texts = [t.get_text() for t in figure.legends[0].get_texts()]
    assert texts[0] == "reference · teacher: 46.5 meV/f.u. at Q₀ = 1.97"


def test_a_mode_without_double_well_is_called_single(build: SimpleNamespace) -> None:
    figure = plot_well([build.well(REFERENCE, build.perovskite(), 5.0, 1.0)])
    assert figure.legends[0].get_texts()[0].get_text() == "reference · teacher: single well"


def test_a_cubic_crystal_has_three_distinct_constants_even_where_cauchy_makes_two_equal(
    build: SimpleNamespace,
) -> None:
    elastic = build.elastic(REFERENCE, build.perovskite(), 1.0)
    assert distinct_constants(elastic) == [(0, 0), (0, 1), (3, 3)]
    tensor = np.asarray(elastic.elastic_tensor)
    tensor[[3, 4, 5], [3, 4, 5]] = tensor[0, 1]
    cauchy = elastic.model_copy(update={"elastic_tensor": tuple(map(tuple, tensor))})
    assert distinct_constants(cauchy) == [(0, 0), (0, 1), (3, 3)]


def test_a_triclinic_crystal_has_21_distinct_constants(build: SimpleNamespace) -> None:
    half = 20.0 * np.arange(1.0, 37.0).reshape(6, 6)
    tensor = tuple(map(tuple, half + half.T))
    elastic = build.elastic(REFERENCE, build.perovskite(), 1.0)
    assert len(distinct_constants(elastic.model_copy(update={"elastic_tensor": tensor}))) == 21


def test_bars_stand_as_high_as_the_constants(soft) -> None:
    axes = plot_elastic(soft.elastics).axes[0]
    heights = [[bar.get_height() for bar in group] for group in axes.containers]
    assert heights[0] == pytest.approx([310.0, 118.0, 128.0, 182.0, 113.0])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["C₁₁", "C₁₂", "C₄₄", "B", "G"]
    assert axes.get_ylabel() == "Modulus (GPa)"


def test_a_well_that_still_falls_at_the_end_of_the_grid_is_a_lower_bound(soft) -> None:
    open_well = soft.wells[0].model_copy(update={"minimum_in_range": False})
    text = plot_well([open_well]).legends[0].get_texts()[0].get_text()
    assert text == "reference · teacher: at least 46.5 meV/f.u. at Q = 1.97"


def test_the_walls_do_not_hide_the_well(build: SimpleNamespace) -> None:
    shallow = build.well(REFERENCE, build.perovskite(), -2.0, 3.0)
    low, high = plot_well([shallow]).axes[0].get_ylim()
    assert low < -shallow.depth
    assert (high - low) < 6 * shallow.depth
    reach = plot_well([shallow]).axes[0].get_xlim()[1]
    assert shallow.q0 < reach < shallow.data.arrays()["amplitudes"].max()
