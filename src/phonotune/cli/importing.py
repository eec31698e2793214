"""``phonotune import``: labelled frames from finished calculations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import (
    AllowMixed,
    AsJson,
    Debug,
    EnergyKey,
    ForcesKey,
    StressKey,
    check_frames_output,
    given_keys,
)


def import_labels(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="vasprun.xml[.gz], OUTCAR[.gz], vaspout.h5, ML_AB, extxyz, ASE's .traj or .db, a phonopy "
            "yaml[.xz] or FORCE_SETS, or folders of VASP runs or of a phonopy calculation.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="extxyz to write.", show_default=False),
    ],
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Name of the calculations' settings, for files that do not state them.",
            show_default=False,
        ),
    ] = "",
    allow_mixed: AllowMixed = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Gather labelled frames from finished calculations into one extxyz file.

    Labels: REF_energy (eV), REF_forces (eV/Å), REF_stress (eV/Å³, 9 numbers, ASE's sign). A missing
    label is absent, never zero. VASP runs that did not converge are refused, with the reason, and so
    are files with different settings (cutoff, functional, smearing, POTCARs).

    Example: phonotune import disp-0*/vasprun.xml -o nacl.extxyz

    Example: phonotune import other.extxyz --energy-key dft_energy --forces-key dft_forces -o
    mine.extxyz
    """
    with session(as_json=json, debug=debug) as out:
        check_frames_output(output)
        from phonotune.data.extxyz import write_frames
        from phonotune.data.importers import Importer
        from phonotune.data.isolated import is_isolated
        from phonotune.data.statistics import Tally

        keys = given_keys(energy_key, forces_key, stress_key)
        tally = Tally()
        importer = Importer(paths, keys, protocol=protocol, allow_mixed=allow_mixed)
        with out.progress(f"Reading {len(importer.files)} files", len(importer.files)) as progress:
            importer.progress = progress
            counted = (f if is_isolated(f.structure) else tally.counted(f) for f in importer)
            labels = write_frames(output, counted)
        out.note_all(importer.notes, importer.refused)
        if importer.isolated:
            out.note(str(importer.isolated))
        statistics = tally.result()
        for warning in statistics.warnings:
            out.note(f"Note: {warning}")
        frames = labels.pop("frames")
        counts = ", ".join(f"{count} with {name}" for name, count in labels.items())
        refused = [{"origin": r.origin, "reason": r.reason} for r in importer.refused]
        out.finish(
            {
                "output": str(output),
                "frames": frames,
                "labels": labels,
                "isolated_atoms": importer.isolated.energies,
                "protocols": statistics.protocols,
                "refused": refused,
                "notes": [vars(note) for note in importer.notes.values()],
                "warnings": statistics.warnings,
            },
            f"{output}: {frames} frames, {counts}",
        )
