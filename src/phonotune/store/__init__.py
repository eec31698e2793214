"""Typed results out of a job store."""

from phonotune.store.results import KINDS, ResultStore
from phonotune.store.stores import BLOB_STORE, open_store

__all__ = ["BLOB_STORE", "KINDS", "ResultStore", "open_store"]
