import os
import signal
import time

import pytest

from phonotune.errors import ConfigError, TrainingInterruptedError
from phonotune.settings import get_settings
from phonotune.training.config import parse_overrides
from phonotune.training.finetune import finetune
from phonotune.training.interruption import END_TIME, watch

OPTIONS = parse_overrides("lora").root


def tune(dataset, *overrides, after_epoch=None):
    config = parse_overrides("lora", ["max_epochs=4", "rank=2", *overrides])
    return finetune(dataset, "tiny", config, "cpu", after_epoch)


def checkpoints():
    folder = get_settings().checkpoint_dir
    return list(folder.glob("*")) if folder.exists() else []


def test_sigterm_is_noted_and_its_handler_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with watch(margin=0.0) as interruption:
        ended = interruption.within(OPTIONS, spent=0.0)
        assert ended() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended().reason == "SIGTERM received"
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_walltime_of_slurm_ends_with_a_margin(monkeypatch):
    monkeypatch.setenv(END_TIME, str(time.time() + 100))
    with watch(margin=50.0) as interruption:
        assert interruption.within(OPTIONS, spent=0.0)() is None
    with watch(margin=150.0) as interruption:
        assert interruption.within(OPTIONS, spent=0.0)().kind == "interrupted"


def test_a_walltime_that_is_no_time_is_refused(monkeypatch):
    monkeypatch.setenv(END_TIME, "soon")
    with pytest.raises(ConfigError, match=f"{END_TIME}='soon' is not a time"), watch(margin=0.0):
        pass


@pytest.mark.usefixtures("foundation")
def test_sigterm_leaves_a_checkpoint_and_the_same_call_ends_bit_identical(dataset):
    whole = tune(dataset)

    def terminate(row):
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingInterruptedError, match="stopped after 2 epochs: SIGTERM"):
        tune(dataset, after_epoch=terminate)
    assert len(checkpoints()) == 1
    seen = []
    resumed = tune(dataset, after_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [3, 4]
    assert resumed.model.model_id == whole.model.model_id
    assert checkpoints() == []


@pytest.mark.usefixtures("foundation")
def test_time_cuts_an_epoch_and_more_time_ends_bit_identical(dataset):
    whole = tune(dataset, "max_seconds=1e5")
    cut = tune(dataset, "max_seconds=1e-4")
    assert cut.stop_reason == "max_seconds=0.0001 reached"
    assert tune(dataset, "max_seconds=1e5").model.model_id == whole.model.model_id
