"""``phonotune finetune``: tune a foundation model on labelled frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from phonotune.cli.console import Session, session
from phonotune.cli.options import AllowMixed, AsJson, Debug, Head, OutputFolder, check_output_folder
from phonotune.cli.tables import render

if TYPE_CHECKING:
    from phonotune.schemas.dataset import DatasetDocument, DatasetHeader
    from phonotune.schemas.training import FoundationRecord

LABELLER: Final = "given frames"
"""Labeller of frames whose origin is only what their file says."""


def finetune(
    train: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Training frames (extxyz).", show_default=False),
    ],
    valid: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Validation frames (extxyz), which choose the best epoch.",
            show_default=False,
        ),
    ],
    foundation: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Foundation model: a name of `phonotune models list`, or a MACE model file.",
            show_default=False,
        ),
    ],
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Which weights are trained. {summaries}.",
            show_default=False,
        ),
    ],
    output: OutputFolder,
    head: Head = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting; repeatable. Keys: {keys}.",
            show_default=False,
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Stop training after this many seconds and keep the best model; the same command "
            "with a larger number continues.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Tell if there is no interrupted training; one that exists is always continued.",
        ),
    ] = False,
    allow_mixed: AllowMixed = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Fine-tune a foundation model on labelled frames of one material.

    Energies of another level of theory are aligned first (atomic energies, least squares on the
    composition). Writes adapter.safetensors, model.json, history.csv, metrics.json.

    Example: phonotune finetune --train train.extxyz --valid valid.extxyz --foundation mini
    --strategy lora -o nacl
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        from phonotune.data.assemble import assemble_given
        from phonotune.data.document_files import summary_of
        from phonotune.data.extxyz import read_frames
        from phonotune.data.notes import Notes
        from phonotune.models.engines import find_foundation
        from phonotune.report.tables import training_table
        from phonotune.training.config import parse_overrides
        from phonotune.training.directory import directory_files, write_model_directory
        from phonotune.training.finetune import checkpoints_of
        from phonotune.training.finetune import finetune as run_training

        limit = [] if max_seconds is None else [f"max_seconds={max_seconds}"]
        config = parse_overrides(strategy, [*(overrides or ()), *limit])
        notes = Notes()
        sides = [read_frames(file, notes=notes) for file in (train, valid)]
        dataset = assemble_given(*sides, labeller=LABELLER, allow_mixed=allow_mixed)
        out.note_all(notes)
        note_dataset(dataset, out)
        record = find_foundation(foundation, head)
        note_level(dataset, record, out)
        if any(c.path.exists() for c in checkpoints_of(dataset, record, config)):
            out.note("Continuing the interrupted training with these frames and settings.")
        elif resume:
            out.note(
                "There is no interrupted training with these frames and settings; starting a new one."
            )
        with out.progress(f"Fine-tuning {record.label}, {config.strategy}") as progress:
            document = run_training(dataset, record, config, progress=progress)
        write_model_directory(document, output)
        files = directory_files(document)
        out.finish(
            {"output": str(output), "files": list(files), "training": summary_of(document)},
            render(training_table(document)),
            f"{output}: {', '.join(files)}",
        )


def note_level(dataset: DatasetDocument, record: FoundationRecord, out: Session) -> None:
    """Note where frames of VASP are of another level of theory than the foundation was made on."""
    from phonotune.data.vasp_settings import level_of_theory, read_settings
    from phonotune.jobs.vasp.presets import level_note
    from phonotune.models.foundation import made_on

    frames = dataset.train_frames()
    settings = dict.fromkeys(frame.settings for frame in frames if frame.settings)
    elements = frames[0].structure.symbol_set
    for level in dict.fromkeys(level_of_theory(read_settings(text)) for text in settings):
        if said := level_note(record.label, made_on(record), level, elements):
            out.note(f"Note: {said}")


def note_dataset(dataset: DatasetHeader, out: Session) -> None:
    """Note what is special or doubtful about a dataset: isolated atoms, torn groups, protocols, odd units."""
    from phonotune.data.isolated import IsolatedAtoms

    torn = dataset.split.torn_groups if dataset.split else []
    if torn:
        out.note(
            f"Note: frames of {len(torn)} group(s) both train and validate ({', '.join(torn[:3])}); the "
            "validation error may be too small. `phonotune dataset split` keeps groups whole."
        )
    if dataset.isolated_atoms:
        out.note(str(IsolatedAtoms(dataset.isolated_atoms)))
    if dataset.mixed:
        out.note("Note: the frames are of several protocols; their labels may not agree.")
    for warning in dataset.statistics.warnings if dataset.statistics else ():
        out.note(f"Note: {warning}")
