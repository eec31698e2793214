"""Documents as JSON files that any tool can read: arrays as nested lists with dtype and shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phonotune.errors import InputError

if TYPE_CHECKING:
    from phonotune.physics.compare import PropertySet
    from phonotune.schemas.base import Document, PropertyDocument
    from phonotune.schemas.blob import Blob

PHONONS: Final = "phonons.json"
ELASTIC: Final = "elastic.json"
WELL: Final = "well.json"
QUASI_HARMONIC: Final = "quasi_harmonic.json"
CONDUCTIVITY: Final = "conductivity.json"
TRANSITIONS: Final = "transitions.json"
_COMPARED: Final = {
    "phonon": PHONONS,
    "elastic": ELASTIC,
    "well": WELL,
    "quasi_harmonic": QUASI_HARMONIC,
    "transitions": TRANSITIONS,
}
"""File of each property that `compare` knows, by the field of PropertySet."""
_FILES: Final = (*_COMPARED.values(), CONDUCTIVITY)


def summary_of(document: Document) -> dict[str, Any]:
    """Return a document's fields as JSON-able values, without its blobs."""
    content: dict[str, Any] = _plain(document.model_dump())
    return content


def write_document(document: Document, path: Path) -> None:
    """Write a document with its arrays as one JSON file.

    An array is ``{"dtype": ..., "shape": [...], "values": nested lists}``; floats are written so
    that reading them back gives the same bits.
    """
    from phonotune.schemas.blob import Blob

    content = summary_of(document)
    content |= {name: _arrays(value) for name, value in document if isinstance(value, Blob)}
    spread = getattr(document, "spread", None)
    if spread is not None:
        content["spread"]["data"] = _arrays(spread.data)
    path.write_text(json.dumps(content, allow_nan=False, ensure_ascii=False), encoding="utf-8")


def read_document(path: Path) -> PropertyDocument:
    """Read the document of a property written by :func:`write_document`.

    Raises
    ------
    InputError
        If the file is not there, is not JSON, or is not such a document.
    """
    from pydantic import ValidationError

    from phonotune.schemas.elastic import ElasticDocument
    from phonotune.schemas.phonon import PhononDocument
    from phonotune.schemas.thermal import ConductivityDocument, QuasiHarmonicDocument
    from phonotune.schemas.transition import TransitionDocument
    from phonotune.schemas.wells import WellDocument

    kinds: dict[str, type[PropertyDocument]] = {
        "phonon": PhononDocument,
        "elastic": ElasticDocument,
        "well": WellDocument,
        "quasi_harmonic": QuasiHarmonicDocument,
        "conductivity": ConductivityDocument,
        "transitions": TransitionDocument,
    }
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind = kinds[content["kind"]]
        if "data" in content:
            content["data"] = _blob(content["data"])
        if content.get("spread") is not None:
            content["spread"]["data"] = _blob(content["spread"]["data"])
        return kind.model_validate(content)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{path} is no document of a property written by phonotune ({type(error).__name__}). "
            "Write it again with `phonotune phonons`, `elastic`, `double-well`, `thermal` or "
            "`transitions`."
        ) from error


def read_properties(folder: Path) -> PropertySet:
    """Read what `phonons`, `elastic`, `double-well`, `thermal`, `transitions` wrote into one folder.

    Raises
    ------
    InputError
        If the folder holds none of their files, or they belong to different crystals.
    """
    from phonotune.physics.compare import PropertySet

    found = {
        key: read_document(folder / name)
        for key, name in _COMPARED.items()
        if (folder / name).is_file()
    }
    if not found:
        what = "holds none of" if folder.is_dir() else "is no folder with"
        raise InputError(
            f"{folder} {what} {', '.join(_COMPARED.values())}. Write them with `phonotune phonons "
            f"... -o {folder}`."
        )
    first, *others = found.values()
    for other in others:
        if (other.material_id, other.source) != (first.material_id, first.source):
            raise InputError(
                f"{folder} mixes results: {_who(first)} and {_who(other)}. Use one folder a crystal "
                "and model."
            )
    return PropertySet(source=first.source, **found)  # type: ignore[arg-type]


def find_documents(folder: Path) -> list[PropertyDocument]:
    """Read every document of a property in a folder and in the folders below.

    Raises
    ------
    InputError
        There is none, or one cannot be read.
    """
    paths = sorted(path for name in _FILES for path in folder.rglob(name))
    if not paths:
        raise InputError(
            f"{folder} holds none of {', '.join(_FILES)}. Write them with `phonotune phonons ... "
            "-o DIR`."
        )
    return [read_document(path) for path in paths]


def _who(document: PropertyDocument) -> str:
    return (
        f"{document.kind} of {document.formula} ({document.material_id}) by "
        f"{document.source.role} · {document.source.evaluator}"
    )


def _plain(value: Any) -> Any:
    """Return the value with lists for tuples, crystals as dictionaries, and without blobs."""
    from pymatgen.core import Structure

    if isinstance(value, Structure):
        return _plain(value.as_dict())
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items() if not _holds_blobs(v)}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _holds_blobs(value: Any) -> bool:
    from phonotune.schemas.blob import Blob

    if isinstance(value, list | tuple):
        return any(_holds_blobs(item) for item in value)
    return isinstance(value, Blob)


def _arrays(blob: Blob) -> dict[str, dict[str, Any]]:
    return {
        name: {"dtype": array.dtype.str, "shape": list(array.shape), "values": array.tolist()}
        for name, array in blob.arrays().items()
    }


def _blob(content: dict[str, dict[str, Any]]) -> Blob:
    import numpy as np

    from phonotune.schemas.blob import Blob

    return Blob.pack(
        **{
            name: np.array(item["values"], dtype=item["dtype"]).reshape(item["shape"])
            for name, item in content.items()
        }
    )
