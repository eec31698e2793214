"""``phonotune finetune``: tune a foundation model on labelled frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from phonotune.cli.console import Session, session
from phonotune.cli.options import AllowMixed, AsJson, Debug, OutputFolder, check_output_folder
from phonotune.cli.tables import render

if TYPE_CHECKING:
    from phonotune.schemas.dataset import DatasetDocument, DatasetHeader
    from phonotune.schemas.training import TrainingDocument
    from phonotune.training.config import FineTuneConfig

LABELLER: Final = "given frames"
"""Labeller of frames whose origin is only what their file says."""


def finetune(
    train: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Frames that train (extxyz).", show_default=False),
    ],
    valid: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Frames that choose the best epoch (extxyz).", show_default=False
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
            help="What moves. {summaries}.",
            show_default=False,
        ),
    ],
    output: OutputFolder,
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
            help="Stop after so many seconds of training and keep the best; the same command with "
            "more goes on.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Say so if there is nothing to go on with; an interrupted training always goes on.",
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
        from phonotune.report.tables import training_table
        from phonotune.training.config import parse_overrides
        from phonotune.training.directory import directory_files, write_model_directory

        limit = [] if max_seconds is None else [f"max_seconds={max_seconds}"]
        config = parse_overrides(strategy, [*(overrides or ()), *limit])
        dataset = assemble_given(
            read_frames(train), read_frames(valid), labeller=LABELLER, allow_mixed=allow_mixed
        )
        note_dataset(dataset, out)
        document = _train(dataset, foundation, config, resume, out)
        write_model_directory(document, output)
        files = directory_files(document)
        out.finish(
            {"output": str(output), "files": list(files), "training": summary_of(document)},
            render(training_table(document)),
            f"{output}: {', '.join(files)}",
        )


def note_dataset(dataset: DatasetHeader, out: Session) -> None:
    """Tell what is doubtful about a dataset: torn groups, mixed protocols, odd units."""
    torn = dataset.split.torn_groups if dataset.split else []
    if torn:
        out.note(
            f"Note: frames of {len(torn)} group(s) both train and validate ({', '.join(torn[:3])}); the "
            "validation error may be too small. `phonotune dataset split` keeps groups whole."
        )
    if dataset.mixed:
        out.note("Note: the frames are of several protocols; their labels may not agree.")
    for warning in dataset.statistics.warnings if dataset.statistics else ():
        out.note(f"Note: {warning}")


def _train(
    dataset: DatasetDocument,
    foundation: str,
    config: FineTuneConfig,
    resume: bool,
    out: Session,
) -> TrainingDocument:
    from phonotune.models.engines import find_foundation
    from phonotune.training.finetune import checkpoints_of
    from phonotune.training.finetune import finetune as run_training

    record = find_foundation(foundation)
    if any(c.path.exists() for c in checkpoints_of(dataset, record, config)):
        out.note("Going on with the interrupted training of these frames and settings.")
    elif resume:
        out.note(
            "There is no interrupted training of these frames and settings; starting a new one."
        )
    with out.progress(f"Fine-tuning {record.name}, {config.strategy}") as progress:
        return run_training(dataset, record, config, progress=progress)
