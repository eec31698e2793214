from __future__ import annotations

import numpy as np
import pytest

from phonotune.report.plots_transitions import (
    pathway_label,
    plot_pathways,
    plot_phase_tree,
    space_group_text,
    spread_out,
)
from phonotune.report.style import CSS_NAMES, NARROW, TEXT
from phonotune.report.svg import figure_svg
from phonotune.schemas.blob import Blob
from phonotune.schemas.transition import TransitionDocument
from tests.report.builders import transition_document


@pytest.fixture
def tree() -> TransitionDocument:
    return transition_document()


def test_edges_run_from_the_energy_of_the_parent_to_that_of_the_child(
    tree: TransitionDocument,
) -> None:
    lines = [line.get_xydata() for line in plot_phase_tree(tree).axes[0].get_lines()]
    edges = [xy for xy in lines if len(xy) == 11]
    assert [tuple(edge[0]) for edge in edges] == [(0, 0), (0, 0)]
    assert [tuple(edge[-1]) for edge in edges] == [(1, -29), (1, -43)]


def test_each_kind_of_phase_has_its_own_mark_and_name(tree: TransitionDocument) -> None:
    figure = plot_phase_tree(tree)
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert names == {"stable", "imaginary modes left", "no phonons"}
    written = {text.get_text() for text in figure.axes[0].texts}
    assert written == {r"$Pm\bar{3}m$", "$P4mm$", "$R3m$"}
    assert figure.axes[0].get_ylabel() == "E − E(root) (meV/f.u.)"


def test_a_tree_of_one_phase_can_be_drawn(tree: TransitionDocument) -> None:
    nothing = Blob.pack(
        path_branches=np.zeros(0, dtype=int),
        path_lambda=np.linspace(0, 1, 11),
        path_energies=np.zeros((0, 11)),
    )
    alone = tree.model_copy(update={"nodes": tree.nodes[:1], "branches": [], "data": nothing})
    low, high = plot_phase_tree(alone).axes[0].get_ylim()
    assert low < 0 < high


def test_pathways_carry_phase_mode_and_direction(tree: TransitionDocument) -> None:
    figure = plot_pathways(tree)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["$P4mm$: T1u (a00) at 0 0 0", "$R3m$: T1u (aaa) at 0 0 0"]
    colours = {line.get_color() for line in figure.axes[0].get_lines()}
    assert len(colours) == 3
    assert "meV/f.u." in figure.axes[0].get_ylabel()


def test_a_mode_without_labels_is_still_named(tree: TransitionDocument) -> None:
    bare = tree.branches[0].model_copy(update={"irrep": None, "direction": None, "q": (0.5, 0, 0)})
    assert pathway_label(tree, bare) == "$P4mm$: mode at 0.5 0 0"


@pytest.mark.parametrize("plot", [plot_phase_tree, plot_pathways])
def test_every_colour_follows_the_theme_of_the_page(tree: TransitionDocument, plot) -> None:
    svg = figure_svg(plot(tree), "t", "")
    assert not any(colour in svg for colour in CSS_NAMES)
    assert "#ffffff" not in svg
    assert "#000000" not in svg


@pytest.mark.parametrize(
    ("symbol", "text"),
    [("P4mm", "$P4mm$"), ("P6_3/mmc", "$P6_{3}/mmc$"), ("P-42_1m", r"$P\bar{4}2_{1}m$")],
)
def test_space_groups_are_typeset(symbol: str, text: str) -> None:
    assert space_group_text(symbol) == text


def test_labels_keep_their_distance_and_move_no_further_than_needed() -> None:
    assert spread_out(np.array([0.0, 5.0, 9.0]), 2.0) == pytest.approx([0, 5, 9])
    moved = spread_out(np.array([0.0, 0.1, 0.2, 9.0]), 1.0)
    assert np.diff(moved).min() == pytest.approx(1.0)
    assert moved[:3].mean() == pytest.approx(0.1)
    assert moved[3] == 9


def test_names_of_many_phases_do_not_overlap_on_a_phone() -> None:
    crowded = transition_document(n_more=9)
    figure = plot_phase_tree(crowded, NARROW)
    figure.canvas.draw()
    axes = figure.axes[0]
    heights = np.sort([axes.transData.transform(name.xyann)[1] for name in axes.texts[1:]])
    assert np.diff(heights).min() >= 1.2 * TEXT * figure.dpi / 72
    assert heights[0] >= axes.get_window_extent().y0
