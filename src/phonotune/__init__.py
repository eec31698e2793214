"""Fine-tune MACE foundation models for phonons, in one jobflow DAG.

Names are imported when they are first used: ``import phonotune`` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phonotune.flows.campaign import CampaignMaker
    from phonotune.flows.pipeline import PhonotuneMaker
    from phonotune.flows.routing import Profile, route
    from phonotune.flows.submit import submit
    from phonotune.jobs.compare import CompareMaker
    from phonotune.jobs.conductivity import ConductivityMaker
    from phonotune.jobs.dataset import DatasetMaker
    from phonotune.jobs.elastic import ElasticMaker
    from phonotune.jobs.finetune import FineTuneMaker
    from phonotune.jobs.label import LabelMaker
    from phonotune.jobs.phonon import PhononMaker
    from phonotune.jobs.phonon_flow import PhononFlowMaker
    from phonotune.jobs.quasi_harmonic import QuasiHarmonicMaker
    from phonotune.jobs.sample import RattleMaker, SelectMaker, TrajectoryMaker
    from phonotune.jobs.sscha import SSCHAMaker
    from phonotune.jobs.task_frames import TaskFramesMaker
    from phonotune.jobs.transitions import TransitionMaker
    from phonotune.jobs.wells import DoubleWellMaker
    from phonotune.models.calculator import load_calculator
    from phonotune.store import ResultStore
    from phonotune.training.config import FineTuneConfig

__all__ = [
    "CampaignMaker",
    "CompareMaker",
    "ConductivityMaker",
    "DatasetMaker",
    "DoubleWellMaker",
    "ElasticMaker",
    "FineTuneConfig",
    "FineTuneMaker",
    "LabelMaker",
    "PhononFlowMaker",
    "PhononMaker",
    "PhonotuneMaker",
    "Profile",
    "QuasiHarmonicMaker",
    "RattleMaker",
    "ResultStore",
    "SSCHAMaker",
    "SelectMaker",
    "TaskFramesMaker",
    "TrajectoryMaker",
    "TransitionMaker",
    "load_calculator",
    "route",
    "submit",
]

_HOME = {
    "CampaignMaker": "flows.campaign",
    "CompareMaker": "jobs.compare",
    "ConductivityMaker": "jobs.conductivity",
    "DatasetMaker": "jobs.dataset",
    "DoubleWellMaker": "jobs.wells",
    "ElasticMaker": "jobs.elastic",
    "FineTuneConfig": "training.config",
    "FineTuneMaker": "jobs.finetune",
    "LabelMaker": "jobs.label",
    "PhononMaker": "jobs.phonon",
    "PhonotuneMaker": "flows.pipeline",
    "Profile": "flows.routing",
    "QuasiHarmonicMaker": "jobs.quasi_harmonic",
    "RattleMaker": "jobs.sample",
    "ResultStore": "store",
    "SSCHAMaker": "jobs.sscha",
    "SelectMaker": "jobs.sample",
    "TrajectoryMaker": "jobs.sample",
    "PhononFlowMaker": "jobs.phonon_flow",
    "TaskFramesMaker": "jobs.foreign",
    "TransitionMaker": "jobs.transitions",
    "load_calculator": "models.calculator",
    "route": "flows.routing",
    "submit": "flows.submit",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version("phonotune")
    if name not in _HOME:
        raise AttributeError(f"module 'phonotune' has no attribute {name!r}")
    return getattr(import_module(f"phonotune.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
