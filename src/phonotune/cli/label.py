"""``phonotune label``: energies, forces and stresses for frames, on this machine, one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, LabelPreset, check_frames_output
from phonotune.errors import ConfigError
from phonotune.schemas.labellers import labeller_warning, labellers_in_words


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
    preset: LabelPreset = None,
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
    """Label frames, one after another; the same command again continues where it stopped.

    Each finished frame is on disk (in FILE.part) before the next one starts, and is never labelled
    again: frames are known by their structure and the labeller's protocol. A frame that fails is
    reported with its reason and does not stop the others; it is tried again next time.

    Exit codes: 0 all frames have labels; 1 some failed; 2 wrong input.

    Example: phonotune label frames.extxyz --labeller teacher -o labelled.extxyz
    """
    with session(as_json=json, debug=debug) as out:
        check_frames_output(output)
        from dataclasses import asdict

        from phonotune.cli.config import build_maker
        from phonotune.data.extxyz import read_frames
        from phonotune.data.notes import Notes
        from phonotune.flows.labelling import LabelTask
        from phonotune.flows.run import check_labeller
        from phonotune.jobs.label import LabelMaker

        if output.exists() and frames.exists() and output.samefile(frames):
            raise ConfigError(f"{output} holds the frames to label; choose another file for -o.")
        notes = Notes()
        asked = read_frames(frames, need=(), notes=notes)
        out.note_all(notes)
        chosen = build_maker(config, {"labeller": labeller, "label_preset": preset})
        check_labeller(labeller, (frame.structure for frame in asked), chosen.vasp)
        maker = LabelMaker(labeller=labeller, vasp=chosen.vasp, monitoring=chosen.monitoring)
        maker.resolve()
        task = LabelTask(asked, maker, output)
        warning = labeller_warning(labeller)
        if warning:
            out.note(f"Note: {warning}")
        task.complete(out.progress, out.note)
        copies = len(asked) - len(task.wanted)
        if copies:
            out.note(f"{copies} frames are copies of others and are labelled once.")
        if task.failed:
            out.note("Mend what failed and run the same command again: finished frames are kept.")
        have = len(task.wanted.keys() & task.done.keys())
        payload = {
            "output": str(output) if task.done else None,
            "labeller": labeller,
            "protocol": maker.protocol(),
            "asked": len(asked),
            "copies": copies,
            "labelled": task.labelled,
            "already": task.recalled,
            "failed": [asdict(failed) for failed in task.failed],
            "note": warning,
        }
        shown = (
            f"{output}: {have} of {len(task.wanted)} frames labelled by {labeller}, "
            f"{len(task.failed)} failed"
        )
        out.finish(payload, shown, exit_code=1 if task.failed else 0)
