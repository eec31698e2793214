"""Label frames here, one after another, by the same jobs that a flow would send away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobflow import Flow, JobStore
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from phonotune.errors import LabelError
from phonotune.flows.local import run_flow
from phonotune.jobs.label import LabelMaker, read_vasp_run
from phonotune.jobs.vasp.verification import VaspRun, usual_titles
from phonotune.schemas.dataset import Frame
from phonotune.store import BLOB_STORE

Start = Callable[[int], None]
"""Called before each frame with the number of frames tried so far."""


@dataclass(frozen=True)
class Labelled:
    """What became of one frame: the frame with its labels, or why it has none."""

    asked: Frame
    frame: Frame | None
    reason: str = ""


def label_frames(
    frames: Iterable[Frame], maker: LabelMaker, folder: Path, start: Start | None = None
) -> Iterator[Labelled]:
    """Label frames one by one with jobflow's local manager; a frame that fails does not stop the others.

    Parameters
    ----------
    frames
        What to label; groups and origins stay, labels that are there are replaced.
    maker
        The labeller and its protocol; what VASP ran is compared with it as in a flow.
    folder
        Gets a folder for every job that writes files.
    start
        Called before each frame.

    Yields
    ------
    Labelled
        In the order of ``frames``, each as soon as it is finished.
    """
    reader = maker.reader()
    runs: list[VaspRun] = []
    for number, frame in enumerate(frames):
        if start is not None:
            start(number)
        try:
            document = _run(frame, maker, folder)
            run = read_vasp_run(document)
            runs += [] if run is None else [run]
            done = reader.read(frame, document, usual_titles(runs))
        except LabelError as error:
            yield Labelled(frame, None, str(error))
            continue
        yield Labelled(frame, done)


def _run(frame: Frame, maker: LabelMaker, folder: Path) -> Any:
    """Return the task document of one frame; LabelError with the job's own words if it failed."""
    (static,) = maker.static_jobs([frame.structure])
    folder.mkdir(parents=True, exist_ok=True)
    with JobStore(MemoryStore(), additional_stores={BLOB_STORE: MemoryStore()}) as store:
        summary = run_flow(Flow([static]), store, root_dir=folder)
        if summary.failed:
            raise LabelError(f"the job failed ({summary.failed[0].error})")
        rows = store.query({"output": {"$ne": None}}, ["index", "output"], load=True)
        last = max(rows, key=lambda row: int(row["index"]), default=None)
    if last is None:
        raise LabelError("the job gave no output")
    return MontyDecoder().process_decoded(last["output"])
