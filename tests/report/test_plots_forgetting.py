from __future__ import annotations

import numpy as np
import pytest

from phonotune.report.plots_forgetting import MAX_PAIRS, plot_hole_scan
from phonotune.report.svg import figure_svg
from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.forgetting import ForgettingProbe, HoleScan, ProbeDeviation

LORA = Source(role="lora", evaluator="mini")


def probe_of(pairs: list[str], depths: list[float]) -> ForgettingProbe:
    deviation = ProbeDeviation(
        n_frames=48, energy=2.0, forces=11.0, forces_relative=3.0, stress=0.4
    )
    distances = np.tile(np.linspace(0.4, 3.4, 40), (len(pairs), 1))
    before = 2.0 / distances**3 - 1.0 / distances
    after = before - np.array(depths)[:, None] * np.exp(-(((distances - 0.8) / 0.2) ** 2))
    holes = HoleScan(
        n_pairs=len(pairs),
        deepest_before=0.0,
        deepest_after=max(depths),
        worst_pair=pairs[int(np.argmax(depths))],
        pairs_below_before=0,
        pairs_below_after=0,
        data=Blob.pack(
            pairs=np.array(pairs),
            distances=distances,
            energies_before=before,
            energies_after=after,
            depths_before=np.zeros(len(pairs)),
            depths_after=np.array(depths),
            below_before=np.zeros(len(pairs), dtype=bool),
            below_after=np.zeros(len(pairs), dtype=bool),
        ),
    )
    return ForgettingProbe(
        version=1,
        elements=("Na", "Cl"),
        overall=deviation,
        touching=deviation,
        others=None,
        holes=holes,
    )


@pytest.fixture
def salt() -> ForgettingProbe:
    return probe_of(["Cl-Cl", "Cl-Na", "Na-Na"], [0.0, 6.0, 1.0])


def names(figure) -> list[str]:
    return [axes.texts[0].get_text() for axes in figure.axes if axes.texts]


def test_every_pair_has_a_panel_with_the_curve_before_and_after(salt: ForgettingProbe) -> None:
    figure = plot_hole_scan([salt], [LORA])
    assert names(figure) == ["Cl-Cl", "Cl-Na", "Na-Na"]
    arrays = salt.holes.data.arrays()
    before, after = figure.axes[1].get_lines()[:2]
    np.testing.assert_array_equal(before.get_ydata(), arrays["energies_before"][1])
    np.testing.assert_array_equal(after.get_ydata(), arrays["energies_after"][1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "untuned · mini",
        "lora · mini",
    ]


def test_the_foundations_curve_stands_once_beside_many_tuned_models(salt: ForgettingProbe) -> None:
    sources = [LORA, Source(role="equitrain", evaluator="mini")]
    figure = plot_hole_scan([salt, salt], sources)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["untuned · mini", "lora · mini", "equitrain · mini"]


def test_of_many_pairs_those_with_the_deepest_holes_are_drawn_in_their_order() -> None:
    pairs = [f"P{i}" for i in range(10)]
    depths = [0.0, 9.0, 0.0, 8.0, 7.0, 0.0, 6.0, 5.0, 0.0, 4.0]
    figure = plot_hole_scan([probe_of(pairs, depths)], [LORA])
    assert names(figure) == ["P1", "P3", "P4", "P6", "P7", "P9"]
    assert len(names(figure)) == MAX_PAIRS


def test_an_odd_panel_out_is_left_blank_and_one_pair_has_the_width(salt: ForgettingProbe) -> None:
    assert [axes.axison for axes in plot_hole_scan([salt], [LORA]).axes] == [True] * 3 + [False]
    assert len(plot_hole_scan([probe_of(["Al-Al"], [0.0])], [LORA]).axes) == 1


def test_axes_carry_their_units(salt: ForgettingProbe) -> None:
    figure = plot_hole_scan([salt], [LORA])
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == ["", "Distance (Å)", "Distance (Å)"]
    assert [axes.get_ylabel() for axes in figure.axes[:3]] == ["E (eV)", "", "E (eV)"]


def test_the_figure_is_drawn_as_svg(salt: ForgettingProbe) -> None:
    assert figure_svg(plot_hole_scan([salt], [LORA]), "m1-fig-holes-0", "Holes").startswith("<svg")
