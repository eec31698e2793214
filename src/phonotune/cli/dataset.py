"""``phonotune dataset``: inspect, split, extend and export labelled frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from phonotune.cli.console import Session, session
from phonotune.cli.finetune import LABELLER, note_dataset
from phonotune.cli.options import (
    AllowMixed,
    AsJson,
    Debug,
    EnergyKey,
    ForcesKey,
    OutputFolder,
    StressKey,
    check_frames_output,
    check_output_folder,
    flowing,
    given_keys,
)
from phonotune.cli.tables import dataset_table
from phonotune.errors import ConfigError

if TYPE_CHECKING:
    from phonotune.data.extxyz import Label
    from phonotune.data.identity import Snapshot
    from phonotune.schemas.dataset import DatasetHeader, Frame

app = typer.Typer(no_args_is_help=True, help="Datasets: info, split, append, export.")

SHOWN_GROUPS: Final = 20

FramesFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Labelled frames (extxyz), or a folder written by `dataset split`.",
        show_default=False,
    ),
]


def info(file: FramesFile, json: AsJson = False, debug: Debug = False) -> None:
    """Summarise labelled frames: numbers, ranges, groups, protocols, duplicates, suspicious units.

    Example: phonotune dataset info labelled.extxyz
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.data.duplicates import DuplicateSearch
        from phonotune.data.identity import Snapshot
        from phonotune.data.isolated import IsolatedAtoms
        from phonotune.data.statistics import Tally

        dataset, frames = _open(file, out=out)
        tally, groups, search = Tally(), Counter[str](), DuplicateSearch()
        isolated = IsolatedAtoms(dataset.isolated_atoms if dataset else None)
        with out.progress(f"Reading {file}") as progress:
            for number, frame in enumerate(frames, start=1):
                if not isolated.take(frame):
                    tally.add(frame)
                    groups[frame.group] += 1
                search.add(Snapshot.of(frame.structure))
                progress.advance(number, f"{number} frames")
            first = search.first_equal(lambda wanted: _snapshots(file, wanted))
        copies = [[one + 1, index + 1] for index, one in enumerate(first) if one != index]
        statistics = tally.result()
        for warning in statistics.warnings:
            out.note(f"Note: {warning}")
        payload: dict[str, Any] = {
            "file": str(file),
            **statistics.model_dump(mode="json"),
            "groups": dict(groups),
            "duplicates": copies,
            "isolated_atoms": isolated.energies,
        }
        if isolated:
            out.note(str(isolated))
        table = dataset_table(str(file), statistics, len(copies), groups.most_common(SHOWN_GROUPS))
        if dataset is None:
            out.finish(payload, table)
            return
        out.finish(payload | {"dataset": _lineage(dataset)}, table, _sentence(dataset))


def split(
    file: FramesFile,
    output: OutputFolder,
    valid: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the frames for validation, e.g. 0.2.",
            show_default=False,
        ),
    ] = None,
    valid_group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A group for validation; repeatable.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the random choice of groups.")
    ] = 0,
    allow_mixed: AllowMixed = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Split labelled frames into training and validation; groups are kept whole.

    Writes train.extxyz, valid.extxyz and dataset.json (hash, split, statistics, and every frame's key,
    side, group, origin and protocol). Duplicates are dropped.

    Example: phonotune dataset split labelled.extxyz --valid 0.2 -o dataset

    Example: phonotune dataset split labelled.extxyz --valid-group "volume +0.0 %" -o dataset
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        import numpy as np

        from phonotune.data.assemble import split_to_folder
        from phonotune.data.split import SplitRequest

        if (valid is None) == (not valid_group):
            raise ConfigError(
                "A split needs either --valid SHARE (e.g. 0.2) or --valid-group NAME; give exactly one."
            )
        reason = "" if valid is None else f"seed {seed}"
        asked = SplitRequest(valid_group or None, valid, np.random.default_rng(seed), reason)
        with out.progress(f"Splitting {file}"):
            frames = _open(file, ("forces",), out)[1]
            dataset, files = split_to_folder(
                frames, asked, output, labeller=LABELLER, allow_mixed=allow_mixed
            )
        _finish(dataset, output, files, out)


def append(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder written by `dataset split`.", show_default=False
        ),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="More labelled frames (extxyz).", show_default=False),
    ],
    output: OutputFolder,
    valid_group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A new group for validation; repeatable.", show_default=False
        ),
    ] = None,
    allow_mixed: AllowMixed = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a new version of a dataset with more frames; the old one stays as it is.

    Known groups stay where they are; new ones are for training, except for those named.

    Example: phonotune dataset append dataset more.extxyz -o dataset-2
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        from phonotune.data.folder import read_dataset, write_dataset
        from phonotune.data.versions import append as append_frames

        parent = read_dataset(folder)
        frames: list[Frame] = []
        for file in files:
            with out.progress(f"Reading {file}"):
                frames += _open(file, ("forces",), out)[1]
        dataset = append_frames(
            parent, frames, valid_groups=valid_group or (), allow_mixed=allow_mixed
        )
        if dataset is parent:
            out.note("None of the frames is new; the dataset is written unchanged.")
        _finish(dataset, output, write_dataset(dataset, output), out)


def export(
    file: FramesFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="extxyz to write.", show_default=False),
    ],
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write labelled frames with the label names that another program reads.

    Example: phonotune dataset export labelled.extxyz --energy-key energy --forces-key forces
    --stress-key stress -o ase.extxyz
    """
    with session(as_json=json, debug=debug) as out:
        check_frames_output(output)
        from phonotune.data.extxyz import write_frames
        from phonotune.data.extxyz_text import LabelKeys
        from phonotune.data.isolated import IsolatedAtoms

        keys = LabelKeys(**given_keys(energy_key, forces_key, stress_key))
        with out.progress(f"Writing {output}"):
            dataset, frames = _open(file, out=out)
            atoms = IsolatedAtoms(dataset.isolated_atoms if dataset else None).frames()
            written = write_frames(output, chain(atoms, frames), keys)
        names = {"energy": keys.energy, "forces": keys.forces, "stress": keys.stress}
        out.finish(
            {"output": str(output), "keys": names, **written},
            f"{output}: {written['frames']} frames, labels {', '.join(names.values())}",
        )


def _open(
    file: Path, need: Sequence[Label] = (), out: Session | None = None
) -> tuple[DatasetHeader | None, Iterator[Frame]]:
    """Return the frames of a file, or of a dataset with its header, to be read one by one.

    After the last frame, what was left behind or changed is noted.
    """
    from phonotune.data.extxyz import iter_labelled
    from phonotune.data.folder import open_dataset
    from phonotune.data.notes import Notes

    def frames() -> Iterator[Frame]:
        notes = Notes()
        yield from iter_labelled(file, need, notes)
        if out is not None:
            out.note_all(notes)

    return open_dataset(file) if file.is_dir() else (None, frames())


def _snapshots(file: Path, wanted: set[int]) -> dict[int, Snapshot]:
    """Read some structures by their index; nothing is read where none is wanted."""
    from phonotune.data.identity import Snapshot

    frames = enumerate(_open(file)[1]) if wanted else ()
    return {i: Snapshot.of(frame.structure) for i, frame in frames if i in wanted}


def _lineage(dataset: DatasetHeader) -> dict[str, Any]:
    content = dataset.model_dump(
        mode="json", exclude={"data", "more", "statistics", "train", "valid"}
    )
    return content | {"train": len(dataset.train), "valid": len(dataset.valid)}


def _sentence(dataset: DatasetHeader) -> str:
    reason = f" ({dataset.split.reason})" if dataset.split else ""
    parent = f", from {dataset.parent_hash[:12]}" if dataset.parent_hash else ""
    return (
        f"Version {dataset.version}{parent}, hash {dataset.dataset_hash[:12]}: {len(dataset.train)} "
        f"frames train, {len(dataset.valid)} validate{reason}; {dataset.n_duplicates} duplicates dropped"
    )


def _finish(dataset: DatasetHeader, folder: Path, files: Sequence[Path], out: Session) -> None:
    note_dataset(dataset, out)
    out.finish(
        {
            "output": str(folder),
            "files": [path.name for path in files],
            "dataset": _lineage(dataset),
        },
        _sentence(dataset),
        f"{folder}: {', '.join(path.name for path in files)}",
    )


for command in (info, split, append, export):
    app.command(command.__name__, help=flowing(command))(command)
