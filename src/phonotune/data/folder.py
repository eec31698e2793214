"""A dataset as a folder: train.extxyz, valid.extxyz and dataset.json, which holds the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from phonotune.data.extxyz import iter_frames, write_frames
from phonotune.data.identity import dataset_hash, frame_hash, frame_key
from phonotune.data.isolated import IsolatedAtoms
from phonotune.errors import FramesError, invalid_value
from phonotune.files import read_text, write_atomically
from phonotune.schemas.dataset import DatasetDocument, DatasetHeader, Frame, pack_frame_blobs

TRAIN: Final = "train.extxyz"
VALID: Final = "valid.extxyz"
MANIFEST: Final = "dataset.json"
TEXTS: Final = ("group", "origin", "labeller", "protocol")


def write_dataset(dataset: DatasetDocument, folder: Path) -> tuple[Path, ...]:
    """Write a dataset; :func:`read_dataset` gives the same document back.

    Parameters
    ----------
    dataset
        The dataset.
    folder
        Gets the two files of frames, and ``dataset.json``: hash, version, parent, split, statistics,
        and for each frame its key, side, group, origin, labeller and protocol.

    Returns
    -------
    tuple of Path
        The files written.

    Raises
    ------
    FramesError
        The folder cannot be written, or holds another dataset.
    """
    return write_folder(dataset, dataset.iter_frames, folder)


def write_folder(
    header: DatasetHeader, frames: Callable[[], Iterator[Frame]], folder: Path
) -> tuple[Path, ...]:
    """Write a dataset whose frames are not in memory; see :func:`write_dataset`.

    Parameters
    ----------
    header
        What the dataset says about itself.
    frames
        Gives all frames in stored order; called once for each of the two files.
    folder
        As in :func:`write_dataset`.
    """
    manifest = folder / MANIFEST
    if manifest.is_file() and _load(manifest).get("dataset_hash") != header.dataset_hash:
        raise FramesError(
            f"{folder} holds another dataset; versions are never written over. Choose another folder."
        )
    rows: list[dict[str, str]] = []
    valid = set(header.valid)

    def training() -> Iterator[Frame]:
        yield from IsolatedAtoms(header.isolated_atoms).frames()
        for index, frame in enumerate(frames()):
            side = "valid" if index in valid else "train"
            texts = {name: getattr(frame, name) for name in TEXTS}
            rows.append({"key": frame_key(frame.structure, frame.protocol), "side": side} | texts)
            if index not in valid:
                yield frame

    write_frames(folder / TRAIN, training())
    write_frames(folder / VALID, (f for i, f in enumerate(frames()) if i in valid))
    content = header.model_dump(mode="json", exclude={"data", "more"}) | {"frames": rows}
    try:
        write_atomically(manifest, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise FramesError(
            f"{manifest} cannot be written ({error}). Choose another path."
        ) from error
    return folder / TRAIN, folder / VALID, manifest


def read_dataset(folder: Path) -> DatasetDocument:
    """Read what :func:`write_dataset` wrote, and check it against its hash.

    Raises
    ------
    FramesError
        No dataset there, a file that cannot be read, or frames that were changed since.
    """
    header, frames = open_dataset(folder)
    first, *more = pack_frame_blobs(list(frames))
    return DatasetDocument(**dict(header), data=first, more=tuple(more))


def open_dataset(folder: Path) -> tuple[DatasetHeader, Iterator[Frame]]:
    """Return what the dataset in a folder says about itself, and its frames in stored order.

    The frames are read one by one; whether they are those of the hash is known after the last one.

    Raises
    ------
    FramesError
        As :func:`read_dataset`, for the frames while they are read.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise FramesError(
            f"{folder} holds no {MANIFEST}; a folder written by `phonotune dataset split` is needed."
        )
    content = _load(manifest)
    content.pop("frames", None)
    try:
        header = DatasetHeader.model_validate(content)
    except ValidationError as error:
        raise FramesError(
            f"{manifest} does not describe a dataset: {invalid_value(error)}"
        ) from error
    return header, _stored_order(header, folder)


def _stored_order(header: DatasetHeader, folder: Path) -> Iterator[Frame]:
    valid = set(header.valid)
    isolated = IsolatedAtoms()
    files = [isolated.left_out(iter_frames(folder / name, name)) for name in (TRAIN, VALID)]
    hashes: tuple[list[str], list[str]] = ([], [])
    for index in range(len(header.train) + len(valid)):
        side = index in valid
        frame = next(files[side], None)
        if frame is None:
            break
        hashes[side].append(frame_hash(frame))
        yield frame
    hashes[0].extend(frame_hash(frame) for file in files for frame in file)
    found = dataset_hash(*hashes, header.labeller, isolated.energies)
    if found != header.dataset_hash or isolated.energies != header.isolated_atoms:
        raise FramesError(
            f"The frames in {folder} are not those of its {MANIFEST} (hash {found[:12]} instead of "
            f"{header.dataset_hash[:12]}); a file was changed. Write the dataset again."
        )


def _load(manifest: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(manifest, FramesError))
    except (ValueError, RecursionError) as error:
        raise FramesError(f"{manifest} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise FramesError(f"{manifest} does not describe a dataset; one JSON object is needed.")
    return content
