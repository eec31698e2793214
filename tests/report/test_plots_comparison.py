from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

from phonotune.errors import InputError
from phonotune.report.bundle import MaterialReport
from phonotune.report.plots_comparison import MAX_POINTS, plot_branches, plot_frequencies
from phonotune.report.style import looks
from phonotune.schemas.phonon import PhononDocument


def thinned(phonon: PhononDocument, n: int = 60) -> PhononDocument:
    """The same Document with the first q-points of its mesh only."""
    arrays = phonon.data.arrays()
    few = {name: arrays[name][:n] for name in ("mesh_q", "mesh_weights", "mesh_frequencies")}
    return phonon.model_copy(update={"data": type(phonon.data).pack(**(arrays | few))})


def dots(figure: Figure, color: str) -> np.ndarray:
    """Return the drawn positions of one model, shape (n, 2)."""
    patches = [p for p in figure.axes[0].patches if isinstance(p, PathPatch)]
    own = [p for p in patches if to_hex(p.get_edgecolor()) == color]
    return np.concatenate([p.get_path().vertices[::2] for p in own])


def test_every_mode_is_a_dot_at_reference_and_model(soft: MaterialReport) -> None:
    reference, model = (thinned(p) for p in soft.phonons[:2])
    drawn = dots(plot_frequencies(reference, [model]), looks([model.source])[0].color)
    x, y = (p.data.arrays()["mesh_frequencies"].ravel() for p in (reference, model))
    expected = np.stack([x, y], axis=1)
    order = np.lexsort(expected.T)
    np.testing.assert_allclose(drawn[np.lexsort(drawn.T)], expected[order])


def test_a_model_that_is_its_reference_lies_on_the_line(soft: MaterialReport) -> None:
    reference = soft.phonons[0]
    same = reference.model_copy(update={"source": soft.phonons[1].source})
    figure = plot_frequencies(reference, [same])
    drawn = dots(figure, looks([same.source])[0].color)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    line = next(line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2)
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())


def test_many_modes_are_thinned_but_their_error_is_of_all(soft: MaterialReport) -> None:
    reference, model = soft.phonons[:2]
    arrays = [p.data.arrays() for p in (reference, model)]
    nu = [a["mesh_frequencies"] for a in arrays]
    assert nu[0].size > MAX_POINTS
    figure = plot_frequencies(reference, [model])
    assert len(dots(figure, looks([model.source])[0].color)) <= MAX_POINTS
    (label,) = figure.axes[0].get_legend_handles_labels()[1]
    error = np.abs(nu[1] - nu[0]).mean()
    assert label == f"untuned · mini: {error:.3g} THz"


def test_a_q_point_of_larger_weight_is_a_larger_dot(soft: MaterialReport) -> None:
    reference, model = (thinned(p, 2) for p in soft.phonons[:2])
    arrays = reference.data.arrays()
    heavy = type(reference.data).pack(**(arrays | {"mesh_weights": np.array([1.0, 16.0])}))
    reference = reference.model_copy(update={"data": heavy})
    patches = list(plot_frequencies(reference, [model]).axes[0].patches)
    widths = {p.get_linewidth(): len(p.get_path().vertices) // 2 for p in patches}
    assert len(widths) == 2
    assert set(widths.values()) == {arrays["mesh_frequencies"].shape[1]}


def test_axes_name_the_reference_and_the_unit(soft: MaterialReport) -> None:
    axes = plot_frequencies(soft.phonons[0], soft.phonons[1:]).axes[0]
    assert axes.get_xlabel() == "Frequency by reference · teacher (THz)"
    assert axes.get_ylabel() == "Frequency by model (THz)"
    assert axes.get_xlim() == axes.get_ylim()


def test_phonons_of_another_crystal_are_refused(
    soft: MaterialReport, build: SimpleNamespace
) -> None:
    other = build.phonon(soft.phonons[1].source, build.rocksalt(), 1.0, 0.0)
    with pytest.raises(InputError, match="draw phonons of one crystal together"):
        plot_frequencies(soft.phonons[0], [other])


def test_branches_are_bars_of_their_errors_and_models_without_phonons_have_none(
    soft: MaterialReport,
) -> None:
    comparison = soft.comparison
    first, *others = comparison.rows
    empty = first.deviations.model_copy(update={"branch_mae": None})
    rows = [first.model_copy(update={"deviations": empty}), *others]
    (bars,) = plot_branches(comparison.model_copy(update={"rows": rows})).axes[0].containers
    heights = [bar.get_height() for bar in bars]
    assert heights == list(others[0].deviations.branch_mae)
    assert bars.get_label() == "lora · mini"
    centres = [bar.get_x() + bar.get_width() / 2 for bar in bars]
    np.testing.assert_allclose(centres, 1 + np.arange(len(heights)))


def test_the_page_shows_both_figures_of_a_comparison(soft_page: str) -> None:
    for name in ("frequencies", "branches"):
        assert f'id="m1-fig-{name}"' in soft_page
