"""Levels of theory on the command line: presets of labels, notes, licences and rows of foundations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.cli.config import build_maker
from phonotune.cli.finetune import note_level
from phonotune.data.vasp_settings import level_of_theory, settings_of, settings_text
from phonotune.errors import ConfigError
from phonotune.flows.run import level_notes
from phonotune.models.foundation import cached_file
from phonotune.models.licences import accepted_licences
from phonotune.schemas.dataset import Frame
from phonotune.schemas.training import FoundationRecord

PBE = "PAW_PBE Fe 06Sep2000"


@pytest.fixture
def wuestite() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.3), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture
def mace_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "mace").mkdir()
    return tmp_path / "mace"


def test_a_preset_joins_what_the_file_says_of_vasp(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("foundation: mini\nvasp: {preset: pbesol, encut: 600}\n")
    assert build_maker(file, {}).vasp.preset == "pbesol"
    both = build_maker(file, {"label_preset": "mp"}).vasp
    assert (both.preset, both.encut, both.potcar_family) == ("mp", 600.0, "PBE")
    assert build_maker(None, {"label_preset": "matpes-pbe"}).vasp.encut == 680.0
    file.write_text("vasp: [mp]\n")
    with pytest.raises(ConfigError, match=r"run\.yaml: vasp"):
        build_maker(file, {"label_preset": "mp"})


@pytest.mark.parametrize("command", ["run", "label"])
def test_an_unknown_preset_is_refused_with_the_nearest(
    command: str, cli: Any, aluminium: Structure, tmp_path: Path
) -> None:
    crystal = tmp_path / "POSCAR"
    aluminium.to(filename=str(crystal), fmt="poscar")
    frames = tmp_path / "frames.extxyz"
    aluminium.to_ase_atoms().write(frames)
    given = {
        "run": (crystal, "--labeller", "emt", "--foundation", "mini"),
        "label": (frames, "--labeller", "emt", "-o", tmp_path / "labelled.extxyz"),
    }
    message = cli.error(command, *given[command], "--label-preset", "matpes")
    assert "label preset" in message
    assert "matpes-pbe" in message


def test_labels_of_another_level_than_the_foundation_are_told(
    mace_cache: Path, wuestite: Structure, aluminium: Structure
) -> None:
    cached_file("medium-0b3").write_bytes(b"a stand-in")
    crystals = {"FeO": wuestite, "Al": aluminium}
    (note,) = level_notes(build_maker(None, {}), crystals)
    assert note.startswith("mace-mp-0b3 was made on PBE+U, and the labels are PBE:")
    assert "`--label-preset mp`" in note
    assert not level_notes(build_maker(None, {"label_preset": "mp"}), crystals)
    assert not level_notes(build_maker(None, {}), {"Al": aluminium})
    assert not level_notes(build_maker(None, {"labeller": "emt"}), crystals)
    (note,) = level_notes(build_maker(None, {"label_preset": "pbesol"}), {"Al": aluminium})
    assert "the labels are PBEsol" in note


@pytest.mark.parametrize(
    ("used", "titles", "level"),
    [
        ({}, [PBE], "PBE"),
        ({"GGA": "PE"}, [PBE], "PBE"),
        ({"GGA": "PS"}, [PBE], "PBEsol"),
        ({"GGA": "RP"}, [PBE], "GGA RP"),
        ({"METAGGA": "R2SCAN"}, [PBE], "r2SCAN"),
        ({"METAGGA": "SCAN", "LDAU": True, "LDAUU": [3.0, 0.0]}, [PBE], "METAGGA SCAN+U"),
        ({"LDAU": True, "LDAUU": [5.3, 0.0]}, [PBE], "PBE+U"),
        ({"LDAU": True, "LDAUU": [0.0, 0.0]}, [PBE], "PBE"),
        ({"LHFCALC": True, "HFSCREEN": 0.2}, [PBE], "a hybrid functional"),
        ({}, ["PAW Fe 03Mar1998"], ""),
        ({}, [], ""),
    ],
)
def test_settings_of_vasp_tell_their_level(used: Any, titles: list[str], level: str) -> None:
    assert level_of_theory(settings_of(used, {}, titles)) == level


def test_imported_frames_of_another_level_are_told_before_a_training(wuestite: Structure) -> None:
    notes: list[str] = []
    record = FoundationRecord(name="mace-mp-0b3", sha256="0" * 64)
    for used in ({}, {"LDAU": True, "LDAUU": [5.3, 0.0]}, {"METAGGA": "R2SCAN"}):
        settings = settings_text(settings_of(used, {}, [PBE]))
        frames = [Frame(wuestite, settings=settings), Frame(wuestite, settings=settings)]
        dataset: Any = SimpleNamespace(train_frames=lambda frames=frames: frames)
        out: Any = SimpleNamespace(note=notes.append)
        note_level(dataset, record, out)
    assert [note.split(":")[1].strip() for note in notes] == [
        f"mace-mp-0b3 was made on PBE+U, and the labels are {level}" for level in ("PBE", "r2SCAN")
    ]


def test_a_licence_is_accepted_once(cli: Any, mace_cache: Path) -> None:
    cached_file("medium-omat-0").write_bytes(b"a stand-in")
    message = cli.error("models", "fetch", "mace-omat-0")
    assert "Academic Software License, no commercial use" in message
    assert "`phonotune models fetch mace-omat-0 --accept-licence`" in message
    assert not accepted_licences()
    message = cli.error("models", "fetch", "mace-omat-0", "--accept-licence")
    assert "cannot be read as a MACE model" in message  # the stand-in was taken
    assert accepted_licences() == {"ASL"}
    message = cli.error("models", "fetch", "mace-omat-0")
    assert "cannot be read as a MACE model" in message


def test_the_list_of_models_shows_rows(cli: Any, mace_cache: Path) -> None:
    models = {row["name"]: row for row in cli("models", "list")["models"]}
    assert models["mh-1"]["licence"] == "ASL"
    assert models["mh-1"]["heads"]["matpes_r2scan"] == "r2SCAN"
    assert (models["mace-mp-0b3"]["level"], models["mace-mp-0b3"]["elements"]) == ("PBE+U", 89)
    assert models["mini"]["where"] == "shipped"
    assert {row["engine"] for row in models.values()} == {"mace"}
    shown = cli.plain("models", "list").stdout
    assert "PBE+U" in shown
    assert "not stated" in shown
