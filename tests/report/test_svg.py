from __future__ import annotations

import re
from xml.etree import ElementTree

from phonotune.report.plots import plot_bands, plot_well
from phonotune.report.style import CSS_NAMES
from phonotune.report.svg import figure_svg


def ids(svg: str) -> list[str]:
    return re.findall(r'\bid="([^"]+)"', svg)


def test_ids_carry_the_prefix_and_every_reference_resolves(soft) -> None:
    svg = figure_svg(plot_bands(soft.phonons), "m1-bands", "Bands")
    assert ids(svg)
    assert all(name.startswith("m1-bands-") for name in ids(svg))
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
    assert {a or b for a, b in used} <= set(ids(svg))


def test_two_figures_share_no_id(soft) -> None:
    first = figure_svg(plot_well(soft.wells), "a", "")
    second = figure_svg(plot_well(soft.wells), "b", "")
    assert not set(ids(first)) & set(ids(second))


def test_the_same_figure_gives_the_same_text(soft) -> None:
    assert figure_svg(plot_well(soft.wells), "a", "x") == figure_svg(
        plot_well(soft.wells), "a", "x"
    )


def test_colours_are_variables_and_nothing_is_loaded(soft) -> None:
    svg = figure_svg(plot_bands(soft.phonons), "a", "")
    assert "http" not in svg
    assert "currentColor" in svg
    assert not any(color in svg for color in CSS_NAMES)
    assert "#ffffff" not in svg


def test_it_is_well_formed_and_its_label_is_escaped(soft) -> None:
    svg = figure_svg(plot_bands(soft.phonons), "a", 'a < b & "c"')
    assert ElementTree.fromstring(svg).attrib["aria-label"] == 'a < b & "c"'
