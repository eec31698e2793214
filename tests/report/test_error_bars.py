"""Committees are shaded; single models are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from phonotune.physics.committee_spread import spread_arrays, with_spread
from phonotune.report.bundle import MaterialReport
from phonotune.report.figures import material_sections
from phonotune.report.plots import (
    plot_bands,
    plot_bands_and_dos,
    plot_dos,
    plot_elastic,
    plot_thermal,
    plot_well,
)
from phonotune.report.style import looks
from phonotune.schemas.phonon import PhononDocument


@pytest.fixture(scope="module")
def committee(soft: MaterialReport) -> PhononDocument:
    """Phonons of a tuned model with the untuned one as the other member."""
    tuned, untuned = soft.phonons[2], soft.phonons[1]
    return with_spread(tuned, [tuned, untuned.model_copy(update={"source": tuned.source})])


def shades(axes: Axes, color: str) -> list[np.ndarray]:
    """Return the outlines of all shades in a colour, shape (n, 2) each."""
    own = [
        c
        for c in axes.collections
        if isinstance(c, PolyCollection) and to_hex(c.get_facecolor()[0]) == color
    ]
    return [path.vertices for c in own for path in c.get_paths()]


def test_bands_of_a_committee_are_shaded_by_one_deviation(committee: PhononDocument) -> None:
    (color,) = {look.color for look in looks([committee.source])}
    (figure,) = [plot_bands([committee])]
    outlines = shades(figure.axes[0], color)
    n_bands = spread_arrays(committee)["band_frequencies"].shape[1]
    assert len(outlines) == n_bands * len(committee.data.arrays()["band_segments"])
    own = committee.data.arrays()["band_frequencies"]
    wide = spread_arrays(committee)["band_frequencies"]
    tops = np.concatenate([outline[:, 1] for outline in outlines])
    assert tops.max() == pytest.approx((own + wide).max())
    assert tops.min() == pytest.approx((own - wide).min())


@pytest.mark.parametrize("plot", [plot_bands, plot_bands_and_dos, plot_dos, plot_thermal])
def test_a_single_model_has_no_shade_and_a_committee_one_in_every_panel(
    soft: MaterialReport, committee: PhononDocument, plot
) -> None:
    (color,) = {look.color for look in looks([committee.source])}
    assert not any(shades(axes, color) for axes in plot([soft.phonons[2]]).axes)
    assert all(shades(axes, color) for axes in plot([committee]).axes)


def test_bars_of_elastic_constants_carry_their_deviation(soft: MaterialReport) -> None:
    tuned, untuned = soft.elastics[2], soft.elastics[1]
    document = with_spread(tuned, [tuned, untuned.model_copy(update={"source": tuned.source})])
    (axes,) = plot_elastic([document]).axes
    (container,) = [c for c in axes.containers if hasattr(c, "has_yerr") and c.has_yerr]
    (lines,) = container.lines[2]
    heights = [np.ptp(segment[:, 1]) / 2 for segment in lines.get_segments()]
    expected = abs(tuned.bulk_modulus - untuned.bulk_modulus) / np.sqrt(2)
    assert heights[-2] == pytest.approx(expected)
    assert not [c for c in plot_elastic([tuned]).axes[0].containers if hasattr(c, "has_yerr")]


def test_the_caption_says_what_the_shade_is(
    soft: MaterialReport, committee: PhononDocument
) -> None:
    soft = replace(soft, properties=soft.phonons, trainings=())
    changed = replace(soft, properties=(*soft.phonons[:2], committee))
    captions = {s.id: s.figures[0].caption for s in material_sections(changed, "m")}
    for name in ("phonons", "thermal"):
        assert "one standard deviation over a committee of 2." in captions[name]
    plain = {s.id: s.figures[0].caption for s in material_sections(soft, "m")}
    assert "committee" not in plain["phonons"] + plain["thermal"]


def test_points_of_a_well_carry_bars_and_its_depth_a_deviation(soft: MaterialReport) -> None:
    tuned, untuned = soft.wells[2], soft.wells[1]
    document = with_spread(tuned, [tuned, untuned.model_copy(update={"source": tuned.source})])
    (axes,) = plot_well([document]).axes
    (container,) = [c for c in axes.containers if c.has_yerr]
    (lines,) = container.lines[2]
    heights = [np.ptp(segment[:, 1]) / 2 for segment in lines.get_segments()]
    np.testing.assert_allclose(heights, spread_arrays(document)["energies"], atol=1e-12)
    depth = abs(tuned.depth - untuned.depth) / np.sqrt(2)
    (label,) = axes.get_legend_handles_labels()[1]
    assert f"{tuned.depth:.3g} ± {depth:.2g} meV/f.u." in label
    assert not plot_well([tuned]).axes[0].containers
