"""Documents as JSON files that any tool can read: arrays as nested lists with dtype and shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import ValidationError
from pymatgen.core import Structure

from phonotune.errors import InputError, PhonotuneError, invalid_value
from phonotune.files import PARSER_ERRORS, read_text, write_atomically
from phonotune.schemas.base import Document, PropertyDocument
from phonotune.schemas.blob import Blob
from phonotune.schemas.kinds import kind_of, property_kinds

if TYPE_CHECKING:
    from phonotune.physics.compare import PropertySet


def summary_of(document: Document) -> dict[str, Any]:
    """Return a document's fields as JSON-able values, without its blobs."""
    content: dict[str, Any] = _plain(document.model_dump())
    return content


def write_property(document: PropertyDocument, folder: Path) -> str:
    """Write a property with its arrays as one JSON file into a folder; returns the file's name."""
    name = kind_of(document).file
    write_document(document, folder / name)
    return name


def write_document(document: Document, path: Path) -> None:
    """Write a document with its arrays as one JSON file.

    An array is ``{"dtype": ..., "shape": [...], "values": nested lists}``; floats are written so
    that reading them back gives the same bits.
    """
    content = summary_of(document)
    content |= {name: _arrays(value) for name, value in document if isinstance(value, Blob)}
    spread = getattr(document, "spread", None)
    if spread is not None:
        content["spread"]["data"] = _arrays(spread.data)
    write_atomically(path, json.dumps(content, allow_nan=False, ensure_ascii=False))


def read_document(path: Path) -> PropertyDocument:
    """Read the document of a property written by :func:`write_document`.

    Raises
    ------
    InputError
        If the file is not there, is not JSON, or is not such a document.
    """
    try:
        content = json.loads(read_text(path, InputError))
        document = property_kinds()[content["kind"]].document_class
        for name, known in document.model_fields.items():
            if known.annotation is Blob and name in content:
                content[name] = _blob(content[name])
        if content.get("spread") is not None:
            content["spread"]["data"] = _blob(content["spread"]["data"])
        return cast(PropertyDocument, document.model_validate(content))
    except InputError:
        raise
    except (PhonotuneError, RecursionError, *PARSER_ERRORS) as error:
        what = type(error).__name__
        if isinstance(error, ValidationError):
            what = invalid_value(error).rstrip(".")
        elif isinstance(error, PhonotuneError):
            what = str(error).rstrip(".")
        raise InputError(
            f"{path} is not a document of a property written by phonotune ({what}). "
            f"Write it again with `phonotune {'`, `'.join(_commands())}`."
        ) from error


def holds_properties(folder: Path) -> bool:
    """Return whether a folder holds the file of a property that is compared."""
    return any((folder / name).is_file() for name in _compared_files())


def read_properties(folder: Path) -> PropertySet:
    """Read what the commands of the properties that are compared wrote into one folder.

    Raises
    ------
    InputError
        If the folder holds none of their files, or they belong to different crystals.
    """
    from phonotune.physics.compare import PropertySet

    names = _compared_files()
    found = [read_document(folder / name) for name in names if (folder / name).is_file()]
    if not found:
        what = "holds none of" if folder.is_dir() else "is not a folder with"
        raise InputError(
            f"{folder} {what} {', '.join(names)}. Write them with `phonotune {_commands()[0]} "
            f"... -o {folder}`."
        )
    first, *others = found
    for other in others:
        if (other.material_id, other.source) != (first.material_id, first.source):
            raise InputError(
                f"{folder} mixes results: {_who(first)} and {_who(other)}. Use one folder per crystal "
                "and model."
            )
    return PropertySet.of(found)


def find_documents(folder: Path) -> list[PropertyDocument]:
    """Read every document of a property in a folder and in the folders below.

    Raises
    ------
    InputError
        There is none, or one cannot be read.
    """
    names = [kind.file for kind in property_kinds().values() if kind.file]
    paths = sorted(path for name in names for path in folder.rglob(name))
    if not paths:
        raise InputError(
            f"{folder} holds none of {', '.join(names)}. Write them with `phonotune "
            f"{_commands()[0]} ... -o DIR`."
        )
    return [read_document(path) for path in paths]


def _compared_files() -> list[str]:
    return [kind.file for kind in property_kinds().values() if kind.comparison is not None]


def _commands() -> list[str]:
    """Return the names of the commands that write properties, each once, those that are compared first."""
    kinds = sorted(property_kinds().values(), key=lambda kind: kind.comparison is None)
    return list(dict.fromkeys(kind.command_name for kind in kinds if kind.command))


def _who(document: PropertyDocument) -> str:
    return (
        f"{document.kind} of {document.formula} ({document.material_id}) by "
        f"{document.source.role} · {document.source.evaluator}"
    )


def _plain(value: Any) -> Any:
    """Return the value with lists for tuples, crystals as dictionaries, and without blobs."""
    if isinstance(value, Structure):
        return _plain(value.as_dict())
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items() if not _holds_blobs(v)}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _holds_blobs(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_blobs(item) for item in value)
    return isinstance(value, Blob)


def _arrays(blob: Blob) -> dict[str, dict[str, Any]]:
    return {
        name: {"dtype": array.dtype.str, "shape": list(array.shape), "values": array.tolist()}
        for name, array in blob.arrays().items()
    }


def _blob(content: dict[str, dict[str, Any]]) -> Blob:
    return Blob.pack(
        **{
            name: np.array(item["values"], dtype=item["dtype"]).reshape(item["shape"])
            for name, item in content.items()
        }
    )
