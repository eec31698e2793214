"""Typed results out of a job store."""

from phonotune.schemas.kinds import KINDS
from phonotune.store.archive import load_archive, save_archive
from phonotune.store.check import check_store
from phonotune.store.credentials import describe, masked
from phonotune.store.criteria import Wanted
from phonotune.store.deletion import remove_outputs
from phonotune.store.indexes import ensure_indexes
from phonotune.store.renaming import rename_result
from phonotune.store.results import ResultStore
from phonotune.store.rows import Entry
from phonotune.store.sizes import check_size, largest_document
from phonotune.store.stores import BLOB_STORE, open_store

__all__ = [
    "BLOB_STORE",
    "KINDS",
    "Entry",
    "ResultStore",
    "Wanted",
    "check_size",
    "check_store",
    "describe",
    "ensure_indexes",
    "largest_document",
    "load_archive",
    "masked",
    "open_store",
    "remove_outputs",
    "rename_result",
    "save_archive",
]
