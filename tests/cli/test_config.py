"""The configuration file of `run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from phonotune.cli.config import build_maker
from phonotune.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_defaults_are_those_of_the_maker() -> None:
    from phonotune.flows.pipeline import PhonotuneMaker

    assert build_maker(None, {"foundation": None, "strategies": []}) == PhonotuneMaker()


def test_a_file_sets_fields_and_nested_settings(tmp_path: Path) -> None:
    text = "foundation: mini\nseed: 3\nphonon:\n  displacement: 0.02\nstrategies: [lora, equitrain]"
    maker = build_maker(write(tmp_path, text), {})
    assert (maker.foundation, maker.seed, maker.phonon.displacement) == ("mini", 3, 0.02)
    assert maker.strategies == ["lora", "equitrain"]


def test_the_command_line_replaces_the_file(tmp_path: Path) -> None:
    maker = build_maker(write(tmp_path, "foundation: mini\nseed: 3"), {"foundation": "teacher"})
    assert (maker.foundation, maker.seed) == ("teacher", 3)


def test_a_file_chooses_how_frames_are_made_and_selected(tmp_path: Path) -> None:
    text = (
        "rattle: {method: mc, small: [0.02], supercell: small}\n"
        "select: {method: doptimal, budget: 12}\n"
    )
    maker = build_maker(write(tmp_path, text), {})
    assert (maker.rattle.method, maker.rattle.small) == ("mc", (0.02,))
    assert (maker.select.method, maker.select.budget, maker.select.n_valid) == ("doptimal", 12, 4)


def test_a_file_chooses_properties_and_gives_options_by_strategy(tmp_path: Path) -> None:
    text = (
        "properties: [phonon, quasi_harmonic]\nsettings: {quasi_harmonic: {centre: relaxed}}\n"
        "options: {lora: {rank: 8, loss: {forces: 10}}}\n"
    )
    maker = build_maker(write(tmp_path, text), {"properties": ["phonon"]})
    assert maker.properties == ["phonon"]
    assert maker.settings == {"quasi_harmonic": {"centre": "relaxed"}}
    assert maker.options == {"lora": {"rank": 8, "loss": {"forces": 10}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select: {method: dopt}", r"Unknown selection method 'dopt'\. Did you mean 'doptimal'"),
        ("select: {buget: 3}", "Did you mean 'budget'"),
        ("rattle: {supercell: huge}", r"rattle\.supercell = 'huge' is not allowed"),
        ("foundatoin: mini", "Did you mean 'foundation'"),
        ("phonon: {displacment: 0.02}", "Did you mean 'displacement'"),
        ("seed: many", r"seed = 'many' is not allowed"),
        ("phonon: {displacement: -1}", r"phonon.displacement = -1 is not allowed"),
        ("overrides: [rank=8]", r"overrides in .* is now options, by strategy"),
        ("options: {lora: 5}", r"options\.lora = 5 is not allowed"),
        ("settings: [conductivity]", r"settings = \['conductivity'\] is not allowed"),
        ("strategies: lora", "strategies = 'lora' is not allowed"),
        ("- a\n- b", "a mapping is needed"),
        ("a: [", "is not YAML"),
        ("seed: 2001-99-99", "is not YAML: month must be"),
        (f"seed: {'[' * 1000}", "is not YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_maker(write(tmp_path, text), {})
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml cannot be read"):
        build_maker(tmp_path / "nothing.yaml", {})
