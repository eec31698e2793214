"""Query stored Documents by what they are, not by how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from phonotune.schemas.base import Document
from phonotune.store.criteria import Range, Wanted
from phonotune.store.deletion import Deleted, delete
from phonotune.store.lineage import Lineage, trace
from phonotune.store.rows import Entry, StoredRows

if TYPE_CHECKING:
    import pandas as pd


class ResultStore(StoredRows):
    """Typed access to the results in a job store.

    A context manager: ``with ResultStore("store.yaml") as results`` closes the connection at its end.

    Parameters
    ----------
    store
        An open JobStore, or what :func:`phonotune.store.open_store` takes.
    """

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

    def to_dataframe(
        self, documents: Iterable[Document] | None = None, **query: Any
    ) -> pd.DataFrame:
        """Return one row per Document with every number and name that is not an array.

        Columns have dotted names (``thermal_300.entropy``); those without any value are left out.
        No array is loaded. A query also gives ``uuid`` and ``completed_at``.

        Parameters
        ----------
        documents
            Documents to tabulate; None runs :meth:`query` with the remaining arguments.
        """
        from phonotune.store.tabulate import frame_of, tabulate

        if documents is not None:
            return frame_of(documents)
        limit = query.pop("limit", None)
        query.pop("load", None)
        return tabulate(self, Wanted(**query), limit)

    def lineage(self, result: str | Entry | Document) -> Lineage:
        """Return where a result comes from; see :func:`phonotune.store.lineage.trace`."""
        return trace(self, result)

    def delete(self, *identifiers: str, dependents: bool = False, **query: Any) -> Deleted:
        """Delete results and their arrays; see :func:`phonotune.store.deletion.delete`."""
        return delete(self, identifiers, Wanted(**query), dependents=dependents)
