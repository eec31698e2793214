from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from phonotune.errors import InputError
from phonotune.physics.committee_spread import with_spread
from phonotune.report.bundle import MaterialReport, bundle_documents
from phonotune.report.html import formula_markup, render_report

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Elements with their attributes; fails on a tag that is closed wrongly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_is_well_formed_and_every_id_is_unique(many_page: str) -> None:
    page = Page(many_page)
    assert page.open == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_links_and_labels_lead_to_elements_that_exist(many_page: str) -> None:
    page = Page(many_page)
    ids = {a["id"] for _, a in page.elements if "id" in a}
    links = {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")}
    labels = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert links | labels <= ids


def test_nothing_is_loaded_from_anywhere(many_page: str) -> None:
    assert not re.search(r"https?://|//[a-z]+\.|@import|<script|<link|<iframe", many_page)
    assert not [a for _, a in Page(many_page).elements if "src" in a or "srcset" in a]
    assert "default-src 'none'" in many_page


def test_every_figure_is_there_with_a_caption_and_a_description(soft_page: str) -> None:
    page = Page(soft_page)
    figures = [a["data-figure"] for a in page.all("figure")]
    assert figures[:4] == ["bands", "frequencies", "branches", "thermal"]
    assert figures[4:] == ["well", "elastic", "parity", "history"]
    assert len(page.all("figcaption")) == len(figures)
    assert all(a["role"] == "img" and a["aria-label"] for a in page.all("svg"))


def test_every_header_cell_says_what_it_heads(many_page: str) -> None:
    assert all(a.get("scope") in ("row", "col") for a in Page(many_page).all("th"))


def test_one_material_fits_into_two_and_a_half_megabytes(soft_page: str) -> None:
    assert len(soft_page.encode()) < 2.5e6


def test_the_stand_in_for_dft_is_named_at_the_top(soft_page: str) -> None:
    notice = soft_page.index('class="notice"')
    assert notice < soft_page.index("<article")
    assert (
        "<code>teacher</code></strong>, a toy surface that stands in for DFT. Not for science."
        in soft_page
    )


def test_a_dft_reference_carries_no_such_notice(many) -> None:
    numbers_only = MaterialReport(formula="NaCl", comparison=many[1].comparison)
    assert numbers_only.reference.evaluator == "vasp"
    assert 'class="notice"' not in render_report([numbers_only])


def test_the_labeller_of_a_dataset_without_properties_is_named_too(build: SimpleNamespace) -> None:
    frames = build.frames(build.rocksalt(), 3, np.random.default_rng(0))
    page = render_report(bundle_documents([build.dataset(frames, "emt", "d" * 64)]))
    assert "<code>emt</code></strong>, effective-medium theory that stands in for DFT" in page
    assert Page(page).all("figure") == []


def test_every_text_of_a_user_is_escaped(soft) -> None:
    evil = '<script>alert("x")</script>'
    source = soft.elastics[0].source.model_copy(update={"evaluator": evil})
    elastic = soft.elastics[0].model_copy(update={"source": source, "settings": {"note": evil}})
    page = render_report([MaterialReport(formula=evil, properties=(elastic,))], title=evil)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert Page(page).open == []


def test_several_materials_start_with_an_overview_that_links_to_each(many_page: str) -> None:
    page = Page(many_page)
    assert [a["id"] for a in page.all("article")] == ["m1", "m2"]
    assert many_page.index('id="overview"') < many_page.index("<article")
    assert {"#m1", "#m2"} <= {a["href"] for a in page.all("a")}


def test_one_material_needs_no_overview(soft_page: str) -> None:
    assert 'id="overview"' not in soft_page


def test_the_hashes_of_what_was_run_are_on_the_page(soft, soft_page: str) -> None:
    training = soft.trainings[0]
    for text in (training.model.model_id, soft.datasets[0].dataset_hash, soft.labels.protocol):
        assert text in soft_page


def test_the_lead_says_by_how_much_tuning_helped(soft_page: str) -> None:
    assert "from 0.645 to 0.045 THz, 14.3 times smaller" in soft_page


def test_a_tuning_that_made_it_worse_is_not_praised(soft) -> None:
    rows = soft.comparison.rows
    swapped = [
        row.model_copy(update={"deviations": other.deviations})
        for row, other in zip(rows, reversed(rows), strict=True)
    ]
    comparison = soft.comparison.model_copy(update={"rows": swapped})
    material = MaterialReport(formula="BaTiO3", comparison=comparison)
    assert "from 0.045 to 0.645 THz, not smaller" in render_report([material])


def test_nothing_to_report_is_an_input_error() -> None:
    with pytest.raises(InputError, match="nothing to report"):
        render_report([])


def test_numbers_in_a_formula_are_set_low() -> None:
    assert formula_markup("Ba2<Ti>O3") == "Ba<sub>2</sub>&lt;Ti&gt;O<sub>3</sub>"


def test_no_global_state_of_pyplot_is_used() -> None:
    code = "import sys, phonotune.report.html; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_thermal_properties_and_phases_have_sections_of_their_own(many_page: str) -> None:
    headings = re.findall(r"<h3 id=\"(m2-[^\"]+)\">([^<]+)<", many_page)
    assert ("m2-expansion", "Thermal expansion") in headings
    assert ("m2-conductivity", "Lattice thermal conductivity") in headings
    assert ("m2-transitions", "Phase transitions, equitrain · mini") in headings
    assert ("m2-modes", "Modes followed") in headings
    assert '<th scope="col">Phase</th>' in many_page
    assert "Cut by: atom limit." in many_page


def test_error_bars_are_explained_where_there_are_any(soft, soft_page: str) -> None:
    assert "±" not in soft_page
    tuned, other = soft.elastics[2], soft.elastics[1]
    members = [tuned, other.model_copy(update={"source": tuned.source})]
    elastics = (*soft.elastics[:2], with_spread(tuned, members))
    page = render_report([replace(soft, properties=elastics, comparison=None)])
    assert page.count("±: one standard deviation over a committee of 2.") == 2
