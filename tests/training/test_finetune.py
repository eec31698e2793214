import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monty.json import MontyDecoder, MontyEncoder
from processes import wait_for
from warm import WarmProcess

from phonotune.errors import FramesError, StructureError, TrainingError
from phonotune.models.adapter import atomic_energies, merge, read_adapters
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.evaluators import load_evaluator
from phonotune.models.load import load_model
from phonotune.models.weight_updates import element_rows
from phonotune.progress import Progress
from phonotune.settings import get_settings
from phonotune.training import loop
from phonotune.training.config import parse_overrides
from phonotune.training.directory import write_model_directory
from phonotune.training.finetune import finetune

SHORT = ["max_epochs=3", "rank=2"]


def tune(dataset, *overrides, after_epoch=None):
    config = parse_overrides("lora", [*SHORT, *overrides])
    return finetune(dataset, "tiny", config, "cpu", after_epoch)


def history(document):
    arrays = document.history.arrays()
    return {name: values for name, values in arrays.items() if name != "seconds"}


def same(one, other):
    for name, values in history(one).items():
        np.testing.assert_array_equal(values, history(other)[name])
    return one.model.adapters == other.model.adapters and one.model.model_id == other.model.model_id


@pytest.fixture
def every_epoch(monkeypatch):
    """Write a checkpoint after every epoch."""
    monkeypatch.setenv("PHONOTUNE_CHECKPOINT_SECONDS", "1e-9")
    get_settings.cache_clear()


def checkpoints():
    folder = get_settings().checkpoint_dir
    return list(folder.glob("*")) if folder.exists() else []


@pytest.mark.usefixtures("foundation")
def test_tuning_lowers_the_validation_error_and_leaves_no_checkpoint(dataset):
    document = tune(dataset)
    losses = document.history.arrays()["valid_loss"]
    assert losses[document.best_epoch] == losses.min() < losses[0]
    assert document.metrics.valid_after.forces_mae < document.metrics.valid_before.forces_mae
    assert document.epochs == 3
    assert document.stop_reason == "all 3 epochs done"
    assert checkpoints() == []


@pytest.fixture
def perfect(foundation, labelled, dataset_of):
    """Frames that the foundation itself labelled: every step can only make it worse."""
    structures = [frame.structure for frame in labelled]
    answers = ModelEvaluator(foundation, "cpu")(structures)
    return dataset_of(
        [
            replace(frame, energy=answer.energy, forces=answer.forces, stress=answer.stress)
            for frame, answer in zip(labelled, answers, strict=True)
        ]
    )


def test_the_result_is_never_worse_than_the_foundation(perfect):
    document = tune(perfect)
    losses = document.history.arrays()["valid_loss"]
    assert losses[1:].min() > losses[0]
    assert document.best_epoch == 0
    assert document.metrics.valid_after == document.metrics.valid_before


@pytest.mark.usefixtures("foundation")
def test_a_seed_determines_the_result_bit_by_bit(dataset):
    one = tune(dataset)
    assert same(one, tune(dataset))
    assert tune(dataset, "seed=1").model.adapters != one.model.adapters


@pytest.mark.usefixtures("foundation", "every_epoch")
@pytest.mark.parametrize("overrides", [[], ["ema=0.9", "schedule=plateau", "dtype=float64"]])
def test_an_interrupted_training_resumes_and_ends_bit_identical(dataset, overrides):
    class KilledError(Exception):
        pass

    seen = []

    def kill(row):
        seen.append(row["epoch"])
        if row["epoch"] == 2:
            raise KilledError

    whole = tune(dataset, *overrides)
    with pytest.raises(KilledError):
        tune(dataset, *overrides, after_epoch=kill)
    assert len(checkpoints()) == 1
    resumed = tune(dataset, *overrides, after_epoch=kill)
    assert seen == [0, 1, 2, 3]
    assert same(resumed, whole)


@pytest.mark.usefixtures("foundation")
def test_time_stops_and_more_time_goes_on(dataset):
    stopped = tune(dataset, "max_seconds=1e-6", "max_epochs=1")
    assert stopped.stop_reason.startswith("max_seconds")
    assert len(checkpoints()) == 1
    assert tune(dataset, "max_seconds=1e6", "max_epochs=1").epochs == 1
    assert checkpoints() == []


def test_patience_counts_the_foundation(perfect):
    document = tune(perfect, "patience=2", "max_epochs=50")
    assert document.epochs == 2
    assert document.stop_reason.startswith("no better validation loss")


@pytest.mark.usefixtures("foundation")
def test_divergence_keeps_the_last_good_state(dataset, monkeypatch):
    original, calls = loop.step, []

    def diverge(*arguments):
        calls.append(1)
        loss = original(*arguments)
        return loss * float("nan") if len(calls) > 2 else loss

    monkeypatch.setattr("phonotune.training.loop.step", diverge)
    document = tune(dataset)
    assert document.stop_reason.startswith("diverged in epoch 2")
    assert document.epochs == 1
    assert document.metrics.valid_after.forces_mae <= document.metrics.valid_before.forces_mae


def test_a_foundation_that_gives_no_number_is_an_error(dataset, foundation):
    broken = foundation.get_parameter("interactions.0.linear_up.weight")
    original = broken.detach().clone()
    with torch.no_grad():
        broken.fill_(float("nan"))
    try:
        with pytest.raises(TrainingError, match="not a number"):
            tune(dataset, "refit_energies=false")
    finally:
        with torch.no_grad():
            broken.copy_(original)


@pytest.mark.usefixtures("foundation")
def test_energies_of_another_level_of_theory_are_refitted_first(dataset):
    document = tune(dataset, "max_epochs=0")
    assert "not transferable" in document.energy_refit
    assert document.metrics.valid_before.energy_mae < 100
    raw = tune(dataset, "max_epochs=0", "refit_energies=false")
    assert raw.metrics.valid_before.energy_mae > 400


@pytest.mark.usefixtures("foundation")
def test_frames_without_stress_train_without_stress(labelled, dataset_of):
    document = tune(dataset_of([replace(frame, stress=None) for frame in labelled]))
    assert document.metrics.valid_after.stress_mae is None
    assert "valid_stress" not in document.history.arrays()


@pytest.mark.usefixtures("foundation")
def test_three_frames_with_batches_of_eight_train(labelled, dataset_of):
    document = tune(dataset_of(labelled[:4], n_valid=1), "batch_size=8")
    assert document.best_epoch > 0


@pytest.mark.usefixtures("foundation")
def test_frames_without_any_force_are_refused(labelled, dataset_of):
    with pytest.raises(FramesError, match="None of the 4 training frames has forces"):
        tune(dataset_of([replace(frame, forces=None) for frame in labelled]))


@pytest.mark.usefixtures("foundation")
def test_a_dataset_without_validation_is_refused(labelled, dataset_of):
    with pytest.raises(FramesError, match="6 training and 0 validation"):
        tune(dataset_of(labelled, n_valid=0))


@pytest.mark.usefixtures("foundation")
def test_an_element_outside_the_foundation_is_named(labelled, dataset_of):
    frames = [replace(frame, structure=frame.structure.copy()) for frame in labelled]
    frames[0].structure.replace(0, "K")
    with pytest.raises(StructureError, match="K"):
        tune(dataset_of(frames))


@pytest.mark.usefixtures("foundation")
def test_the_stored_model_gives_the_stored_predictions(dataset):
    document = tune(dataset)
    valid = dataset.valid_frames()
    answers = ModelEvaluator(load_model(document.model), "cpu")([f.structure for f in valid])
    parity = document.parity.arrays()
    np.testing.assert_array_equal(
        parity["forces_predicted"], np.concatenate([answer.forces for answer in answers])
    )
    np.testing.assert_array_equal(
        parity["forces_reference"], np.concatenate([frame.forces for frame in valid])
    )
    assert read_adapters(document.model)[0].energy_shifts.keys() == {11, 17}


@pytest.mark.usefixtures("foundation")
def test_divergence_from_the_start_is_an_error_that_says_what_to_change(dataset, monkeypatch):
    original = loop.step
    monkeypatch.setattr(loop, "step", lambda *arguments: original(*arguments) * float("nan"))
    with pytest.raises(TrainingError, match=r"diverged in epoch 1 .* Lower lr \(now 0.0"):
        tune(dataset)


@pytest.mark.usefixtures("foundation")
def test_a_committee_has_other_seeds_and_frames_and_answers_with_its_mean(dataset):
    document = tune(dataset, "committee=3", "seed=5")
    assert [member.seed for member in document.further_members] == [6, 7]
    contents = {tuple(part.sha256 for part in parts) for parts in document.model.adapters}
    assert len(contents) == 3
    committee = load_evaluator(document.model, "cpu")
    valid = dataset.valid_frames()
    answers = committee([frame.structure for frame in valid])
    np.testing.assert_array_equal(
        document.parity.arrays()["forces_predicted"],
        np.concatenate([answer.forces for answer in answers]),
    )
    assert all(answer.spread.forces.max() > 0 for answer in answers)
    assert checkpoints() == []


@pytest.mark.slow
@pytest.mark.usefixtures("foundation")
def test_members_without_bootstrap_differ_by_their_seeds_alone(dataset):
    committee = tune(dataset, "committee=2", "bootstrap=false")
    alone = [tune(dataset, f"seed={seed}") for seed in (0, 1)]
    for parts, single in zip(committee.model.adapters, alone, strict=True):
        assert parts == single.model.adapters[0]


@pytest.mark.slow
@pytest.mark.usefixtures("foundation", "every_epoch")
def test_an_interrupted_committee_does_not_train_its_finished_members_again(dataset):
    class KilledError(Exception):
        pass

    seen = []

    def kill(row):
        seen.append(row["epoch"])
        if len(seen) == 6:
            raise KilledError

    whole = tune(dataset, "committee=2")
    with pytest.raises(KilledError):
        tune(dataset, "committee=2", after_epoch=kill)
    assert len(checkpoints()) == 2
    resumed = tune(dataset, "committee=2", after_epoch=kill)
    assert seen == [0, 1, 2, 3, 0, 1, 2, 3]
    assert resumed.model.model_id == whole.model.model_id
    assert checkpoints() == []


@pytest.mark.usefixtures("foundation")
def test_progress_counts_the_epochs_of_all_members_and_names_the_probe(dataset):
    seen = []

    class Shown(Progress):
        def show(self):
            seen.append((self.done, self.total, self.text))

    config = parse_overrides("lora", [*SHORT, "committee=2"])
    finetune(dataset, "tiny", config, "cpu", progress=Shown())
    assert seen[0] == (0, 6, "finding neighbours")
    epochs = [done for done, _, text in seen if text.startswith("validation forces")]
    assert epochs == [0, 1, 2, 3, 3, 4, 5, 6]
    assert seen[-1] == (6, 6, "what the model forgot")


def train_and_tell(file, last=None):
    """Train; print every epoch and wait at the last; print the model."""

    def tell(row):
        print(row["epoch"], flush=True)
        if row["epoch"] == last:
            signal.pause()

    dataset = json.loads(Path(file).read_text(), cls=MontyDecoder)
    config = parse_overrides("lora", ["max_epochs=6", "dtype=float32"])
    document = finetune(dataset, "mini", config, "cpu", tell)
    print("model", document.model.model_id, flush=True)


def told(process):
    """Return the lines that a training itself printed."""
    return [
        line for line in process.stdout.splitlines() if line.startswith("model") or line.isdigit()
    ]


@pytest.mark.slow
def test_a_killed_process_resumes_and_ends_bit_identical(dataset, tmp_path):
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps(dataset, cls=MontyEncoder))

    def start(name, last=None):
        variables = {
            "PHONOTUNE_CHECKPOINT_DIR": str(tmp_path / name),
            "PHONOTUNE_CHECKPOINT_SECONDS": "1e-9",
        }
        return WarmProcess(
            train_and_tell, file, last, folder=tmp_path / "output", variables=variables
        )

    whole = start("whole")
    assert whole.wait() == 0, whole.stderr
    killed = start("killed", last=3)
    wait_for(lambda: "3" in told(killed), 120)
    killed.kill()
    assert killed.process.exitcode == -signal.SIGKILL
    resumed = start("killed")
    assert resumed.wait() == 0, resumed.stderr
    assert told(resumed)[0] in {"3", "4"}
    assert told(resumed)[-1].startswith("model")
    assert told(resumed)[-1] == told(whole)[-1]


@pytest.mark.usefixtures("foundation")
def test_energies_of_isolated_atoms_become_the_atomic_energies(tmp_path, dataset, foundation):
    energies = {"Na": -1.75, "Cl": -2.0, "Fe": 5.0}
    document = tune(dataset.model_copy(update={"isolated_atoms": energies}), "max_epochs=0")
    assert document.isolated_atoms == energies
    assert "from isolated atoms: Z=11, Z=17; this leaves" in document.energy_refit
    (adapter,) = read_adapters(document.model)
    tuned = atomic_energies(merge(foundation, adapter))[0, list(element_rows(foundation, [11, 17]))]
    assert tuned.tolist() == pytest.approx([-1.75, -2.0], abs=1e-12)
    write_model_directory(document, tmp_path / "m")
    for name in ("model.json", "metrics.json"):
        assert json.loads((tmp_path / "m" / name).read_text())["isolated_atoms"] == energies
    kept = tune(dataset.model_copy(update={"isolated_atoms": {"Na": -1.75}}), "max_epochs=0")
    assert "Z=11, the others fitted" in kept.energy_refit
    fitted = tune(
        dataset.model_copy(update={"isolated_atoms": energies}),
        *("max_epochs=0", "isolated_atoms=false"),
    )
    assert fitted.energy_refit == tune(dataset, "max_epochs=0").energy_refit
    assert kept.metrics.valid_before.energy_mae < 100
