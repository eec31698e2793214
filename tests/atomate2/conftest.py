"""jobflow as others run it: run_locally with a store in memory; a model tuned in seconds; VASP emulated."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, Job, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from phonotune.data.assemble import assemble
from phonotune.models.evaluators import load_evaluator
from phonotune.schemas.dataset import Candidate
from phonotune.training.config import parse_overrides
from phonotune.training.finetune import finetune, write_model_directory

with warnings.catch_warnings():  # what atomate2 0.1.5 warns of when it is imported
    warnings.simplefilter("ignore")
    import atomate2.common.schemas.phonons
    import atomate2.cp2k.schemas.task  # noqa: F401

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a flow; every job must succeed. Returns the last output of each job by its uuid.

    ``theirs`` forgives the warnings of flows that are atomate2's.
    """

    def run_all(flow: Flow | Job, theirs: bool = False) -> dict[str, Any]:
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        with warnings.catch_warnings():
            if theirs:
                warnings.simplefilter("ignore")
            responses = run_locally(
                flow,
                log=False,
                store=store,
                root_dir=tmp_path,
                create_folders=True,
                raise_immediately=True,
            )
        return {uuid: by_index[max(by_index)].output for uuid, by_index in responses.items()}

    return run_all


@pytest.fixture(scope="session")
def rattled_aluminium() -> list[Structure]:
    """Four rattled cells of four atoms."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    return [cell.copy().perturb(0.05, seed=seed) for seed in range(4)]


@pytest.fixture(scope="session")
def tuned(rattled_aluminium: list[Structure], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Directory of ``mini`` tuned on aluminium by ``teacher`` for three epochs."""
    folder = tmp_path_factory.mktemp("model")
    answers = load_evaluator("teacher")(rattled_aluminium)
    frames = [
        Candidate(s, str(i), "rattled").frame(a)
        for i, (s, a) in enumerate(zip(rattled_aluminium, answers, strict=True))
    ]
    dataset = assemble(frames, labeller="teacher", valid_groups=["3"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHONOTUNE_CHECKPOINT_DIR", str(folder / "checkpoints"))
        document = finetune(dataset, "mini", parse_overrides("lora", ["max_epochs=3"]))
    write_model_directory(document, folder / "tuned")
    return str(folder / "tuned")
