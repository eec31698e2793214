"""FineTuneMaker over several walltimes: one training, no epoch twice."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from jobflow import Flow, JobStore, job, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from phonotune.errors import TrainingInterruptedError, WalltimeError
from phonotune.jobs.finetune import FineTuneMaker
from phonotune.models.evaluators import load_evaluator
from phonotune.schemas.blob import Blob
from phonotune.schemas.dataset import DatasetDocument, Frame, pack_frames
from phonotune.settings import get_settings
from phonotune.training import finetune, interruption
from phonotune.training.config import parse_overrides

MAKER = FineTuneMaker(
    foundation="mini", config=parse_overrides("lora", ["max_epochs=4", "rank=2", "batch_size=1"])
)


@pytest.fixture(scope="module")
def dataset() -> DatasetDocument:
    """Three training frames and one validation frame of NaCl."""
    cell = Structure(Lattice.cubic(3.96), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    moves = np.random.default_rng(0).normal(scale=0.1, size=(4, 2, 3))
    cells = [Structure(cell.lattice, cell.species, cell.frac_coords + m / 3.96) for m in moves]
    answers = load_evaluator("teacher", "cpu")(cells)
    pairs = zip(cells, answers, strict=True)
    data = pack_frames([Frame(s, a.energy, a.forces, a.stress, "a", "toy") for s, a in pairs])
    return DatasetDocument(
        formula="NaCl",
        dataset_hash=data.sha256,
        labeller="teacher",
        train=[0, 1, 2],
        valid=[3],
        n_duplicates=0,
        has_stress=100.0,
        data=data,
    )


class Slurm:
    """A Slurm job that ends after so many optimiser steps; each call of finetune is another job."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: float) -> None:
        self.steps, self.asked, self.jobs = steps, 0, 0
        monkeypatch.setattr(interruption, "_end", self.start)
        monkeypatch.setattr(interruption, "time", self.time)

    def start(self, margin: float) -> float:
        self.asked, self.jobs = 0, self.jobs + 1
        return 100.0

    def time(self) -> float:
        self.asked += 1
        return 200.0 if self.asked > self.steps else 0.0


def run(dataset: DatasetDocument) -> tuple[JobStore, str]:
    """Run dataset -> training -> its model's id."""

    @job(data=[Blob])
    def give() -> DatasetDocument:
        return dataset

    @job
    def read(model_id: str) -> str:
        return model_id

    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    first = give()
    tuned = MAKER.make(first.output)
    last = read(tuned.output.model.model_id)
    run_locally(Flow([first, tuned, last]), store=store, log=False, raise_immediately=True)
    return store, store.get_output(last.uuid)


@pytest.mark.slow
def test_a_training_goes_on_in_a_further_walltime_and_ends_bit_identical(
    dataset: DatasetDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = []
    steps = finetune.run

    def count(task, state, *rest):
        before = len(state.history)
        stop = steps(task, state, *rest)
        epochs.append(len(state.history) - max(before, 1))
        return stop

    monkeypatch.setattr(finetune, "run", count)
    whole = run(dataset)[1]
    slurm = Slurm(monkeypatch, steps=4)  # an epoch is three
    store, model_id = run(dataset)
    assert model_id == whole
    assert epochs == [4, 1, 1, 1, 1]
    assert slurm.jobs == 4
    rows = sorted(store.query({"name": "finetune"}), key=lambda row: row["index"])
    assert [row["output"] is None for row in rows] == [True, True, True, False]
    assert list(get_settings().checkpoint_dir.glob("*")) == []


def test_a_walltime_too_short_for_an_epoch_is_an_error(
    dataset: DatasetDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = Slurm(monkeypatch, steps=1)
    with pytest.raises(WalltimeError, match="too short for any progress"):
        run(dataset)
    assert slurm.jobs == 2


def test_sigterm_ends_the_job_for_good(
    dataset: DatasetDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(self, row):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(finetune._KeptEpochs, "__call__", terminate)
    with pytest.raises(TrainingInterruptedError, match="SIGTERM received") as stopped:
        run(dataset)
    assert not isinstance(stopped.value, WalltimeError)
