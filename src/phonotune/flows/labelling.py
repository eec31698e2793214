"""Label frames on this machine, one after another, by the same jobs that a flow would send away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jobflow import Flow, JobStore
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from phonotune.data.extxyz import read_frames, write_frames
from phonotune.data.frame_log import FrameLog
from phonotune.data.identity import frame_key
from phonotune.data.statistics import protocol_name
from phonotune.data.vasp_settings import potcar_titles, read_settings
from phonotune.errors import ConfigError, LabelError
from phonotune.flows.local import run_flow
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.label_reader import read_vasp_run
from phonotune.jobs.labellers import potcars_here
from phonotune.jobs.property import answer_of
from phonotune.jobs.vasp.verification import VaspRun, usual_titles
from phonotune.physics.transitions.labels import with_labels
from phonotune.progress import Progress
from phonotune.schemas.dataset import Candidate, Frame
from phonotune.schemas.labellers import labeller_row
from phonotune.schemas.transition import TransitionDocument
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


@dataclass(frozen=True)
class Unlabelled:
    """A frame that was asked for and failed: its number from 1, where it comes from, and the reason."""

    frame: int
    origin: str
    reason: str


@dataclass
class LabelTask:
    """Frames asked for, and the file that gets them with their labels; it goes on where it stopped.

    Frames are known by their structure and the labeller's protocol. Each finished frame is on disk (in
    ``<output>.part``) before the next one starts, and is never labelled again.

    Attributes
    ----------
    asked, maker, output
        What to label, how, and the extxyz file to write.
    done
        Frames with their labels, by :func:`phonotune.data.identity.frame_key`.
    failed
        Frames that got none this time.
    recalled, labelled
        Number of those asked for that had their labels before, and of those labelled now.
    """

    asked: Sequence[Frame]
    maker: LabelMaker
    output: Path
    done: dict[str, Frame] = field(default_factory=dict)
    failed: list[Unlabelled] = field(default_factory=list)
    recalled: int = 0
    labelled: int = 0

    def __post_init__(self) -> None:
        """Give every frame its key; copies of one frame share it."""
        protocol = self.maker.protocol()
        self.wanted: dict[str, Frame] = {}
        for frame in self.asked:
            self.wanted.setdefault(frame_key(frame.structure, protocol), frame)

    def complete(
        self,
        progress: Callable[[str, int], AbstractContextManager[Progress]],
        note: Callable[[str], None],
    ) -> None:
        """Label what the output does not hold yet, and write all finished frames.

        Parameters
        ----------
        progress
            Shows, for a text and a number of frames, how far the work has come.
        note
            Tells what failed, and how many frames were there already.

        Raises
        ------
        ConfigError
            The output holds frames of another labeller, protocol or release of a POTCAR.
        """
        with FrameLog(self.output.with_name(f"{self.output.name}.part")) as journal:
            self._recall(journal)
            if self.recalled:
                note(f"{self.recalled} of {len(self.wanted)} frames have their labels already.")
            try:
                self._label(journal, progress, note)
            finally:
                if self.done:
                    ordered = [key for key in self.wanted if key in self.done]
                    others = [key for key in self.done if key not in self.wanted]
                    write_frames(self.output, (self.done[key] for key in (*ordered, *others)))
                journal.discard()

    def _recall(self, journal: FrameLog) -> None:
        """Find finished frames in the output and in the journal."""
        kept = read_frames(self.output, need=()) if self.output.is_file() else []
        name, protocol = self.maker.labeller, self.maker.protocol()
        for frame in (*kept, *journal.frames()):
            if (frame.labeller, frame.protocol) != (name, protocol):
                raise ConfigError(
                    f"{self.output} holds frames labelled by {protocol_name(frame)}, not by {name} "
                    f"{protocol}. Choose another file for -o."
                )
            self.done[frame_key(frame.structure, frame.protocol)] = frame
        self.recalled = len(self.wanted.keys() & self.done.keys())
        said = {frame.settings for frame in self.done.values() if frame.settings}
        if name != "vasp" or not said:
            return
        elements = {element.symbol for f in self.asked for element in f.structure.elements}
        here = potcars_here(self.maker.vasp, sorted(elements))
        for titles in map(potcar_titles, map(read_settings, sorted(said))):
            for element in sorted(titles.keys() & here.keys()):
                if titles[element] != here[element]:
                    raise ConfigError(
                        f"{self.output} holds frames labelled with the POTCAR {titles[element]}, and here "
                        f"it is {here[element]}. Point PMG_VASP_PSP_DIR to the POTCARs of those frames, or "
                        "choose another file for -o."
                    )

    def _label(
        self,
        journal: FrameLog,
        progress: Callable[[str, int], AbstractContextManager[Progress]],
        note: Callable[[str], None],
    ) -> None:
        numbers = {id(frame): number for number, frame in enumerate(self.asked, start=1)}
        todo = [frame for key, frame in self.wanted.items() if key not in self.done]
        if not todo:
            return
        text = f"Labelling by {self.maker.labeller}"
        with self._folder() as folder, progress(text, len(todo)) as shown:
            for result in label_frames(todo, self.maker, folder, lambda n: shown.advance(n, "")):
                if result.frame is None:
                    group, origin = result.asked.group, result.asked.origin
                    place = group if origin == group else f"{group}, {origin}"
                    lost = Unlabelled(numbers[id(result.asked)], place, result.reason)
                    self.failed.append(lost)
                    note(f"Failed: frame {lost.frame} ({place}): {lost.reason}")
                    continue
                journal.add(result.frame)
                self.labelled += 1
                self.done[frame_key(result.frame.structure, result.frame.protocol)] = result.frame
            shown.advance(len(todo), "")

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """Give the jobs a folder beside the output; what surrogates write there is not kept."""
        row = None if self.maker.potential else labeller_row(self.maker.labeller)
        if self.maker.potential or (row is not None and not row.is_dft):
            with TemporaryDirectory(prefix="phonotune-") as folder:
                yield Path(folder)
            return
        kept = self.output.absolute().with_name(f"{self.output.stem}-jobs")
        yield kept
        with suppress(OSError):
            kept.rmdir()


def label_tree(
    tree: TransitionDocument,
    maker: LabelMaker,
    output: Path,
    progress: Callable[[str, int], AbstractContextManager[Progress]],
    note: Callable[[str], None],
) -> TransitionDocument:
    """Label the phases of a tree, at the geometry of the model, and put the labels into it.

    Parameters
    ----------
    tree, maker, output
        The phases, the labeller, and the extxyz file that keeps the labels: what it holds is not
        labelled again.
    progress, note
        As :meth:`LabelTask.complete` takes them.
    """
    cells = tree.structures()
    asked = [Candidate(cell, str(i), "phase").frame() for i, cell in enumerate(cells)]
    task = LabelTask(asked, maker, output)
    task.complete(progress, note)
    protocol = maker.protocol()
    frames = [task.done.get(frame_key(cell, protocol)) for cell in cells]
    answers = [None if frame is None else answer_of(frame) for frame in frames]
    reasons = {failed.frame - 1: failed.reason for failed in task.failed}
    return with_labels(tree, maker.labeller, protocol, answers, reasons)
