"""``phonotune label``: energies, forces and stresses for frames, on this machine, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonotune.cli.console import Session, session
from phonotune.cli.options import AsJson, Debug, check_output_file
from phonotune.errors import ConfigError
from phonotune.schemas.labellers import labeller_row, labeller_warning, labellers_in_words

if TYPE_CHECKING:
    from phonotune.data.frame_log import FrameLog
    from phonotune.jobs.label import LabelMaker
    from phonotune.schemas.dataset import Frame


def label(
    frames: Annotated[
        Path,
        typer.Argument(metavar="FRAMES", help="Frames to label (extxyz).", show_default=False),
    ],
    labeller: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"One of {labellers_in_words()}.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="extxyz to write.", show_default=False),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="YAML as for `run`; its fields vasp and monitoring set VASP's protocol.",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Label frames, one after another; the same command again goes on where it stopped.

    Each finished frame is on disk (in FILE.part) before the next one starts, and is never labelled
    again: frames are known by their structure and the labeller's protocol. A frame that fails is told
    with its reason and does not stop the others; it is tried again next time.

    Exit codes: 0 all frames have labels; 1 some failed; 2 wrong input.

    Example: phonotune label frames.extxyz --labeller teacher -o labelled.extxyz
    """
    with session(as_json=json, debug=debug) as out:
        check_output_file(output)
        from phonotune.data.extxyz import read_frames
        from phonotune.data.frame_log import FrameLog

        if output.exists() and output.samefile(frames):
            raise ConfigError(f"{output} holds the frames to label; choose another file for -o.")
        asked = read_frames(frames, need=())
        task = LabelTask(asked, _maker(labeller, config, asked), output)
        warning = labeller_warning(labeller)
        if warning:
            out.note(f"Note: {warning}")
        with FrameLog(output.with_name(f"{output.name}.part")) as journal:
            task.recall(journal)
            try:
                task.run(journal, out)
            finally:
                task.write(journal)
        task.finish(labeller, warning, out)


@dataclass
class LabelTask:
    """Frames asked for, those that have their labels, and those that failed."""

    asked: Sequence[Frame]
    maker: LabelMaker
    output: Path
    done: dict[str, Frame] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)
    recalled: int = 0
    labelled: int = 0

    def __post_init__(self) -> None:
        """Give every frame its key; copies of one frame share it."""
        from phonotune.data.identity import frame_key

        protocol = self.maker.protocol()
        self.wanted: dict[str, Frame] = {}
        for frame in self.asked:
            self.wanted.setdefault(frame_key(frame.structure, protocol), frame)

    def recall(self, journal: FrameLog) -> None:
        """Find finished frames in the output and in the journal.

        Raises
        ------
        ConfigError
            The output holds frames of another labeller, protocol or release of a POTCAR.
        """
        from phonotune.data.extxyz import read_frames
        from phonotune.data.identity import frame_key
        from phonotune.data.statistics import protocol_name

        kept = read_frames(self.output, need=()) if self.output.is_file() else []
        name, protocol = self.maker.labeller, self.maker.protocol()
        for frame in (*kept, *journal.frames()):
            if (frame.labeller, frame.protocol) != (name, protocol):
                raise ConfigError(
                    f"{self.output} holds frames labelled by {protocol_name(frame)}, not by {name} "
                    f"{protocol}. Choose another file for -o."
                )
            self.done[frame_key(frame.structure, frame.protocol)] = frame
        self._check_potcars()
        self.recalled = len(self.wanted.keys() & self.done.keys())

    def _check_potcars(self) -> None:
        """Refuse to go on with other POTCARs than those of the finished frames."""
        from phonotune.data.vasp_settings import potcar_titles, read_settings
        from phonotune.jobs.labellers import potcars_here

        said = {frame.settings for frame in self.done.values() if frame.settings}
        if self.maker.labeller != "vasp" or not said:
            return
        elements = {element.symbol for f in self.asked for element in f.structure.elements}
        here = potcars_here(self.maker.vasp, sorted(elements))
        for titles in map(potcar_titles, map(read_settings, sorted(said))):
            for element in sorted(titles.keys() & here.keys()):
                if titles[element] != here[element]:
                    raise ConfigError(
                        f"{self.output} holds frames labelled with the POTCAR {titles[element]}, and here it "
                        f"is {here[element]}. Point PMG_VASP_PSP_DIR to the POTCARs of those frames, or "
                        "choose another file for -o."
                    )

    def run(self, journal: FrameLog, out: Session) -> None:
        """Label what is missing."""
        from phonotune.data.identity import frame_key
        from phonotune.flows.labelling import label_frames

        numbers = {id(frame): number for number, frame in enumerate(self.asked, start=1)}
        todo = [frame for key, frame in self.wanted.items() if key not in self.done]
        if self.recalled:
            out.note(f"{self.recalled} of {len(self.wanted)} frames have their labels already.")
        if not todo:
            return
        text = f"Labelling by {self.maker.labeller}"
        with self._folder() as folder, out.progress(text, len(todo)) as progress:
            for result in label_frames(todo, self.maker, folder, progress.advance):
                if result.frame is None:
                    number, where = numbers[id(result.asked)], _place(result.asked)
                    self.failed.append({"frame": number, "origin": where, "reason": result.reason})
                    out.note(f"Failed: frame {number} ({where}): {result.reason}")
                    continue
                journal.add(result.frame)
                self.labelled += 1
                self.done[frame_key(result.frame.structure, result.frame.protocol)] = result.frame
            progress.advance(len(todo))

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """Give the jobs a folder beside the output; what surrogates write there is not kept."""
        row = labeller_row(self.maker.labeller)
        if row is not None and not row.is_dft:
            with TemporaryDirectory(prefix="phonotune-") as folder:
                yield Path(folder)
            return
        kept = self.output.absolute().with_name(f"{self.output.stem}-jobs")
        yield kept
        with suppress(OSError):
            kept.rmdir()

    def write(self, journal: FrameLog) -> None:
        """Write all finished frames in the order asked for; others that the output held stay."""
        from phonotune.data.extxyz import write_frames

        if self.done:
            ordered = [key for key in self.wanted if key in self.done]
            others = [key for key in self.done if key not in self.wanted]
            write_frames(self.output, (self.done[key] for key in (*ordered, *others)))
        journal.discard()

    def finish(self, labeller: str, warning: str | None, out: Session) -> None:
        """Set the result of the command."""
        have = len(self.wanted.keys() & self.done.keys())
        counts: dict[str, Any] = {
            "asked": len(self.asked),
            "copies": len(self.asked) - len(self.wanted),
            "labelled": self.labelled,
            "already": self.recalled,
        }
        if counts["copies"]:
            out.note(f"{counts['copies']} frames are copies of others and are labelled once.")
        if self.failed:
            out.note("Mend what failed and run the same command again: finished frames are kept.")
        payload = {
            "output": str(self.output) if self.done else None,
            "labeller": labeller,
            "protocol": self.maker.protocol(),
            **counts,
            "failed": self.failed,
            "note": warning,
        }
        shown = (
            f"{self.output}: {have} of {len(self.wanted)} frames labelled by {labeller}, "
            f"{len(self.failed)} failed"
        )
        out.finish(payload, shown, exit_code=1 if self.failed else 0)


def _place(frame: Frame) -> str:
    return f"{frame.group}, {frame.origin}" if frame.origin != frame.group else frame.group


def _maker(labeller: str, config: Path | None, frames: Sequence[Frame]) -> LabelMaker:
    """Return the labeller; ConfigError where it is unknown or cannot run here."""
    from phonotune.cli.config import build_maker
    from phonotune.cli.pipeline import check_labeller
    from phonotune.jobs.label import LabelMaker

    chosen = build_maker(config, {"labeller": labeller})
    check_labeller(labeller, (frame.structure for frame in frames), chosen.vasp)
    maker = LabelMaker(labeller=labeller, vasp=chosen.vasp, monitoring=chosen.monitoring)
    maker.resolve()
    return maker
