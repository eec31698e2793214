"""Bad input: one clear sentence, exit code 2, nothing written."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.data.document_files import write_document
from phonotune.data.extxyz import write_frames
from phonotune.schemas.base import structure_hash
from phonotune.schemas.dataset import Frame

FRAME = """2
Lattice="3.2 0 0 0 3.2 0 0 0 3.2" Properties=species:S:1:pos:R:3{columns} REF_energy=-6.0 pbc="T T T"
Cs 0.0 0.0 0.0{cs}
Cl 1.6 1.6 1.6{cl}
"""
FORCES = ":REF_forces:R:3"


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """A folder to write to that must not be there afterwards."""
    folder = tmp_path / "output"
    yield folder
    assert not folder.exists()


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Frames that are fine."""
    return extxyz(tmp_path / "good.extxyz")


def extxyz(path: Path, columns: str = FORCES, cs: str = " 0.1 0 0", cl: str = " -0.1 0 0") -> Path:
    path.write_text(FRAME.format(columns=columns, cs=cs, cl=cl))
    return path


def structure_file(folder: Path, element: str, second: float = 0.5) -> Path:
    structure = Structure(
        Lattice.cubic(4.0), ["Na", element], [[0, 0, 0], [second] * 3], validate_proximity=False
    )
    path = folder / "crystal.vasp"
    structure.to(filename=str(path), fmt="poscar")
    return path


def finetune(cli: Any, train: Path, valid: Path, output: Path, *more: str) -> str:
    arguments = ["--train", train, "--valid", valid, "--foundation", "mini"]
    if "--strategy" not in more:
        more = ("--strategy", "lora", *more)
    message: str = cli.error("finetune", *arguments, *more, "-o", output)
    assert "\n" not in message
    return message


def test_a_file_that_holds_no_structure_is_named(cli: Any, tmp_path: Path, output: Path) -> None:
    path = tmp_path / "POSCAR"
    path.write_text("a shopping list\nmilk\neggs\n")
    message = cli.error("phonons", path, "--model", "mini", "-o", output)
    assert "POSCAR holds no structure" in message


def test_a_missing_structure_file_is_named(cli: Any, tmp_path: Path, output: Path) -> None:
    message = cli.error("elastic", tmp_path / "nothing.cif", "--model", "mini", "-o", output)
    assert "nothing.cif does not exist" in message


@pytest.mark.parametrize("command", ["phonons", "elastic", "double-well"])
def test_an_element_that_the_foundation_does_not_know_is_refused(
    cli: Any, tmp_path: Path, output: Path, command: str
) -> None:
    path = structure_file(tmp_path, "U")
    message = cli.error(command, path, "--model", "mini", "-o", output)
    assert "U" in message
    assert "mini" in message


def test_an_element_unknown_to_the_foundation_stops_run_before_it_starts(
    cli: Any, tmp_path: Path, output: Path
) -> None:
    store = tmp_path / "store"
    options = ["--foundation", "mini", "--labeller", "teacher", "--store", store, "--out", output]
    message = cli.error("run", structure_file(tmp_path, "U"), *options)
    assert "U" in message
    assert not store.exists()


def test_atoms_closer_than_half_an_angstrom_are_refused(
    cli: Any, tmp_path: Path, output: Path
) -> None:
    path = structure_file(tmp_path, "Cl", second=0.05)
    message = cli.error("phonons", path, "--model", "mini", "-o", output)
    assert "0.5 Å" in message


def test_an_unknown_model_is_answered_with_the_nearest(cli: Any, cif: Path, output: Path) -> None:
    message = cli.error("phonons", cif, "--model", "mimi", "-o", output)
    assert "Did you mean 'mini'" in message


@pytest.mark.parametrize("numbers", [["2", "2"], ["2", "2", "2", "2"], ["1", "1", "0"]])
def test_a_supercell_of_the_wrong_size_is_refused(
    cli: Any, cif: Path, output: Path, numbers: list[str]
) -> None:
    options = ["--model", "mini", "--supercell", *numbers, "-o", output]
    assert "supercell" in cli.error("phonons", cif, *options)


def test_frames_without_forces_are_refused(
    cli: Any, tmp_path: Path, frames: Path, output: Path
) -> None:
    bad = extxyz(tmp_path / "bad.extxyz", columns="", cs="", cl="")
    assert "REF_forces" in finetune(cli, bad, frames, output)
    assert "REF_forces" in finetune(cli, frames, bad, output)


def test_nan_in_forces_is_refused(cli: Any, tmp_path: Path, frames: Path, output: Path) -> None:
    bad = extxyz(tmp_path / "bad.extxyz", cs=" nan 0 0")
    message = finetune(cli, bad, frames, output)
    assert "NaN" in message
    assert "bad.extxyz" in message


def test_forces_that_do_not_match_the_atoms_are_refused(
    cli: Any, tmp_path: Path, frames: Path, output: Path
) -> None:
    bad = extxyz(tmp_path / "bad.extxyz", columns=":REF_forces:R:2", cs=" 0 0", cl=" 0 0")
    assert "forces" in finetune(cli, bad, frames, output)


def test_frames_of_an_element_that_the_foundation_does_not_know_are_refused(
    cli: Any, tmp_path: Path, frames: Path, output: Path
) -> None:
    bad = tmp_path / "bad.extxyz"
    bad.write_text(extxyz(bad).read_text().replace("Cs", "U"))
    assert "U" in finetune(cli, bad, frames, output)


def test_an_unknown_strategy_comes_with_the_list(cli: Any, frames: Path, output: Path) -> None:
    message = finetune(cli, frames, frames, output, "--strategy", "lore")
    assert "Did you mean 'lora'" in message
    assert "equitrain" in message


@pytest.mark.parametrize(
    ("given", "nearest"), [("max_epoch=3", "max_epochs"), ("loss.force=1", "loss.forces")]
)
def test_an_unknown_setting_comes_with_the_nearest(
    cli: Any, frames: Path, output: Path, given: str, nearest: str
) -> None:
    message = finetune(cli, frames, frames, output, "--set", given)
    assert f"Did you mean {nearest!r}" in message


@pytest.mark.parametrize("given", ["batch_size=0", "lr=-1", "weight_decay=-1", "max_epochs=-2"])
def test_a_setting_out_of_range_is_named(cli: Any, frames: Path, output: Path, given: str) -> None:
    key, value = given.split("=")
    message = finetune(cli, frames, frames, output, "--set", given)
    assert f"{key} = '{value}' is not allowed" in message


def test_an_unknown_strategy_or_labeller_stops_run_before_it_starts(
    cli: Any, tmp_path: Path, output: Path
) -> None:
    path, store = structure_file(tmp_path, "Cl"), tmp_path / "store"
    options = ["--foundation", "mini", "--store", store, "--out", output]
    message = cli.error("run", path, *options, "--labeller", "teacher", "--strategy", "lore")
    assert "Did you mean 'lora'" in message
    assert "teacher" in cli.error("run", path, *options, "--labeller", "techer")
    assert not store.exists()


def test_one_bad_structure_of_several_stops_run_before_it_starts(
    cli: Any, tmp_path: Path, output: Path
) -> None:
    good, store = structure_file(tmp_path, "Cl"), tmp_path / "store"
    options = ["--foundation", "mini", "--labeller", "teacher", "--store", store, "--out", output]
    assert "nothing.cif" in cli.error("run", good, tmp_path / "nothing.cif", *options)
    assert not store.exists()


@pytest.mark.parametrize("below", ["", "store"])
def test_a_store_that_cannot_be_written_is_named(
    cli: Any, tmp_path: Path, output: Path, below: str
) -> None:
    file = tmp_path / "file"
    file.write_text("not a store")
    options = ["--foundation", "mini", "--labeller", "teacher", "--out", output]
    crystal = structure_file(tmp_path, "Cl")
    message = cli.error("run", crystal, *options, "--store", file / below)
    assert str(file) in message
    assert "--store" in message


def test_a_store_that_is_not_there_is_not_made(cli: Any, tmp_path: Path) -> None:
    missing = tmp_path / "store"
    for arguments in (["results"], ["report", "-o", tmp_path / "report.html"]):
        assert "There is no store" in cli.error(*arguments, "--store", missing)
    assert not missing.exists()


def test_results_of_crystals_with_different_cells_are_not_compared(
    cli: Any, tmp_path: Path, phonons_of: Callable[..., Any]
) -> None:
    document = phonons_of()
    for name, scale in (("a", 1.0), ("b", 1.001)):
        (tmp_path / name).mkdir()
        cell = document.unitcell.copy()
        cell.scale_lattice(scale**3 * cell.volume)
        changed = {"material_id": structure_hash(cell), "unitcell": cell}
        write_document(document.model_copy(update=changed), tmp_path / name / "phonons.json")
    message = cli.error("compare", tmp_path / "a", tmp_path / "b")
    assert "cells of 3.995 3.995 3.995 Å and 3.999 3.999 3.999 Å" in message


def test_a_phonopy_file_of_another_crystal_is_not_compared(
    cli: Any, tmp_path: Path, phonons_of: Callable[..., Any]
) -> None:
    write_document(phonons_of(), tmp_path / "phonons.json")
    reference = tmp_path / "phonopy.yaml"
    reference.write_text("nothing: here\n")
    assert "phonopy.yaml" in cli.error("compare", reference, tmp_path)


def test_files_to_import_that_hold_no_frames_are_named(
    cli: Any, tmp_path: Path, output: Path
) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_text("<modeling>")
    assert "vasprun.xml" in cli.error("import", path, "-o", output)
    assert "does not exist" in cli.error("import", tmp_path / "nothing", "-o", output)


def test_a_folder_that_holds_no_model_is_named(cli: Any, tmp_path: Path, output: Path) -> None:
    assert "model.json" in cli.error("merge", tmp_path, "-o", output)


def test_a_model_file_that_nobody_trusts_is_not_loaded(
    cli: Any, tmp_path: Path, cif: Path, output: Path
) -> None:
    file = tmp_path / "mine.model"
    file.write_bytes(b"pickle")
    message = cli.error("phonons", cif, "--model", file, "-o", output)
    assert "phonotune models trust" in message


def test_an_environment_variable_that_is_not_allowed_is_named(
    cli: Any, cif: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHONOTUNE_DEVICE", "abacus")
    message = cli.error("phonons", cif, "--model", "mini", "-o", output)
    assert "PHONOTUNE_DEVICE = 'abacus' is not allowed" in message


def test_a_frame_is_written_as_it_is_read(tmp_path: Path, frames: Path) -> None:
    """The good frames of this file are good: the failures above come from what was spoilt."""
    from phonotune.data.extxyz import read_frames

    found = read_frames(frames)
    write_frames(tmp_path / "again.extxyz", found)
    assert isinstance(found[0], Frame)
    assert found[0].forces is not None
    assert found[0].forces.tolist() == [[0.1, 0, 0], [-0.1, 0, 0]]


def test_vasp_that_is_not_here_stops_run_before_it_starts(
    cli: Any, tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path, store = structure_file(tmp_path, "Cl"), tmp_path / "store"
    options = ["--foundation", "mini", "--store", store, "--out", output]
    assert "'vasp' cannot run here" in cli.error("run", path, *options)
    assert not store.exists()


@pytest.mark.parametrize(
    "content", [b"not gzip", gzip.compress(FRAME.encode())[:-20]], ids=["foreign", "cut off"]
)
def test_a_damaged_file_of_frames_is_refused_in_a_sentence(
    cli: Any, tmp_path: Path, frames: Path, output: Path, content: bytes
) -> None:
    bad = tmp_path / "bad.extxyz.gz"
    bad.write_bytes(content)
    assert "bad.extxyz.gz" in finetune(cli, bad, frames, output)
    assert "bad.extxyz.gz" in finetune(cli, frames, bad, output)
    assert "bad.extxyz.gz" in cli.error("phonons", bad, "--model", "mini", "-o", output)
    assert "bad.extxyz.gz" in cli.error("dataset", "info", bad)
    assert "bad.extxyz.gz" in cli.error("label", bad, "--labeller", "teacher", "-o", output)
    assert "bad.extxyz.gz" in cli.error("import", bad, "-o", output)


def test_a_way_to_compress_frames_that_is_not_known_is_refused(
    cli: Any, tmp_path: Path, frames: Path
) -> None:
    path = tmp_path / "out.extxyz.zst"
    assert ".gz, .bz2 or .xz" in cli.error("import", frames, "-o", path)
    assert not path.exists()


def test_missing_frames_to_label_are_named(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.extxyz"
    path.write_text("")
    message = cli.error("label", tmp_path / "none.extxyz", "--labeller", "teacher", "-o", path)
    assert "none.extxyz does not exist" in message


@pytest.mark.parametrize("content", ["[]", "null", "1e999", '"a"', '{"members": "x"}', "[" * 3000])
def test_a_model_json_of_another_kind_is_refused(
    cli: Any, tmp_path: Path, cif: Path, output: Path, content: str
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.json").write_text(content)
    message = cli.error("phonons", cif, "--model", tmp_path / "m", "-o", output)
    assert "is not a model directory" in message
