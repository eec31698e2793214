from __future__ import annotations

import numpy as np
import pytest

from phonotune.physics.committee_spread import with_spread
from phonotune.report.plots_thermal import counted_modes, plot_conductivity, plot_quasi_harmonic
from phonotune.report.style import NARROW, WIDE
from phonotune.report.svg import figure_svg
from phonotune.schemas.blob import Blob
from tests.report.builders import conductivity_document, quasi_harmonic_document


def test_every_axis_carries_its_unit() -> None:
    axes = plot_quasi_harmonic([quasi_harmonic_document()]).axes
    assert [a.get_ylabel() for a in axes] == [
        "Volume expansion α (10⁻⁶/K)",
        "Cₚ, dotted Cᵥ (J/K/mol)",
        "Bulk modulus (GPa)",
        "Mode Grüneisen parameter γ",
    ]
    assert [a.get_xlabel() for a in axes] == ["T (K)"] * 3 + ["Frequency (THz)"]


def test_the_expansion_is_drawn_in_millionths_per_kelvin() -> None:
    document = quasi_harmonic_document()
    line = plot_quasi_harmonic([document]).axes[0].get_lines()[0]
    arrays = document.data.arrays()
    np.testing.assert_allclose(line.get_ydata(), 1e6 * arrays["thermal_expansions"])
    np.testing.assert_allclose(line.get_xdata(), arrays["temperatures"])


def test_modes_that_are_left_out_are_not_drawn() -> None:
    document = quasi_harmonic_document()
    nu, gamma = counted_modes(document.data.arrays())
    assert len(nu) == 39 * 3
    assert (gamma != 0).all()
    points = plot_quasi_harmonic([document]).axes[3].get_lines()[0]
    assert len(points.get_xdata()) == len(nu)


def test_one_outlier_does_not_set_the_scale_of_the_mode_panel() -> None:
    document = quasi_harmonic_document()
    arrays = dict(document.data.arrays())
    arrays["mode_gruneisen"] = arrays["mode_gruneisen"].copy()
    arrays["mode_gruneisen"][5, 0] = -500.0
    odd = document.model_copy(update={"data": Blob.pack(**arrays)})
    low, _ = plot_quasi_harmonic([odd]).axes[3].get_ylim()
    assert low > -10


def test_each_source_has_its_line_and_its_name() -> None:
    documents = [quasi_harmonic_document(), quasi_harmonic_document("untuned", 0.7)]
    figure = plot_quasi_harmonic(documents)
    texts = [t.get_text() for t in figure.legends[0].get_texts()]
    assert texts == ["reference · emt", "untuned · emt"]
    colors = {line.get_color() for line in figure.axes[0].get_lines()}
    assert len(colors) == 2


@pytest.mark.parametrize(("width", "columns"), [(NARROW, 1), (WIDE, 2)])
def test_panels_are_stacked_where_narrow(width: float, columns: int) -> None:
    figure = plot_quasi_harmonic([quasi_harmonic_document()], width)
    figure.canvas.draw()
    lefts = {round(axes.get_position().x0, 2) for axes in figure.axes}
    assert len(lefts) == columns


def test_the_page_draws_it_in_the_colours_of_its_theme() -> None:
    documents = [quasi_harmonic_document(), quasi_harmonic_document("lora", 0.9)]
    svg = figure_svg(plot_quasi_harmonic(documents), "a", "Quasi-harmonic")
    assert "var(--reference)" in svg
    assert "var(--tuned-" in svg
    assert "#" + "8b919b" not in svg


def test_the_conductivity_is_the_mean_of_the_diagonal_on_logarithmic_axes() -> None:
    document = conductivity_document(axial=0.7)
    (axes,) = plot_conductivity([document]).axes
    arrays = document.data.arrays()
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), arrays["conductivity"][:, :3].mean(axis=1))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_ylabel() == "Thermal conductivity (W/m/K)"
    assert "\N{MINUS SIGN}" not in "".join(t.get_text() for t in axes.get_yticklabels())


def test_the_conductivity_of_a_committee_is_shaded_by_one_deviation() -> None:
    members = [conductivity_document("lora", scale) for scale in (0.9, 1.1)]
    document = with_spread(conductivity_document("lora"), members)
    (axes,) = plot_conductivity([document]).axes
    (shade,) = axes.collections
    mean = document.data.arrays()["conductivity"][:, 0]
    top = shade.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(mean.max() * (1 + 0.1 * np.sqrt(2)))
    assert not plot_conductivity(members).axes[0].collections
