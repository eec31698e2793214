"""The indexes that make queries quick on a server; an embedded store has none."""

from __future__ import annotations

from typing import Final

from jobflow import JobStore
from maggma.stores import MongoStore
from pymongo.errors import PyMongoError

from phonotune.store.buckets import index_of
from phonotune.store.stores import is_embedded, refusal

METRICS: Final = (
    "bulk_modulus",
    "shear_modulus",
    "lowest_frequency",
    "highest_frequency",
    "depth",
)
"""Numbers that are asked for by range; other fields work too, beside a formula or a material."""

DOCUMENT_INDEXES: Final[tuple[tuple[str, ...], ...]] = (
    ("uuid", "index"),
    ("completed_at", "uuid", "index"),
    *(
        (f"metadata.phonotune.{name}",)
        for name in ("material_id", "campaign", "stage", "content", "deleting")
    ),
    ("output.kind", "completed_at", "uuid", "index"),
    ("output.formula",),
    ("output.material_id",),
    ("output.source.role",),
    ("output.source.model_id",),
    ("output.model.strategy",),
    ("output.model.model_id",),
    ("output.dataset_hash",),
    ("output.model.dataset_hash",),
    ("hosts",),
    *(("output.kind", f"output.{name}") for name in METRICS),
)
"""Keys of each index of the documents."""

BLOB_INDEXES: Final = ("blob_uuid", "job_uuid")


def ensure_indexes(store: JobStore) -> list[str]:
    """Make the indexes that are missing, once; return the names of those made.

    Parameters
    ----------
    store
        A connected store.

    Raises
    ------
    StoreError
        The user may not make indexes.
    """
    made = []
    docs = store.docs_store
    if isinstance(docs, MongoStore) and not is_embedded(docs):
        try:
            there = set(docs._collection.index_information())
            for keys in DOCUMENT_INDEXES:
                name = "_".join(f"{key}_1" for key in keys)
                if name not in there:
                    docs._collection.create_index([(key, 1) for key in keys], name=name)
                    made.append(name)
        except PyMongoError as error:
            raise refusal(error, docs, "indexes", "indexed") from None
    for blobs in store.additional_stores.values():
        if not is_embedded(index_of(blobs)):
            for key in BLOB_INDEXES:
                blobs.ensure_index(key)
    return made
