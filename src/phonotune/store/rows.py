"""Stored rows of Documents: every query for Documents goes to the database from here."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from jobflow import JobStore
from maggma.stores import MongoStore

from phonotune.chunks import chunked
from phonotune.errors import InputError
from phonotune.schemas.base import Document
from phonotune.schemas.kinds import KINDS
from phonotune.schemas.training import ModelRecord
from phonotune.store.blobs import decode, decode_lazily, fetch_blobs, references
from phonotune.store.criteria import Criteria, Wanted, id_criteria, with_kinds
from phonotune.store.documents import PREFIX
from phonotune.store.stores import close, is_embedded, open_store

logger = logging.getLogger(__name__)

Row = dict[str, Any]
"""What jobflow stores of a job, with references in place of the Blobs."""

_BATCH: Final = 64
"""Documents whose Blobs are in memory at once while streaming from a server."""
_EMBEDDED_BATCH: Final = 1024
"""The same from an embedded store, where every fetch reads all Blobs."""
_FEW: Final = 1000
"""Documents that are sorted here and not by the server."""
_LOOKS_BACK: Final = (1, 30, 365)
"""Days in which the newest Documents are looked for, one after the other."""
_ORDER: Final = ("completed_at", "uuid", "index")
PROPERTIES: Final = ("uuid", "index", "name", "output", "completed_at", "metadata", "hosts")
"""What is read of a row."""


@dataclass(frozen=True)
class Entry:
    """A Document and the job that stored it.

    Attributes
    ----------
    uuid, index
        The job, and which of its replacements.
    name
        The job's name.
    completed_at
        When it ended: ISO, in local time of the worker.
    document
        The result.
    metadata
        What the flow noted: role, stage, material, campaign, content.
    hosts
        The flows that the job belongs to.
    """

    uuid: str
    index: int
    name: str
    completed_at: str
    document: Document
    metadata: Mapping[str, Any]
    hosts: tuple[str, ...] = ()

    @property
    def stage(self) -> str:
        """Stage of the pipeline, e.g. ``"phonon reference"``; empty if not noted."""
        return str(self.metadata.get("stage", ""))


class StoredRows:
    """The rows of a job store that hold Documents.

    A context manager: ``with ResultStore("store.yaml") as results`` closes the connection at its end.

    Parameters
    ----------
    store
        An open JobStore, or what :func:`phonotune.store.open_store` takes.
    """

    def __init__(self, store: JobStore | Path | str | None = None) -> None:
        self.store = (
            store
            if isinstance(store, JobStore)
            else open_store(None if store is None else Path(store))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to a server; this object cannot be used after that."""
        close(self.store)

    def rows(
        self,
        criteria: Sequence[Criteria],
        limit: int | None = None,
        properties: Sequence[str] = PROPERTIES,
    ) -> Iterator[Row]:
        """Yield the stored rows of Documents, without Blobs, oldest first.

        Parameters
        ----------
        criteria
            Alternatives, as :class:`phonotune.store.criteria.Wanted` writes them: never a user's text.
        limit
            Only the newest ones.
        properties
            Fields of a row; uuid, index, completed_at and the kind must be among them.
        """
        newest_first = limit is not None
        streams = [self._stream(with_kinds(c), limit, list(properties)) for c in criteria]
        merged = heapq.merge(*streams, key=_age, reverse=newest_first)
        typed = (row for row in merged if kind_of(row) in KINDS)
        return iter(list(islice(typed, limit))[::-1]) if newest_first else typed

    def values(
        self,
        criteria: Sequence[Criteria],
        columns: Mapping[str, Sequence[str]],
        limit: int | None = None,
    ) -> Iterator[list[Any]]:
        """Yield the values of some fields of the rows, as a list for each Document, in any order.

        Parameters
        ----------
        criteria, limit
            As in :meth:`rows`.
        columns
            By kind, the dotted names of the fields within a row.
        """
        docs = self.store.docs_store
        if limit is None and isinstance(docs, MongoStore) and not is_embedded(docs):
            # The server picks the values: a list is quicker to send and to read than nested fields.
            branches = [
                {"case": {"$eq": [f"${PREFIX}kind", kind]}, "then": [f"${name}" for name in names]}
                for kind, names in columns.items()
            ]
            picked = {"_id": 0, "values": {"$switch": {"branches": branches, "default": None}}}
            for criterion in criteria:
                stages = [{"$match": with_kinds(criterion)}, {"$project": picked}]
                for row in docs._collection.aggregate(stages):
                    if row["values"] is not None:
                        yield row["values"]
            return
        paths = {kind: [name.split(".") for name in names] for kind, names in columns.items()}
        fields = {".".join(path[:2]) for listed in paths.values() for path in listed}
        for row in self.rows(criteria, limit, sorted({*_ORDER, *fields})):
            if kind_of(row) in paths:
                yield [_at(row, path) for path in paths[kind_of(row)]]

    def _stream(
        self, criteria: Criteria, limit: int | None, properties: list[str]
    ) -> Iterator[Row]:
        """Yield rows in order of age, the newest first where a limit is set.

        Few rows are sorted here: a server that is asked to sort may walk through all its documents in that
        order instead of using the index that leads to the few. Rows of an embedded store always are.
        """
        docs, newest_first = self.store.docs_store, limit is not None
        embedded = is_embedded(docs)

        def few(more: Criteria) -> list[Row] | None:
            rows = docs.query(criteria | more, properties)
            found = list(rows if embedded else islice(rows, _FEW + 1))
            return found if embedded or len(found) <= _FEW else None

        found: list[Row] | None = []
        if limit is None or "completed_at" in criteria or embedded:
            found = few({})
        else:  # looking back a day, a month and a year takes the index of times, on any server
            for days in _LOOKS_BACK:
                since = (datetime.now() - timedelta(days=days)).isoformat()
                found = few({"completed_at": {"$gte": since}})
                if found is None or sum(kind_of(row) in KINDS for row in found) >= limit:
                    break
            else:
                found = few({})
        if found is not None:
            yield from sorted(found, key=_age, reverse=newest_first)
            return
        at_most = limit or 0 if f"{PREFIX}kind" in criteria else 0
        order = dict.fromkeys(_ORDER, -1 if newest_first else 1)
        yield from docs.query(criteria, properties, sort=order, limit=at_most)

    def entries(
        self, wanted: Wanted | None = None, limit: int | None = None, load: bool = False
    ) -> Iterator[Entry]:
        """Yield Documents with the jobs that stored them, oldest first.

        One that lost an array is left out with a warning; with ``load=False`` that is not looked for.
        """
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise InputError(f"limit must be a whole number from 1 on, found {limit!r}.")
        return self.entries_of(self.rows((wanted or Wanted()).criteria(), limit), load)

    def entries_of(self, rows: Iterable[Row], load: bool = False) -> Iterator[Entry]:
        """Yield the Documents of what :meth:`rows` gave."""
        size = _EMBEDDED_BATCH if is_embedded(self.store.docs_store) else _BATCH
        for batch in chunked(rows, size):
            if not load:
                for row in batch:
                    yield _entry(row, decode_lazily(row["output"], self.store))
                continue
            blobs = fetch_blobs(self.store, list(references([row["output"] for row in batch])))
            for row in batch:
                try:
                    yield _entry(row, decode(row["output"], blobs))
                except KeyError:
                    logger.warning("%s lost an array and is left out; run it again.", row["name"])

    def find(self, identifier: str, load: bool = False) -> Entry:
        """Return the one result of an id.

        Parameters
        ----------
        identifier
            The uuid of a result, the model_id of a training or the dataset_hash of a dataset, or the
            beginning of one, four digits or more.
        load
            Load its arrays now.

        Raises
        ------
        InputError
            It is not an id, nothing has it, or several results do; the message lists these.
        """
        for criteria in id_criteria(identifier):
            found = list(self.rows([criteria]))
            newest = {str(_at(row, next(iter(criteria)).split("."))): row for row in found}
            if len(newest) > 1:
                names = ", ".join(f"{key[:13]} ({row['name']})" for key, row in newest.items())
                raise InputError(
                    f"{identifier!r} is the beginning of {len(newest)} results: {names}. Give more "
                    "digits."
                )
            for entry in self.entries_of(newest.values(), load):
                return entry
        raise InputError(
            f"No result has the id {identifier!r}. `phonotune results` lists those of the store."
        )

    def model(self, model_id: str) -> ModelRecord:
        """Return a fine-tuned model with its adapters.

        Parameters
        ----------
        model_id
            Of the training, or the beginning of it.

        Raises
        ------
        InputError
            No training in the store gave that model.
        """
        (criteria,) = [c for c in id_criteria(model_id) if "output.model.model_id" in c]
        found = list(self.rows([criteria | {"output.kind": "training"}]))
        identities = {row["output"]["model"]["model_id"] for row in found}
        if len(identities) != 1:
            what = f"{len(identities)} models begin with" if identities else "No training gave"
            raise InputError(
                f"{what} {model_id!r} in this store. `phonotune results --kind training` lists "
                "those that are there."
            )
        for entry in self.entries_of(found[::-1], load=True):
            record: ModelRecord = entry.document.model  # type: ignore[attr-defined]
            return record
        raise InputError(f"The store lost the adapter of model {model_id!r}; train it again.")


def by_job(rows: Iterable[Row]) -> dict[tuple[str, int], Row]:
    """Return rows by the uuid and the index of their job."""
    return {(row["uuid"], int(row["index"])): row for row in rows}


def kind_of(row: Mapping[str, Any]) -> Any:
    """Return the kind of the Document in a row; None where there is none."""
    return _at(row, ("output", "kind"))


def _at(row: Any, path: Sequence[str]) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _age(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return str(row.get("completed_at") or ""), str(row["uuid"]), int(row["index"])


def _entry(row: Mapping[str, Any], document: Document) -> Entry:
    metadata = row.get("metadata") or {}
    return Entry(
        uuid=row["uuid"],
        index=int(row["index"]),
        name=str(row.get("name") or ""),
        completed_at=str(row.get("completed_at") or ""),
        document=document,
        metadata=metadata.get("phonotune") or {},
        hosts=tuple(row.get("hosts") or ()),
    )
