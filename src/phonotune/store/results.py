"""Query stored Documents by what they are, not by how they were made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from jobflow import JobStore
from monty.json import MontyDecoder

from phonotune.errors import InputError, unknown_name
from phonotune.schemas.base import Document
from phonotune.store.stores import open_store

logger = logging.getLogger(__name__)

KINDS: Final[tuple[str, ...]] = (
    "atom",
    "structures",
    "trajectories",
    "labels",
    "dataset",
    "training",
    "phonon",
    "elastic",
    "well",
    "comparison",
)
"""What ``kind=`` accepts: the ``kind`` of each Document."""


class ResultStore:
    """Typed access to the results in a job store.

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

    def query(
        self,
        formula: str | None = None,
        strategy: str | None = None,
        kind: str | None = None,
        material_id: str | None = None,
        model_id: str | None = None,
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

        Raises
        ------
        ConfigError
            If ``kind`` is none of KINDS.
        InputError
            If a value is not text: query operators are refused.
        """
        if kind is not None and kind not in KINDS:
            raise unknown_name("kind", str(kind), KINDS)
        criteria = _criteria(
            {
                ("output.formula",): formula,
                ("output.source.role", "output.model.strategy"): strategy,
                ("output.material_id",): material_id,
                ("output.source.model_id", "output.model.model_id"): model_id,
            }
        )
        criteria["output.kind"] = kind if kind is not None else {"$in": list(KINDS)}
        rows = sorted(self._rows(criteria), key=lambda row: str(row.get("completed_at", "")))
        return [MontyDecoder().process_decoded(row["output"]) for row in rows]

    def _rows(self, criteria: dict[str, Any]) -> list[dict[str, Any]]:
        """Return stored outputs with their blobs; one that lost a blob is left out, with a warning."""
        wanted = ["uuid", "index", "name", "output", "completed_at"]
        try:
            return list(self.store.query(criteria, properties=wanted, load=True))
        except KeyError:
            plain = list(self.store.query(criteria, properties=wanted, load=False))
        rows = []
        for row in plain:
            try:
                key = {"uuid": row["uuid"], "index": row["index"]}
                rows.append(self.store.query_one(key, wanted, load=True))
            except KeyError:
                logger.warning("%s lost an array and is left out; run it again.", row["name"])
        return rows

    def to_dataframe(
        self, documents: Sequence[Document] | None = None, **query: Any
    ) -> pd.DataFrame:
        """Return one row a Document with every number and name that is not an array.

        Parameters
        ----------
        documents
            Documents to tabulate; None runs :meth:`query` with the remaining arguments.
        """
        chosen = self.query(**query) if documents is None else documents
        return pd.DataFrame([flatten(document) for document in chosen])


def _criteria(wanted: dict[tuple[str, ...], str | None]) -> dict[str, Any]:
    clauses = []
    for keys, value in wanted.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise InputError(
                f"A query value must be text, found {type(value).__name__} for {keys[0]}."
            )
        clauses.append({"$or": [{key: value} for key in keys]})
    return {"$and": clauses} if clauses else {}


def flatten(document: Document) -> dict[str, Any]:
    """Return the scalars of a Document by dotted name, without Blobs, lists and settings."""
    row: dict[str, Any] = {}

    def visit(prefix: str, content: dict[str, Any]) -> None:
        for key, value in content.items():
            if key in {"settings", "versions", "unitcell", "config"}:
                continue
            if isinstance(value, dict):
                visit(f"{prefix}{key}.", value)
            elif value is None or isinstance(value, str | int | float | bool):
                row[prefix + key] = value

    visit("", document.model_dump())
    return row
