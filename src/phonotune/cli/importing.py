"""``phonotune import``: labelled frames from finished calculations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, check_output_file


def import_labels(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="vasprun.xml[.gz], OUTCAR, extxyz, or a phonopy yaml[.xz] with forces.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="extxyz to write.", show_default=False),
    ],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Gather labelled frames from finished calculations into one extxyz file.

    Labels: REF_energy (eV), REF_forces (eV/Å), REF_stress (eV/Å³, 9 numbers, ASE's sign). A missing
    label is absent, never zero.

    Example: phonotune import disp-0*/vasprun.xml -o nacl.extxyz
    """
    with session(as_json=json, debug=debug) as out:
        check_output_file(output)
        from phonotune.data.extxyz import write_frames
        from phonotune.data.importers import import_frames

        with out.progress(f"Reading {len(paths)} files"):
            frames = import_frames(paths)
        for refusal in frames.refused:
            out.note(f"Refused: {refusal.origin}: {refusal.reason}")
        output.parent.mkdir(parents=True, exist_ok=True)
        write_frames(output, frames)
        labels = {
            name: sum(getattr(frame, name) is not None for frame in frames)
            for name in ("energy", "forces", "stress")
        }
        counts = ", ".join(f"{count} with {name}" for name, count in labels.items())
        refused = [{"origin": r.origin, "reason": r.reason} for r in frames.refused]
        out.finish(
            {"output": str(output), "frames": len(frames), "labels": labels, "refused": refused},
            f"{output}: {len(frames)} frames, {counts}",
        )
