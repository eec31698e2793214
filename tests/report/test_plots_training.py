from __future__ import annotations

import numpy as np
import pytest

from phonotune.report.plots import plot_history, plot_parity
from phonotune.report.plots_training import MAX_PARITY_POINTS
from phonotune.schemas.blob import Blob


def with_parity(training, n: int, error: float):
    reference = np.linspace(-1, 1, 3 * n).reshape(n, 3)
    parity = Blob.pack(forces_reference=reference, forces_predicted=reference + error)
    return training.model_copy(update={"parity": parity})


def test_parity_legend_states_the_mean_absolute_error_of_all_components(soft) -> None:
    figure = plot_parity([with_parity(soft.trainings[0], 4000, 0.012)])
    (text,) = (t.get_text() for t in figure.legends[0].get_texts())
    assert text == "lora · mini: 12 meV/Å"


def test_many_components_are_thinned_out_but_few_are_all_drawn(soft) -> None:
    few = plot_parity([with_parity(soft.trainings[0], 30, 0.1)]).axes[0].patches
    many = plot_parity([with_parity(soft.trainings[0], 9000, 0.1)]).axes[0].patches
    assert len(few[0].get_path().vertices) // 2 == 90
    assert MAX_PARITY_POINTS / 2 < len(many[0].get_path().vertices) // 2 <= MAX_PARITY_POINTS


def test_parity_points_stand_at_reference_and_prediction(soft) -> None:
    training = with_parity(soft.trainings[0], 2, 0.5)
    vertices = plot_parity([training]).axes[0].patches[0].get_path().vertices[::2]
    np.testing.assert_allclose(vertices[:, 1] - vertices[:, 0], 0.5)


def test_parity_shows_the_untuned_model_where_its_forces_are_stored(soft) -> None:
    texts = [t.get_text() for t in plot_parity(soft.trainings).legends[0].get_texts()]
    assert [t.partition(":")[0] for t in texts] == ["untuned · mini", "lora · mini"]


def test_parity_axes_are_equal_and_in_ev_per_angstrom(soft) -> None:
    axes = plot_parity(soft.trainings).axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_xlabel().endswith("(eV/Å)")
    assert axes.get_ylabel().endswith("(eV/Å)")


def test_history_starts_at_the_untuned_model_and_is_logarithmic(soft) -> None:
    upper, lower = plot_history(soft.trainings).axes
    line = upper.get_lines()[0].get_xydata()
    assert line[0, 0] == 0
    assert line[0, 1] == pytest.approx(soft.trainings[0].history.arrays()["valid_forces"][0])
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "log")
    assert upper.get_ylabel() == "Force MAE (meV/Å)"


def test_history_marks_the_epoch_that_was_kept(soft) -> None:
    upper, _ = plot_history(soft.trainings).axes
    marked = [line.get_xydata() for line in upper.get_lines() if line.get_marker() == "o"]
    assert [int(m[0, 0]) for m in marked] == [soft.trainings[0].best_epoch]


def test_history_leaves_out_what_a_logarithm_cannot_show(soft) -> None:
    training = soft.trainings[0]
    arrays = training.history.arrays()
    arrays["loss"][0] = 0.0
    history = Blob.pack(**arrays)
    _, lower = plot_history([training.model_copy(update={"history": history})]).axes
    assert min(line.get_ydata().min() for line in lower.get_lines()) > 0
