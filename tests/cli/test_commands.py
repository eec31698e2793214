"""The pieces one after another, on caesium chloride: import, tune, phonons, compare, report."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phonopy import load as load_phonopy
from pymatgen.core import Lattice, Structure

from phonotune.data.extxyz import write_frames
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.load import load_model
from phonotune.schemas.dataset import Frame
from phonotune.settings import get_settings

SUPERCELL = ("--supercell", "2", "2", "2")


@dataclass(frozen=True)
class Bench:
    """Files that the commands below read."""

    crystal: Path
    train: Path
    valid: Path
    tuned: Path
    finetuned: dict[str, Any]


def labelled(crystal: Structure, seed: int) -> Frame:
    """A rattled cell labelled by `teacher`."""
    structure = crystal * (2, 2, 1)
    shifts = np.random.default_rng(seed).normal(scale=0.05, size=(len(structure), 3))
    structure = Structure(
        structure.lattice,
        structure.species,
        structure.cart_coords + shifts,
        coords_are_cartesian=True,
    )
    answer = ModelEvaluator(load_model("teacher"), device="cpu")([structure])[0]
    return Frame(structure, answer.energy, answer.forces, answer.stress, group=str(seed))


@pytest.fixture(scope="module")
def bench(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A crystal, frames of it, and `mini` tuned on them by the command line."""
    folder = tmp_path_factory.mktemp("bench")
    crystal = Structure(Lattice.cubic(4.2), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])
    paths = Bench(*(folder / n for n in ("cscl.cif", "t.extxyz", "v.extxyz", "tuned")), {})
    crystal.to(filename=str(paths.crystal))
    write_frames(paths.train, [labelled(crystal, seed) for seed in (0, 1)])
    write_frames(paths.valid, [labelled(crystal, 2)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHONOTUNE_CHECKPOINT_DIR", str(folder / "checkpoints"))
        get_settings.cache_clear()
        result = cli(
            *("finetune", "--train", paths.train, "--valid", paths.valid, "--foundation", "mini"),
            *("--strategy", "lora", "--set", "max_epochs=6", "-o", paths.tuned),
        )
        get_settings.cache_clear()
        paths.finetuned.update(result)
        yield paths


@pytest.fixture(scope="module")
def phonons(bench: Bench, cli: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of phonons by teacher, by mini and by the tuned model."""
    folder = tmp_path_factory.mktemp("phonons")
    models = {"teacher": "teacher", "untuned": "mini", "tuned": bench.tuned}
    for name, model in models.items():
        cli("phonons", bench.crystal, "--model", model, *SUPERCELL, "-o", folder / name)
    return {name: folder / name for name in models}


def test_finetune_writes_its_four_files_and_reports_the_errors(bench: Bench) -> None:
    names = {path.name for path in bench.tuned.iterdir()}
    assert names == {"adapter.safetensors", "model.json", "history.csv", "metrics.json"}
    assert set(bench.finetuned["files"]) == names
    training = bench.finetuned["training"]
    assert training["model"]["strategy"] == "lora"
    assert "adapters" not in training["model"]
    with (bench.tuned / "history.csv").open(newline="") as file:
        losses = [float(row["valid_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == training["epochs"] + 1 == 7
    assert losses[training["best_epoch"]] == min(losses) < losses[0]


@pytest.mark.parametrize("resume", [True, False])
def test_an_interrupted_training_goes_on_with_or_without_resume(
    bench: Bench, cli: Any, tmp_path: Path, resume: bool
) -> None:
    options = ["--train", bench.train, "--valid", bench.valid, "--foundation", "mini"]
    options += ["--strategy", "lora", "--set", "max_epochs=2"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    found = cli("finetune", *options, "--set", "max_seconds=0.001", "-o", stopped)
    assert found["training"]["epochs"] < 2
    more = ["--resume"] if resume else []
    assert cli("finetune", *options, *more, "-o", whole)["training"]["epochs"] == 2
    first, second = (
        (folder / "history.csv").read_text().splitlines() for folder in (stopped, whole)
    )
    assert second[: len(first)] == first


def test_resume_without_a_checkpoint_says_so(bench: Bench, cli: Any, tmp_path: Path) -> None:
    options = ["--train", bench.train, "--valid", bench.valid, "--foundation", "mini", "--resume"]
    options += ["--strategy", "lora", "--set", "max_epochs=0", "-o", tmp_path / "a"]
    result = cli.plain("finetune", *options)
    assert result.exit_code == 0
    assert "no interrupted training" in result.stderr


def test_phonons_writes_what_phonopy_loads(phonons: dict[str, Path]) -> None:
    folder = phonons["tuned"]
    phonon = load_phonopy(
        folder / "phonopy_params.yaml",
        force_constants_filename=folder / "force_constants.hdf5",
        is_compact_fc=True,
        log_level=0,
    )
    document = json.loads((folder / "phonons.json").read_text())
    phonon.run_mesh(document["mesh"], is_gamma_center=True)
    frequencies = np.array(document["data"]["mesh_frequencies"]["values"])
    assert phonon.mesh.frequencies.max() == pytest.approx(frequencies.max(), abs=1e-6)


def test_phonons_draws_and_tabulates(phonons: dict[str, Path]) -> None:
    folder = phonons["tuned"]
    for name in ("bands.png", "dos.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    with (folder / "thermal.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["temperature_K"] == "0"
    assert float(rows[-1]["heat_capacity_J_per_K_per_mol"]) == pytest.approx(6 * 8.314, rel=0.01)


def test_a_supercell_is_given_as_3_or_9_integers_or_as_text(
    bench: Bench, cli: Any, tmp_path: Path
) -> None:
    wanted = [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    for index, cell in enumerate((["2 2 2"], list("200020002"))):
        options = ["--supercell", *cell, "--model", "mini", "-o", tmp_path / str(index)]
        found = cli("phonons", bench.crystal, *options)
        assert found["phonon"]["supercell_matrix"] == wanted


def test_compare_gives_one_row_a_model_in_the_order_given(
    phonons: dict[str, Path], cli: Any, tmp_path: Path
) -> None:
    file = tmp_path / "comparison.json"
    arguments = (phonons["teacher"], phonons["untuned"], phonons["tuned"], "-o", file)
    found = cli("compare", *arguments)
    assert found == json.loads(file.read_text())
    assert [row["source"]["role"] for row in found["rows"]] == ["untuned", "lora"]
    untuned, tuned = (row["deviations"]["frequency_mae"] for row in found["rows"])
    assert 0 < untuned != tuned > 0


def test_compare_takes_a_phonopy_file_as_reference(phonons: dict[str, Path], cli: Any) -> None:
    found = cli("compare", phonons["teacher"] / "phonopy_params.yaml", phonons["teacher"])
    assert found["rows"][0]["deviations"]["frequency_max"] == pytest.approx(0, abs=1e-6)


def test_comparison_as_a_table_names_everyone(phonons: dict[str, Path], cli: Any) -> None:
    result = cli.plain("compare", phonons["teacher"], phonons["tuned"])
    for text in ("untuned · teacher", "lora · mini", "Frequency", "MAE", "THz"):
        assert text in result.stdout
    assert "modulus" not in result.stdout.lower()


def test_elastic_writes_a_symmetric_tensor(bench: Bench, cli: Any, tmp_path: Path) -> None:
    found = cli("elastic", bench.crystal, "--model", bench.tuned, "-o", tmp_path)
    tensor = np.array(found["elastic"]["elastic_tensor"])
    np.testing.assert_allclose(tensor, tensor.T, atol=1e-6)
    assert json.loads((tmp_path / "elastic.json").read_text()) == found["elastic"]


def test_double_well_writes_the_curve(bench: Bench, cli: Any, tmp_path: Path) -> None:
    options = ("--model", "mini", *SUPERCELL, "-o", tmp_path)
    found = cli("double-well", bench.crystal, *options)
    assert found["well"]["depth"] >= 0
    assert (tmp_path / "well.png").read_bytes().startswith(b"\x89PNG")
    amplitudes = json.loads((tmp_path / "well.json").read_text())["data"]["amplitudes"]["values"]
    assert 0 in amplitudes


def test_report_of_folders_is_one_page(phonons: dict[str, Path], cli: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert cli("report", phonons["tuned"].parent, "-o", page)["documents"] == 3
    assert "CsCl" in page.read_text()


def test_merged_model_answers_as_the_adapter_does(bench: Bench, cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "cscl.model"
    cli("merge", bench.tuned, "-o", file)
    cli("models", "trust", file)
    crystal = Structure.from_file(bench.crystal)
    crystal.translate_sites([0], [0.1, 0, 0], frac_coords=False)
    merged, tuned = (
        ModelEvaluator(load_model(model), device="cpu")([crystal])[0]
        for model in (file, bench.tuned)
    )
    np.testing.assert_allclose(merged.forces, tuned.forces, atol=1e-10)


def test_models_list_names_shipped_and_published_models(cli: Any) -> None:
    where = {model["name"]: model["where"] for model in cli("models", "list")["models"]}
    assert where["mini"] == where["teacher"] == "shipped"
    assert where["mace-mp-0b3"] in {"cached", "to download"}


def test_models_verify_gives_the_sha256(bench: Bench, cli: Any) -> None:
    mini, tuned = cli("models", "verify", "mini"), cli("models", "verify", bench.tuned)
    assert mini["foundation"] == tuned["foundation"]
    assert mini["strategy"] is None
    assert tuned["strategy"] == "lora"
