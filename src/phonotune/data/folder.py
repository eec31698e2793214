"""A dataset as a folder: train.extxyz, valid.extxyz and dataset.json, which tells the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from phonotune.data.extxyz import read_frames, write_frames
from phonotune.data.identity import dataset_hash, frame_key
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument, Frame, pack_frame_blobs

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
        and by frame its key, side, group, origin, labeller and protocol.

    Returns
    -------
    tuple of Path
        The files written.

    Raises
    ------
    FramesError
        The folder cannot be written, or holds another dataset.
    """
    manifest = folder / MANIFEST
    if manifest.is_file() and _load(manifest).get("dataset_hash") != dataset.dataset_hash:
        raise FramesError(
            f"{folder} holds another dataset; versions are never written over. Choose another folder."
        )
    rows: list[dict[str, str]] = []
    write_frames(folder / TRAIN, _side(dataset, set(dataset.train), rows))
    write_frames(folder / VALID, _side(dataset, set(dataset.valid), None))
    content = dataset.model_dump(mode="json", exclude={"data", "more"}) | {"frames": rows}
    manifest.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder / TRAIN, folder / VALID, manifest


def _side(
    dataset: DatasetDocument, wanted: set[int], rows: list[dict[str, str]] | None
) -> Iterator[Frame]:
    """Yield the frames of one side; add a row for every frame of both to ``rows``."""
    valid = set(dataset.valid)
    for index, frame in enumerate(dataset.iter_frames()):
        if rows is not None:
            side = "valid" if index in valid else "train"
            texts = {name: getattr(frame, name) for name in TEXTS}
            rows.append({"key": frame_key(frame.structure, frame.protocol), "side": side} | texts)
        if index in wanted:
            yield frame


def read_dataset(folder: Path) -> DatasetDocument:
    """Read what :func:`write_dataset` wrote, and check it against its hash.

    Raises
    ------
    FramesError
        No dataset there, a file that cannot be read, or frames that were changed since.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise FramesError(
            f"{folder} holds no {MANIFEST}; a folder written by `phonotune dataset split` is needed."
        )
    content = _load(manifest)
    content.pop("frames", None)
    train, valid = read_frames(folder / TRAIN), read_frames(folder / VALID)
    found = dataset_hash(train, valid, str(content.get("labeller")))
    if found != content.get("dataset_hash"):
        raise FramesError(
            f"The frames in {folder} are not those of its {MANIFEST} (hash {found[:12]} instead of "
            f"{str(content.get('dataset_hash'))[:12]}); a file was changed. Write the dataset again."
        )
    try:
        sides = (sorted(content["train"]), train), (sorted(content["valid"]), valid)
        placed = dict(pair for side in sides for pair in zip(*side, strict=True))
        first, *more = pack_frame_blobs([placed[i] for i in range(len(placed))])
        return DatasetDocument.model_validate(content | {"data": first, "more": tuple(more)})
    except (ValidationError, KeyError, ValueError, TypeError) as error:
        raise FramesError(f"{manifest} is not a dataset's ({error}).") from error


def _load(manifest: Path) -> dict[str, Any]:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FramesError(f"{manifest} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise FramesError(f"{manifest} is not a dataset's; one JSON object is needed.")
    return content
