from __future__ import annotations

import numpy as np
import pytest

from phonotune.report.plots_thermal import counted_modes, plot_quasi_harmonic
from phonotune.report.style import NARROW, WIDE
from phonotune.report.svg import figure_svg
from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.thermal import QuasiHarmonicDocument, QuasiHarmonicPoint


def quasi_harmonic_document(role: str = "reference", scale: float = 1.0) -> QuasiHarmonicDocument:
    t = np.arange(0.0, 701.0, 10.0)
    x = t / (t + 150.0)
    expansion, capacity = 6e-5 * scale * x**2, 24.9 * x**0.5
    rng = np.random.default_rng(5)
    nu = np.sort(rng.uniform(1.0, 8.0, (40, 3)), axis=1)
    nu[0] = 0.0
    gamma = np.where(nu > 0, scale * (1.8 + 0.05 * nu) + rng.normal(0, 0.1, nu.shape), 0.0)
    point = QuasiHarmonicPoint(
        temperature=300.0,
        volume=11.8,
        length_scale=1.003,
        bulk_modulus=121.0,
        thermal_expansion=6e-5,
        heat_capacity=23.5,
        heat_capacity_pressure=24.4,
        gruneisen=2.2,
    )
    data = Blob.pack(
        temperatures=t,
        thermal_expansions=expansion,
        heat_capacities=capacity,
        heat_capacities_pressure=capacity + 2e-3 * t,
        bulk_moduli=131.0 - 0.03 * t,
        mesh_frequencies=nu,
        mode_gruneisen=gamma,
    )
    return QuasiHarmonicDocument(
        formula="Cu",
        material_id="0" * 16,
        source=Source(role=role, evaluator="emt"),
        settings={},
        n_structures=14,
        supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        mesh=(10, 10, 10),
        has_nac=False,
        ions="symmetry",
        residual_force=0.0,
        formula_units=1,
        imaginary_threshold=-0.1,
        lowest_frequencies=(1.0,) * 7,
        static_volume=11.6,
        static_bulk_modulus=134.0,
        at_0=point,
        at_300=point,
        highest_temperature=700.0,
        fit_residual=0.001,
        mean_gruneisen=2.0,
        acoustic_gruneisen=2.0,
        acoustic_debye_temperature=330.0,
        slack_conductivity=9.9,
        data=data,
    )


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
