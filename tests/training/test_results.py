import csv
import json

import numpy as np
import pytest

from phonotune.errors import InputError
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.load import load_model
from phonotune.models.records import read_model_directory
from phonotune.ports import Evaluation
from phonotune.schemas.dataset import Frame
from phonotune.training.config import parse_overrides
from phonotune.training.finetune import finetune, write_model_directory
from phonotune.training.results import frame_errors


def test_errors_are_means_over_the_labels_that_are_there(labelled):
    structure = labelled[0].structure
    frames = [
        Frame(structure, 1.0, np.zeros((8, 3)), None),
        Frame(structure, None, np.zeros((8, 3)), np.zeros((3, 3))),
    ]
    answers = [
        Evaluation(1.8, np.full((8, 3), 0.1), np.ones((3, 3))),
        Evaluation(9.0, np.full((8, 3), -0.3), np.full((3, 3), 0.002)),
    ]
    errors = frame_errors(frames, answers)
    assert errors.energy_mae == pytest.approx(100.0)
    assert errors.forces_mae == pytest.approx(200.0)
    assert errors.stress_mae == pytest.approx(2.0)


@pytest.fixture
def document(foundation, dataset):
    return finetune(dataset, "tiny", parse_overrides("lora", ["max_epochs=2"]), "cpu")


def test_a_model_directory_holds_the_model_and_its_history(document, dataset, tmp_path):
    folder = write_model_directory(document, tmp_path / "new" / "model")
    names = {"adapter.safetensors", "model.json", "history.csv", "metrics.json"}
    assert {path.name for path in folder.iterdir()} == names
    model = json.loads((folder / "model.json").read_text())
    assert model["model_id"] == document.model.model_id
    assert model["foundation"] == {"name": "tiny", "sha256": "ab" * 32, "engine": "mace"}
    assert model["plan"]["parameters_total"] == document.plan.parameters_total
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["valid_after"]["forces_mae"] == document.metrics.valid_after.forces_mae
    with (folder / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert {"seconds", "loss", "valid_loss", "valid_forces", "lr"} <= rows[0].keys()


def test_a_model_directory_is_the_model(document, dataset, tmp_path):
    write_model_directory(document, tmp_path)
    record = read_model_directory(tmp_path)
    assert record == document.model
    structures = [frame.structure for frame in dataset.valid_frames()]
    one, other = (
        ModelEvaluator(load_model(model), "cpu")(structures) for model in (document.model, tmp_path)
    )
    assert [answer.energy for answer in one] == [answer.energy for answer in other]


def test_a_file_in_the_way_is_one_clear_error(document, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_model_directory(document, tmp_path / "taken")


def test_a_committee_writes_an_adapter_a_member_and_one_history(foundation, dataset, tmp_path):
    config = parse_overrides("lora", ["max_epochs=1", "committee=2"])
    document = finetune(dataset, "tiny", config, "cpu")
    folder = write_model_directory(document, tmp_path)
    assert {"adapter.safetensors", "adapter-2.safetensors"} <= {p.name for p in folder.iterdir()}
    assert read_model_directory(folder) == document.model
    with (folder / "history.csv").open() as stream:
        rows = [(row["member"], row["epoch"]) for row in csv.DictReader(stream)]
    assert rows == [("1", "0"), ("1", "1"), ("2", "0"), ("2", "1")]
    (folder / "adapter-2.safetensors").unlink()
    with pytest.raises(InputError, match=r"adapter-2.safetensors"):
        read_model_directory(folder)
