"""Open the job store: an embedded one on disk by default, or what a yaml file says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import yaml
from jobflow import JobStore
from maggma.stores import MontyStore

from phonotune.errors import StoreError
from phonotune.settings import get_settings

BLOB_STORE: Final[str] = "data"
"""Name of the additional store that holds the Blobs."""

_EXAMPLE = (
    "docs_store: {type: MongoStore, host: HOST, database: DB, collection_name: outputs}; "
    "additional_stores: {data: {type: GridFSStore, host: HOST, database: DB, collection_name: blobs}}"
)


def open_store(path: Path | None = None) -> JobStore:
    """Open and connect a job store.

    Parameters
    ----------
    path
        A folder (embedded store), or a yaml file with ``docs_store`` and ``additional_stores``. None:
        ``PHONOTUNE_STORE``, else the store of ``JOBFLOW_CONFIG_FILE`` if that is set, else the embedded
        store in the data directory.

    Raises
    ------
    StoreError
        If the store cannot be reached or written, or has no additional store ``data``.
    """
    chosen = path if path is not None else get_settings().store
    if chosen is None and os.environ.get("JOBFLOW_CONFIG_FILE"):
        return _configured_store()
    chosen = Path(chosen).expanduser() if chosen is not None else get_settings().store_path
    if chosen.suffix in {".yaml", ".yml"}:
        return _connect(_from_yaml(chosen), str(chosen))
    return _connect(_embedded(chosen), str(chosen))


def _configured_store() -> JobStore:
    from jobflow import SETTINGS

    return _connect(SETTINGS.JOB_STORE, os.environ["JOBFLOW_CONFIG_FILE"])


def _from_yaml(path: Path) -> JobStore:
    if not path.is_file():
        raise StoreError(f"Store file {str(path)!r} does not exist. Write one like: {_EXAMPLE}.")
    spec = yaml.safe_load(path.read_text())
    if not isinstance(spec, dict) or "docs_store" not in spec:
        raise StoreError(f"Store file {str(path)!r} has no docs_store. Write one like: {_EXAMPLE}.")
    try:
        return JobStore.from_dict_spec(spec)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"Store file {str(path)!r} does not describe a job store ({error}). "
            f"Write one like: {_EXAMPLE}."
        ) from error


def _embedded(folder: Path) -> JobStore:
    """Return a store of two MontyStores in a folder, which is made if missing.

    The path is made absolute: jobs run in folders of their own and open the store again.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"Store folder {str(folder)!r} cannot be made ({error.strerror}). "
            "Choose a folder you can write to with --store or PHONOTUNE_STORE."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(
            f"Store folder {str(folder)!r} is not writable. "
            "Choose another with --store or PHONOTUNE_STORE."
        )
    return JobStore(
        MontyStore("outputs", database_path=str(folder), database_name="phonotune"),
        additional_stores={
            BLOB_STORE: MontyStore("blobs", database_path=str(folder), database_name="phonotune")
        },
    )


def _connect(store: JobStore, where: str) -> JobStore:
    if BLOB_STORE not in store.additional_stores:
        raise StoreError(
            f"The store of {where!r} has no additional store {BLOB_STORE!r} for arrays. "
            f"Write the file like: {_EXAMPLE}."
        )
    try:
        store.connect()
        store.query_one({"uuid": "phonotune connection check"}, ["uuid"])
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(
            f"The store of {where!r} cannot be opened: {error}. Is it running?"
        ) from error
    return store
