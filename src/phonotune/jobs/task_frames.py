"""TaskFramesMaker: labelled frames from the outputs of others' jobs, for a DatasetMaker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jobflow import Job, Maker, OnMissing
from pydantic import Field

from phonotune.data.checks import check_frame
from phonotune.errors import ConfigError, FramesError, LabelError
from phonotune.jobs.base import document_job, tag
from phonotune.jobs.task_documents import StressUnit, TaskStep, read_task
from phonotune.schemas.base import Part
from phonotune.schemas.dataset import Frame, LabelledSet, RejectedFrame, pack_frame_blobs
from phonotune.units import ElectronVoltPerAngstrom


class TaskSettings(Part):
    """Which ionic steps of task documents are frames, and who labelled them."""

    labeller: str = Field(
        default="", description="who labelled; empty takes the name in the documents"
    )
    protocol: str = Field(
        default="",
        description="name of the set-up; empty takes a hash of what the documents say of it. A force "
        "field's document keeps no calculator_kwargs: name a model_id where these matter",
    )
    steps: Literal["all", "last"] = Field(default="all", description="of each task")
    every: int = Field(default=1, ge=1, description="of all steps every n-th, from the first")
    blocks: int = Field(
        default=1,
        ge=1,
        description="cut the steps of a task into so many consecutive groups, so that one long "
        "trajectory can be split; frames on both sides of a cut are still alike",
    )
    max_force: ElectronVoltPerAngstrom | None = Field(
        default=30.0, gt=0, description="largest force on an atom of a label; None: any"
    )
    cp2k_stress: StressUnit | None = Field(
        default=None, description="unit of the stress in CP2K's output; None leaves it out"
    )


@dataclass
class TaskFramesMaker(Maker):
    """Frames from the outputs of others' jobs, for a DatasetMaker; tasks that failed are left out.

    Parameters
    ----------
    settings
        Which steps, and who labelled them.
    """

    name: str = "task frames"
    settings: TaskSettings = field(default_factory=TaskSettings)

    def make(self, documents: Sequence[Any], groups: Sequence[str] | None = None) -> Job:
        """Return the job that reads task documents; its output is a LabelledSet.

        Parameters
        ----------
        documents
            Task documents, or outputs of jobs that make them: atomate2's VASP, CP2K, force-field and
            ASE makers.
        groups
            Group of each document: frames of one group are never torn apart by a split. By default
            each document is one.
        """
        made = frames_from_tasks(list(documents), self.settings, groups)
        made.name = self.name
        made.update_config({"on_missing_references": OnMissing.NONE})
        return tag(made, "light", self.name)


@document_job(LabelledSet)
def frames_from_tasks(
    documents: Sequence[Any], settings: TaskSettings, groups: Sequence[str] | None = None
) -> LabelledSet:
    """Gather the ionic steps of task documents; parameters as in :meth:`TaskFramesMaker.make`.

    Raises
    ------
    LabelError
        No step of any document is a label; the message has the first reasons.
    ConfigError
        Another number of groups than of documents.
    """
    names = list(groups or [f"task {number}" for number in range(1, len(documents) + 1)])
    if len(names) != len(documents):
        raise ConfigError(
            f"{len(documents)} task documents came with {len(names)} groups. Give one group a document."
        )
    frames: list[Frame] = []
    rejected: list[RejectedFrame] = []
    asked = 0
    for number, (document, group) in enumerate(zip(documents, names, strict=True), start=1):
        for found in read_task_frames(document, settings, group, f"task {number}"):
            if isinstance(found, Frame):
                frames.append(found)
            else:
                rejected.append(RejectedFrame(index=asked, reason=found))
            asked += 1
    if not frames:
        reasons = "; ".join(entry.reason for entry in rejected[:3]) or "no task was given"
        raise LabelError(f"No frame came from {len(documents)} task documents: {reasons}.")
    first, *more = pack_frame_blobs(frames)
    return LabelledSet(
        labeller=_names(frame.labeller for frame in frames),
        protocol=_names(frame.protocol for frame in frames),
        requested=asked,
        rejected=rejected,
        data=first,
        more=tuple(more),
    )


def read_task_frames(
    document: Any | None, settings: TaskSettings, group: str, origin: str
) -> list[Frame | str]:
    """Return the frames of one task document, in order, with the reason in place of one that is none.

    Parameters
    ----------
    document
        Task document (object or dict); None for a job that failed.
    settings
        Which steps, and who labelled them.
    group, origin
        Names that the frames carry; a step's number is added to the origin, a block's to the group.
    """
    try:
        steps = read_task(document, settings.cp2k_stress)
    except LabelError as error:
        return [f"{origin}: {error}"]
    numbers = range(len(steps))[:: settings.every] if settings.steps == "all" else [len(steps) - 1]
    found: list[Frame | str] = []
    for rank, number in enumerate(numbers):
        block = rank * settings.blocks // len(numbers) + 1
        named = f"{group} block {block}" if settings.blocks > 1 else group
        where = origin if len(steps) == 1 else f"{origin} step {number + 1}"
        found.append(_frame(steps[number], settings, named, where))
    return found


def _frame(step: TaskStep, settings: TaskSettings, group: str, origin: str) -> Frame | str:
    """Return the frame of a step, or the reason why there is none."""
    frame = Frame(
        step.structure,
        step.energy,
        step.forces,
        step.stress,
        group=group,
        origin=origin,
        labeller=settings.labeller or step.labeller,
        protocol=settings.protocol or step.protocol,
        settings=step.settings,
    )
    largest = float(np.linalg.norm(step.forces, axis=1).max())
    if step.fault is not None:
        return f"{origin}: {step.fault}"
    if settings.max_force is not None and largest > settings.max_force:
        return f"{origin}: a force of {largest:.1f} eV/Å is above the limit of {settings.max_force:g} eV/Å"
    try:
        check_frame(frame, origin)
    except FramesError as error:
        return str(error)
    return frame


def _names(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
