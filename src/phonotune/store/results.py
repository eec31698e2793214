"""Query stored Documents by what they are, not by how they were made."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from jobflow import JobStore

from phonotune.chunks import chunked
from phonotune.errors import InputError
from phonotune.schemas.base import Document
from phonotune.schemas.kinds import KINDS
from phonotune.schemas.training import ModelRecord
from phonotune.store.blobs import decode, decode_lazily, fetch_blobs, references
from phonotune.store.criteria import Criteria, Range, Wanted, id_criteria, with_kinds
from phonotune.store.stores import close, is_embedded, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from phonotune.store.deletion import Deleted
    from phonotune.store.lineage import Lineage

logger = logging.getLogger(__name__)

_BATCH: Final = 64
"""Documents whose Blobs are in memory at once while streaming from a server."""
_EMBEDDED_BATCH: Final = 1024
"""The same from an embedded store, where every fetch reads all Blobs."""
_FEW: Final = 1000
"""Documents that are sorted here and not by the server."""
_LOOKS_BACK: Final = (1, 30, 365)
"""Days in which the newest Documents are looked for, one after the other."""
_ORDER: Final = ("completed_at", "uuid", "index")
_PROPERTIES: Final = ("uuid", "index", "name", "output", "completed_at", "metadata", "hosts")


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


class ResultStore:
    """Typed access to the results in a job store.

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
        """Close the connection to a server; the store of this object is of no more use then."""
        close(self.store)

    def query(
        self,
        formula: str | None = None,
        strategy: str | None = None,
        kind: str | None = None,
        material_id: str | None = None,
        model_id: str | None = None,
        since: date | str | None = None,
        until: date | str | None = None,
        where: Mapping[str, Range] | None = None,
        limit: int | None = None,
        load: bool = True,
    ) -> list[Document]:
        """Return Documents, oldest first; with no argument, all of them.

        Parameters
        ----------
        formula
            Reduced formula, e.g. ``"BaTiO3"``.
        strategy
            Fine-tuning strategy, or ``reference`` or ``untuned``.
        kind
            One of KINDS.
        material_id
            Hash of the crystal.
        model_id
            Model that was trained or that evaluated.
        since, until
            When the job ended, local time, a date or an ISO text; the day of `until` is included.
        where
            Lowest and highest value of a number, both included, by its name:
            ``{"bulk_modulus": (100, None)}``; or the truth value of a field: ``{"born_stable": True}``.
        limit
            Only the newest ones.
        load
            Load the arrays now. If False, each is fetched when it is first used.

        Raises
        ------
        ConfigError
            If ``kind`` is none of KINDS, or ``where`` names no number of a Document.
        InputError
            If a value is not of its type: query operators are refused.
        """
        wanted = Wanted(formula, strategy, kind, material_id, model_id, since, until, where)
        return [entry.document for entry in self.entries(wanted, limit, load)]

    def iter(self, limit: int | None = None, load: bool = True, **query: Any) -> Iterator[Document]:
        """Yield what :meth:`query` returns, with the arrays of a few Documents in memory at a time."""
        for entry in self.entries(Wanted(**query), limit, load):
            yield entry.document

    def entries(
        self, wanted: Wanted | None = None, limit: int | None = None, load: bool = False
    ) -> Iterator[Entry]:
        """Yield Documents with the jobs that stored them, oldest first.

        One that lost an array is left out, with a warning; with ``load=False`` nobody looks.
        """
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise InputError(f"limit must be a whole number from 1 on, found {limit!r}.")
        rows = self.rows((wanted or Wanted()).criteria(), limit)
        return self._entries(rows, load)

    def rows(
        self, criteria: Sequence[Criteria], limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the stored rows of Documents, without Blobs, oldest first.

        Parameters
        ----------
        criteria
            Alternatives, as :class:`phonotune.store.criteria.Wanted` writes them: never a user's text.
        limit
            Only the newest ones.
        """
        newest_first = limit is not None
        streams = [self._stream(criterion, newest_first, limit) for criterion in criteria]
        merged = heapq.merge(*streams, key=_age, reverse=newest_first)
        typed = (row for row in merged if _kind_of(row) in KINDS)
        return iter(list(islice(typed, limit))[::-1]) if newest_first else typed

    def _stream(
        self, criteria: Criteria, newest_first: bool, limit: int | None
    ) -> Iterator[dict[str, Any]]:
        """Yield rows in order of age; few are sorted here.

        A server that is asked to sort may walk all its documents in that order instead of taking the
        index that leads to the few.
        """
        narrowed = with_kinds(criteria)
        if limit is None or "completed_at" in narrowed or is_embedded(self.store.docs_store):
            found = self._few(narrowed)
        else:
            found = self._latest(narrowed, limit)
        if found is not None:
            yield from sorted(found, key=_age, reverse=newest_first)
            return
        at_most = limit or 0 if "output.kind" in narrowed else 0
        order = dict.fromkeys(_ORDER, -1 if newest_first else 1)
        yield from self.store.docs_store.query(
            narrowed, list(_PROPERTIES), sort=order, limit=at_most
        )

    def _few(self, criteria: Criteria) -> list[dict[str, Any]] | None:
        """Return all rows, in any order; None if there are many."""
        rows = self.store.docs_store.query(criteria, list(_PROPERTIES))
        found = list(islice(rows, _FEW + 1))
        return found if len(found) <= _FEW else None

    def _latest(self, criteria: Criteria, limit: int) -> list[dict[str, Any]] | None:
        """Return the rows of a time that holds `limit` Documents or all; None where it is crowded.

        Looking back a day, a month and a year takes the index of times, on any server.
        """
        for days in _LOOKS_BACK:
            since = (datetime.now() - timedelta(days=days)).isoformat()
            found = self._few(criteria | {"completed_at": {"$gte": since}})
            if found is None or sum(_kind_of(row) in KINDS for row in found) >= limit:
                return found
        return self._few(criteria)

    def _entries(self, rows: Iterator[dict[str, Any]], load: bool) -> Iterator[Entry]:
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

    def entries_of(self, rows: Iterable[dict[str, Any]], load: bool = False) -> Iterator[Entry]:
        """Yield the Documents of what :meth:`rows` gave."""
        return self._entries(iter(rows), load)

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
            It is no id, nothing has it, or several results do; the message lists these.
        """
        for criteria in id_criteria(identifier):
            found = list(self.rows([criteria]))
            newest = {_identity(row, next(iter(criteria))): row for row in found}
            if len(newest) > 1:
                names = ", ".join(f"{key[:13]} ({row['name']})" for key, row in newest.items())
                raise InputError(
                    f"{identifier!r} is the beginning of {len(newest)} results: {names}. Give more "
                    "digits."
                )
            for entry in self._entries(iter(newest.values()), load):
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
        for entry in self._entries(iter(found[::-1]), load=True):
            record: ModelRecord = entry.document.model  # type: ignore[attr-defined]
            return record
        raise InputError(f"The store lost the adapter of model {model_id!r}; train it again.")

    def to_dataframe(
        self, documents: Iterable[Document] | None = None, **query: Any
    ) -> pd.DataFrame:
        """Return one row a Document with every number and name that is not an array.

        Columns bear dotted names (``thermal_300.entropy``); those without any value are left out.
        No array is loaded. Of a query there are also ``uuid`` and ``completed_at``.

        Parameters
        ----------
        documents
            Documents to tabulate; None runs :meth:`query` with the remaining arguments.
        """
        from phonotune.store.tabulate import frame_of, tabulate

        if documents is not None:
            return frame_of([flatten(document) for document in documents])
        limit = query.pop("limit", None)
        query.pop("load", None)
        return tabulate(self, Wanted(**query), limit)

    def lineage(self, result: str | Entry | Document) -> Lineage:
        """Return where a result comes from; see :func:`phonotune.store.lineage.trace`."""
        from phonotune.store.lineage import trace

        return trace(self, result)

    def delete(self, *identifiers: str, dependents: bool = False, **query: Any) -> Deleted:
        """Delete results and their arrays; see :func:`phonotune.store.deletion.delete`."""
        from phonotune.store.deletion import delete

        return delete(self, identifiers, Wanted(**query), dependents=dependents)


def flatten(document: Document) -> dict[str, Any]:
    """Return the scalars of a Document by dotted name, without Blobs, lists and settings."""
    from phonotune.store.tabulate import scalars_of

    return scalars_of(document.model_dump())


def _kind_of(row: Mapping[str, Any]) -> Any:
    output = row.get("output")
    return output.get("kind") if isinstance(output, dict) else None


def _age(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return str(row.get("completed_at") or ""), str(row["uuid"]), int(row["index"])


def _identity(row: Mapping[str, Any], key: str) -> str:
    """Return the value of a dotted key that names a row; runs of one job count as one."""
    value: Any = row
    for part in key.split("."):
        value = value[part]
    return str(value)


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
