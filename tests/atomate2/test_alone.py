"""Every Maker alone in somebody's flow: dict and back twice, run_locally, a store in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jobflow import Flow, job
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Structure

import phonotune
from phonotune.data.assemble import assemble
from phonotune.jobs.compare import CompareMaker
from phonotune.jobs.dataset import DatasetMaker
from phonotune.jobs.elastic import ElasticMaker
from phonotune.jobs.finetune import FineTuneMaker
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.phonon import PhononMaker
from phonotune.jobs.phonon_flow import PhononFlowMaker
from phonotune.jobs.sample import RattleMaker, SelectMaker, TrajectoryMaker
from phonotune.jobs.sscha import SSCHAMaker
from phonotune.jobs.task_frames import TaskFramesMaker, TaskSettings
from phonotune.jobs.transitions import TransitionMaker
from phonotune.jobs.wells import DoubleWellMaker
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.sscha import SSCHASettings
from phonotune.physics.relax import RelaxSettings
from phonotune.physics.transitions.branches import TransitionSettings
from phonotune.sampling.settings import RattleSettings, SelectSettings
from phonotune.schemas.base import Document
from phonotune.schemas.dataset import (
    Candidate,
    LabelledSet,
    RelaxationSummary,
    StructureSet,
    TrajectoryDocument,
    pack_frames,
)
from phonotune.training.config import parse_overrides

PHONON = PhononSettings(
    supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_density=10.0, max_temperature=300.0
)
RATTLE = RattleSettings(n_cells=1, volumes=(0.0,), min_length=4.0)
FAST = RelaxSettings(max_steps=3)

MAKERS = {
    "rattle": RattleMaker(settings=RATTLE, phonon=PHONON),
    "trajectories": TrajectoryMaker(settings=FAST, kept_steps=3),
    "select": SelectMaker(settings=SelectSettings(method="random", budget=2, n_valid=0)),
    "label": LabelMaker(labeller="emt"),
    "dataset": DatasetMaker(valid_fraction=0.5),
    "finetune": FineTuneMaker(foundation="mini", config=parse_overrides("lora", ["max_epochs=1"])),
    "phonon": PhononMaker(settings=PHONON),
    "elastic": ElasticMaker(),
    "double well": DoubleWellMaker(),
    "transitions": TransitionMaker(
        settings=TransitionSettings(
            max_depth=0, phonon=PhononSettings(min_length=5.0, mesh_density=10.0)
        ),
    ),
    "sscha": SSCHAMaker(
        settings=SSCHASettings(phonons=PHONON, temperatures=(300.0,), n_structures=4)
    ),
    "compare": CompareMaker(),
    "task frames": TaskFramesMaker(settings=TaskSettings(every=2)),
    "phonon flow": PhononFlowMaker(phonon=PhononMaker(settings=PHONON), model="mini"),
}


@pytest.fixture(scope="module")
def inputs(rattled_aluminium: list[Structure]) -> dict[str, tuple[Any, ...]]:
    """Return what each Maker takes, made by hand: no Maker needs another one's job."""
    cell = rattled_aluminium[0].copy()
    crystal = Structure.from_spacegroup("Fm-3m", cell.lattice, ["Al"], [[0, 0, 0]])
    answers = load_evaluator("mini")(rattled_aluminium)
    rows = list(zip(rattled_aluminium, answers, strict=True))
    frames = [Candidate(s, f"group {i}", "rattled").frame(a) for i, (s, a) in enumerate(rows)]
    structures = StructureSet.from_candidates(
        [Candidate(s, f"group {i}", "rattled") for i, s in enumerate(rattled_aluminium)], "by hand"
    )
    relaxations = [
        RelaxationSummary(
            group=f.group, steps=1, converged=True, energy_first=0, energy_last=0, max_force=0
        )
        for f in frames
    ]
    paths = TrajectoryDocument(model_id="mini", relaxations=relaxations, data=pack_frames(frames))
    labels = LabelledSet(
        labeller="mini", protocol="mini", requested=4, rejected=[], data=pack_frames(frames)
    )
    dataset = assemble(frames, labeller="mini", valid_groups=["group 3"])
    phonons = PhononMaker.make.original(PhononMaker(settings=PHONON), crystal, "mini")
    return {
        "rattle": (crystal,),
        "trajectories": (structures, "mini"),
        "select": (paths,),
        "label": (structures,),
        "dataset": (labels,),
        "finetune": (dataset,),
        "phonon": (crystal, "mini"),
        "elastic": (crystal, "mini"),
        "double well": (crystal, phonons, "mini"),
        "transitions": (crystal, "mini"),
        "sscha": (crystal, "mini"),
        "compare": ([phonons], [[phonons]]),
        "phonon flow": (crystal,),
    }


def stored_twice(value: Any) -> Any:
    for _ in range(2):
        value = MontyDecoder().decode(json.dumps(value, cls=MontyEncoder))
    return value


@job
def kind_of(document: Any) -> str:
    """Somebody's next job."""
    return getattr(document, "kind", type(document).__name__)


@pytest.mark.parametrize("name", MAKERS)
def test_a_maker_comes_back_equal_from_a_store(name: str) -> None:
    assert stored_twice(MAKERS[name]) == MAKERS[name]


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "task frames"])
def test_a_maker_runs_alone_in_a_flow_and_feeds_the_next_job(
    name: str, inputs: dict[str, tuple[Any, ...]], run: Any
) -> None:
    made = stored_twice(MAKERS[name]).make(*inputs[name])
    after = kind_of(made.output)
    outputs = run(stored_twice(Flow([made, after])), theirs=name == "phonon flow")
    output = outputs[made.output.uuid]
    assert outputs[after.uuid] == getattr(output, "kind", "PhononBSDOSDoc")
    if isinstance(output, Document):
        assert len(json.dumps(output, cls=MontyEncoder)) < 8e6


def test_every_public_maker_is_tried() -> None:
    tried = {type(maker).__name__ for maker in MAKERS.values()}
    flows = {"PhonotuneMaker", "CampaignMaker"}
    elsewhere = {"QuasiHarmonicMaker", "ConductivityMaker"}  # tests/jobs runs them with jobflow
    public = {name for name in phonotune.__all__ if name.endswith("Maker")}
    assert public - flows - elsewhere <= tried
