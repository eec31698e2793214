"""The page as a browser shows it: 1280 px and 400 px, light and dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

WIDTHS = (1280, 400)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
]

PROBE = """
function luminance(text) {
  const parts = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
  const linear = parts.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
function probe(frame) {
  const page = frame.contentDocument, root = page.documentElement, view = frame.contentWindow;
  const shown = [...page.querySelectorAll('[data-figure]')].map(figure => {
    const svgs = [...figure.querySelectorAll('svg')].filter(s => s.getClientRects().length);
    const boxes = svgs.map(s => s.getBoundingClientRect());
    const texts = svgs.flatMap(s => [...s.querySelectorAll('text')]);
    return {
      name: figure.dataset.figure, count: svgs.length,
      right: Math.max(...boxes.map(b => b.right)),
      smallest: Math.min(...boxes.map(b => Math.min(b.width, b.height))),
      text: Math.min(...texts.map(t => t.getBoundingClientRect().height)),
      textRight: Math.max(...texts.map(t => t.getBoundingClientRect().right)),
    };
  });
  const style = view.getComputedStyle(page.body), quiet = view.getComputedStyle(page.querySelector('.quiet'));
  const axis = view.getComputedStyle(page.querySelector('svg text'));
  return {
    inner: view.innerWidth, scroll: root.scrollWidth, figures: shown,
    paper: luminance(style.backgroundColor), ink: luminance(style.color), muted: luminance(quiet.color),
    axis: luminance(axis.fill),
  };
}
const frames = [...document.querySelectorAll('iframe')];
addEventListener('load', () => {
  document.getElementById('out').textContent = JSON.stringify(frames.map(probe));
});
"""


def drive(page: str, folder: Path, *flags: str) -> tuple[list[dict], list[str]]:
    """Return what the probe measured at each width, and the lines of the console."""
    frames = "".join(
        f'<iframe style="border:0;width:{w}px;height:900px" srcdoc="{escape(page)}"></iframe>'
        for w in WIDTHS
    )
    wrapper = folder / "wrapper.html"
    wrapper.write_text(
        f'<!doctype html><body>{frames}<pre id="out"></pre><script>{PROBE}</script>',
        encoding="utf-8",
    )
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--enable-logging=stderr", "--window-size=1400,1000", "--virtual-time-budget=10000",
        f"--user-data-dir={folder / 'profile'}", *flags, "--dump-dom", wrapper.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="out">(.+?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(found.group(1))), console


@pytest.fixture(scope="module")
def light(many_page: str, tmp_path_factory) -> tuple[list[dict], list[str]]:
    return drive(many_page, tmp_path_factory.mktemp("light"))


@pytest.fixture(scope="module")
def dark(many_page: str, tmp_path_factory) -> tuple[list[dict], list[str]]:
    folder = tmp_path_factory.mktemp("dark")
    return drive(many_page, folder, "--blink-settings=preferredColorScheme=0")


def contrast(one: float, other: float) -> float:
    """Return the contrast ratio of WCAG 2."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_the_console_stays_silent(light, dark) -> None:
    assert light[1] + dark[1] == []


@pytest.mark.parametrize("index", range(len(WIDTHS)), ids=map(str, WIDTHS))
def test_the_page_does_not_scroll_sideways(light, index: int) -> None:
    seen = light[0][index]
    assert seen["inner"] == WIDTHS[index]
    assert seen["scroll"] <= seen["inner"]


@pytest.mark.parametrize("index", range(len(WIDTHS)), ids=map(str, WIDTHS))
def test_every_figure_is_shown_whole(light, index: int) -> None:
    seen = light[0][index]
    names = [figure["name"] for figure in seen["figures"]]
    first = ["bands", "frequencies", "branches", "thermal"]
    last = ["elastic", "parity", "history"]
    thermal = ["expansion", "conductivity", "tree", "pathways-0"]
    assert names == [*first, "well", *last, *first, *thermal, *last]
    for figure in seen["figures"]:
        assert figure["count"] >= 1
        assert figure["smallest"] > 150
        assert figure["right"] <= WIDTHS[index]
        assert figure["textRight"] <= WIDTHS[index]


def test_text_in_figures_can_be_read_on_a_phone(light) -> None:
    assert min(figure["text"] for figure in light[0][1]["figures"]) >= 8.5


def test_a_phone_sees_bands_and_dos_below_each_other(light) -> None:
    assert [seen["figures"][0]["count"] for seen in light[0]] == [1, 2]


def test_text_and_axes_stand_out_in_light_and_in_dark(light, dark) -> None:
    assert light[0][0]["paper"] > 0.9
    assert dark[0][0]["paper"] < 0.05
    for seen in (*light[0], *dark[0]):
        assert contrast(seen["ink"], seen["paper"]) > 10
        assert contrast(seen["axis"], seen["paper"]) > 10
        assert contrast(seen["muted"], seen["paper"]) > 4.5
